package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/protocol"
)

// Alice calls Bob, whose device answers.
func Example() {
	server := newServer() // in real life: ringback dev
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	accepted := make(chan struct{})
	bob, err := client.Dial(ctx, server.URL, client.Options{
		AppID: 1, UserID: "bob", Token: "token of bob",
		OnEvent: func(c *client.Client, ev client.Event) {
			if ev, ok := ev.(*client.Invited); ok {
				fmt.Printf("bob: %s calls about %q\n", ev.Caller, ev.ExtendedData)
				if _, err := c.Accept(ctx, protocol.CallAction{CallID: ev.CallID}); err != nil {
					fmt.Println("bob:", err)
				}
				close(accepted)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bob.Close()

	answered := make(chan struct{})
	alice, err := client.Dial(ctx, server.URL, client.Options{
		AppID: 1, UserID: "alice", Token: "token of alice",
		OnEvent: func(_ *client.Client, ev client.Event) {
			if ev, ok := ev.(*client.UsersChanged); ok {
				fmt.Printf("alice: %s is in state %d\n", ev.Users[0].UserID, ev.Users[0].State)
				close(answered)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer alice.Close()

	if _, err := alice.Invite(ctx, protocol.Invite{UserIDs: []string{"bob"}, ExtendedData: "lunch"}); err != nil {
		fmt.Println(err)
		return
	}
	<-answered
	<-accepted
	// Output:
	// bob: alice calls about "lunch"
	// alice: bob is in state 1
}

// What the server refuses is a *protocol.Error.
func ExampleClient_Invite_refused() {
	server := newServer()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	alice, err := client.Dial(ctx, server.URL, client.Options{AppID: 1, UserID: "alice", Token: "token of alice"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer alice.Close()

	_, err = alice.Invite(ctx, protocol.Invite{UserIDs: []string{"nobody"}})
	if refused, ok := errors.AsType[*protocol.Error](err); ok && refused.Code == protocol.CodeNotRegistered {
		fmt.Println("cannot be reached")
	}
	// Output: cannot be reached
}

// A program that keeps a table of its calls holds its lock over the request,
// so that the handler never meets a call that is not in the table.
func ExampleClient_Invite_table() {
	server := newServer()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	bob, err := client.Dial(ctx, server.URL, client.Options{AppID: 1, UserID: "bob", Token: "token of bob"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bob.Close()

	calls := newTable()
	alice, err := client.Dial(ctx, server.URL, client.Options{
		AppID: 1, UserID: "alice", Token: "token of alice",
		OnEvent: func(_ *client.Client, ev client.Event) {
			if ev, ok := ev.(*client.Created); ok {
				calls.Lock()
				defer calls.Unlock()
				fmt.Println("the call about", calls.topics[ev.CallID], "was created")
				close(calls.created)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer alice.Close()

	calls.Lock()
	reply, err := alice.Invite(ctx, protocol.Invite{UserIDs: []string{"bob"}})
	if err == nil {
		calls.topics[reply.CallID] = "lunch"
	}
	calls.Unlock()
	<-calls.created
	// Output: the call about lunch was created
}
