package callback_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/ringback/ringback/callback"
	"github.com/ringback/ringback/protocol"

	_ "github.com/ncruces/go-sqlite3/driver"
)

// post sends a callback as Ringback does, and gives the status of the answer.
// It stands for the server.
func post(url, secret, id, body string) int {
	now := time.Now().Unix()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(protocol.HeaderWebhookID, id)
	req.Header.Set(protocol.HeaderWebhookTimestamp, strconv.FormatInt(now, 10))
	req.Header.Set(protocol.HeaderWebhookSignature, protocol.WebhookSignature(secret, id, now, []byte(body)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

const accepted = `{"appid":"1","event":"call_accept","call_id":"38","user_id":"bob","extend_data":"on my way"}`

func Example() {
	h, err := callback.NewHandler(callback.Options{
		Secrets: []string{"the secret of the endpoint"},
		OnCallAccept: func(_ context.Context, m callback.Meta, a *protocol.CallAnswer) error {
			fmt.Printf("%s accepts call %s of app %s: %s\n", a.UserID, a.CallID, m.AppID, a.ExtendData)
			return nil
		},
		OnError: func(_ *http.Request, err error) { fmt.Println(err) },
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/callbacks", h)
	server := httptest.NewServer(mux)
	defer server.Close()

	url := server.URL + "/callbacks"
	fmt.Println(post(url, "the secret of the endpoint", "evt_1", accepted))
	fmt.Println(post(url, "the secret of the endpoint", "evt_1", accepted)) // the same one again
	fmt.Println(post(url, "a guess", "evt_2", accepted))
	// Output:
	// bob accepts call 38 of app 1: on my way
	// 204
	// 204
	// callback: the header webhook-signature matches none of the receiver's secrets: compare them with the secret of the endpoint, and verify the body as it was sent
	// 401
}

// With a router or a queue of one's own: verify, then decide by type.
func ExampleVerifier() {
	verifier := callback.Verifier{Secrets: []string{"new secret", "old secret"}}

	body := []byte(accepted)
	now := time.Now().Unix()
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set(protocol.HeaderWebhookID, "evt_1")
	header.Set(protocol.HeaderWebhookTimestamp, strconv.FormatInt(now, 10))
	header.Set(protocol.HeaderWebhookSignature, protocol.WebhookSignature("old secret", "evt_1", now, body))

	event, err := verifier.Verify(header, body)
	if err != nil {
		panic(err)
	}
	switch fields := event.Fields.(type) {
	case *protocol.CallAnswer:
		fmt.Println(event.ID, event.Event, fields.UserID)
	case *protocol.CallCancel:
		fmt.Println(event.ID, event.Event, fields.Reason)
	}

	_, err = verifier.Verify(header, []byte(`{"event":"call_accept","user_id":"eve"}`))
	var refused *callback.Error
	if errors.As(err, &refused) {
		fmt.Println(errors.Is(err, callback.ErrSignature), refused.Status)
	}
	// Output:
	// evt_1 call_accept bob
	// true 401
}

// table is a Store in an SQL database, for any number of processes. Claims
// run out after a minute, for those whose process died.
type table struct{ db *sql.DB }

const createTable = `CREATE TABLE callbacks (
	id    TEXT PRIMARY KEY,
	done  BOOLEAN NOT NULL,
	until BIGINT NOT NULL -- Unix seconds: of a claim, its end; of what is done, when to delete it
)`

func (t table) Claim(ctx context.Context, id string) (callback.State, error) {
	now := time.Now()
	result, err := t.db.ExecContext(ctx,
		`INSERT INTO callbacks (id, done, until) VALUES ($1, FALSE, $2)
		 ON CONFLICT (id) DO UPDATE SET until = $2 WHERE NOT callbacks.done AND callbacks.until < $3`,
		id, now.Add(time.Minute).Unix(), now.Unix())
	if err != nil {
		return 0, err
	}
	if claimed, err := result.RowsAffected(); err != nil || claimed == 1 {
		return callback.Claimed, err
	}
	var done bool
	err = t.db.QueryRowContext(ctx, `SELECT done FROM callbacks WHERE id = $1`, id).Scan(&done)
	switch {
	case err == nil && done:
		return callback.Done, nil
	case err == nil, errors.Is(err, sql.ErrNoRows): // released just now
		return callback.Busy, nil
	}
	return 0, err
}

func (t table) Finish(ctx context.Context, id string) error {
	month := time.Now().Add(30 * 24 * time.Hour).Unix() // as long as a callback can be sent again
	_, err := t.db.ExecContext(ctx, `UPDATE callbacks SET done = TRUE, until = $1 WHERE id = $2`, month, id)
	return err
}

func (t table) Release(ctx context.Context, id string) error {
	_, err := t.db.ExecContext(ctx, `DELETE FROM callbacks WHERE id = $1 AND NOT done`, id)
	return err
}

// Sweep is to be called now and then, say once an hour.
func (t table) Sweep(ctx context.Context) error {
	_, err := t.db.ExecContext(ctx, `DELETE FROM callbacks WHERE until < $1`, time.Now().Unix())
	return err
}

// A store in a database remembers over restarts, and for several processes.
// These statements are for SQLite and PostgreSQL.
func ExampleStore() {
	db, err := sql.Open("sqlite3", "file:callbacks?mode=memory&cache=shared")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(createTable); err != nil {
		panic(err)
	}
	failing := true
	for _, process := range []string{"first", "second"} {
		h, err := callback.NewHandler(callback.Options{
			Secrets: []string{"the secret of the endpoint"},
			Store:   table{db},
			OnCallAccept: func(_ context.Context, _ callback.Meta, a *protocol.CallAnswer) error {
				if failing {
					failing = false
					return errors.New("not now")
				}
				fmt.Printf("the %s process handles call %s\n", process, a.CallID)
				return nil
			},
		})
		if err != nil {
			panic(err)
		}
		server := httptest.NewServer(h)
		for range 2 {
			fmt.Println(post(server.URL, "the secret of the endpoint", "evt_1", accepted))
		}
		server.Close()
	}
	if err := (table{db}).Sweep(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// 500
	// the first process handles call 38
	// 204
	// 204
	// 204
}
