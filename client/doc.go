// Package client is the Go client of Ringback: one connection by which one
// device of a user sends call invitations and learns of them.
//
//	c, err := client.Dial(ctx, "http://localhost:8080", client.Options{
//		AppID:  1,
//		UserID: "alice",
//		Token:  token,
//		OnEvent: func(c *client.Client, ev client.Event) {
//			switch ev := ev.(type) {
//			case *client.Invited:
//				fmt.Println(ev.Caller, "calls")
//			case *client.Cancelled:
//				fmt.Println(ev.CallID, "is over:", ev.Reason)
//			}
//		},
//	})
//	…
//	reply, err := c.Invite(ctx, protocol.Invite{UserIDs: []string{"bob"}})
//
// # Requests
//
// Each operation of the protocol is a method that waits for its reply. What
// the server refuses is a *protocol.Error, to be had by errors.As. A request
// waits as long as its context allows: while the client is reconnecting it is
// kept and sent when the client is back. The end of the context ends the
// waiting, not what the server may already be doing.
//
// After a reconnection those requests that are safe to repeat are repeated:
// invitations (by their request ID), answers, cancels, quits, ends, queries,
// syncs and renewals. Others that had been sent fail with [ErrConnectionLost].
//
// # Events
//
// Events come to Options.OnEvent one at a time, in the order in which the
// server sent them. A reply settles before the events that its request caused:
// the method that sent the request has its reply and is about to return when
// the handler is called with the first of them. A program that needs what it
// does after the return to happen before the handler too holds a lock over the
// request, and takes the same lock in the handler; that cannot deadlock,
// because replies do not pass through the handler. For the same reason a
// handler may send requests and wait for their replies.
//
// The versions of a call never go back: an event that is older than what the
// device knows is dropped, and so is one that says again what was said. After
// a reconnection the truth comes as one [Snapshot], with the end of every call
// that the device still showed.
//
// # Connection
//
// The client answers the pings of the server and notices a dead connection
// within two heartbeats. It then reconnects by itself, after 0.5 s to 1 s at
// first and 7.5 s to 15 s at most, and resumes its session, so that nothing
// changes for any call. [Disconnected] says whether it will.
//
// A connected client that has nothing to do costs one goroutine and about
// 1 KiB of buffers.
package client
