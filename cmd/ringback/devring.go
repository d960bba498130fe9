package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/protocol"
)

// ring makes one call between two clients and prints what they see. The
// callbacks of the call are printed as they arrive.
func (d *devServer) ring(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.ringOnce(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintf(d.out, "  the call failed: %v\n", err)
	}
}

func (d *devServer) ringOnce(ctx context.Context) error {
	ringing := make(chan *client.Invited, 1)
	fmt.Fprintf(d.out, "\nA call between two clients:\n")
	bob, err := d.dial(ctx, "bob.terminal", func(_ *client.Client, ev client.Event) {
		if ev, ok := ev.(*client.Invited); ok {
			ringing <- ev
		}
	})
	if err != nil {
		return err
	}
	defer bob.Logout(context.WithoutCancel(ctx))
	alice, err := d.dial(ctx, "alice.terminal", nil)
	if err != nil {
		return err
	}
	defer alice.Logout(context.WithoutCancel(ctx))
	started := time.Now()
	reply, err := alice.Invite(ctx, protocol.Invite{UserIDs: []string{"bob.terminal"}})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "  alice     invites bob    call %s\n", reply.CallID)
	select {
	case <-ringing:
		fmt.Fprintf(d.out, "  bob       rings          %.1f ms after alice's click\n", float64(time.Since(started).Microseconds())/1000)
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := bob.Accept(ctx, protocol.CallAction{CallID: reply.CallID}); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "  bob       accepts\n")
	return nil
}

func (d *devServer) dial(ctx context.Context, user string, onEvent func(*client.Client, client.Event)) (*client.Client, error) {
	token, err := d.token(user)
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, "http://"+d.address, client.Options{AppID: devApp, UserID: user, Token: token, OnEvent: onEvent})
}
