// Command go is a receiver of Ringback's callbacks in Go, by package callback.
// It prints one line of JSON for each event.
//
//	RINGBACK_CALLBACK_SECRETS=new,old PORT=9000 go run ./examples/receivers/go
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringback/ringback/callback"
	"github.com/ringback/ringback/protocol"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends; then it finishes the requests that are under way.
func run(ctx context.Context) error {
	secrets := strings.FieldsFunc(os.Getenv("RINGBACK_CALLBACK_SECRETS"), func(r rune) bool { return r == ',' })
	h, err := newReceiver(secrets)
	if err != nil {
		return fmt.Errorf("RINGBACK_CALLBACK_SECRETS: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "9000"))
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on http://"+ln.Addr().String())
	server := &http.Server{Handler: h, ReadTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

// newReceiver handles each event where a real backend does something about
// it; here they are printed.
func newReceiver(secrets []string) (http.Handler, error) {
	var out printer
	answer := func(_ context.Context, m callback.Meta, a *protocol.CallAnswer) error { return out.print(m, a) }
	return callback.NewHandler(callback.Options{
		Secrets: secrets,
		Require: callback.RequireBoth,
		OnCallCreate: func(_ context.Context, m callback.Meta, c *protocol.CallCreate) error {
			return out.print(m, c)
		},
		OnCallCancel: func(_ context.Context, m callback.Meta, c *protocol.CallCancel) error {
			return out.print(m, c)
		},
		OnCallAccept: answer,
		OnCallReject: answer,
		OnCallTimeout: func(_ context.Context, m callback.Meta, c *protocol.CallTimeout) error {
			return out.print(m, c)
		},
		// What else comes, if the endpoint names it.
		OnOther: func(_ context.Context, e *callback.Event) error { return out.print(e.Meta, e.Fields) },
		OnError: func(_ *http.Request, err error) { fmt.Fprintln(os.Stderr, err) },
	})
}

// printer writes events to the standard output.
type printer struct{ mu sync.Mutex }

func (p *printer) print(m callback.Meta, fields any) error {
	head, err := json.Marshal(map[string]any{
		"id": m.ID, "event": m.Event, "appid": m.AppID, "timestamp": m.Timestamp.Unix(),
		"attempt": m.Attempt, "sequence": m.Sequence, "test": m.Test,
	})
	body, err2 := json.Marshal(fields)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	line := string(head)
	if rest, ok := strings.CutPrefix(string(body), "{"); ok {
		line = strings.TrimSuffix(line, "}") + "," + rest
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = fmt.Println(line)
	return err
}
