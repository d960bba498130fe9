package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/protocol"
)

// TestMain lets the test binary be the server of a run: see fakeCommand.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "fake-server" {
		fs := flag.NewFlagSet("fake-server", flag.ExitOnError)
		fault := fs.String("fault", "", "what to do wrong")
		file := fs.String("config", "", "configuration file")
		fs.Parse(os.Args[2:])
		os.Exit(fakeMain(*file, *fault))
	}
	os.Exit(m.Run())
}

// fakeCommand starts a fake server that does one thing wrong, or nothing.
func fakeCommand(fault string) []string {
	return []string{os.Args[0], "fake-server", "--fault", fault}
}

// fake is a server that knows enough for calls of one caller and one invitee,
// keeps nothing on disk and checks no token.
type fake struct {
	app   config.App
	fault string
	post  http.Client
	next  atomic.Uint64
	out   [32]chan delivery // by call, for their order

	mu    sync.Mutex
	users map[string]*fakeConn
	calls map[string]string // call ID → caller
}

type delivery struct {
	endpoint config.Endpoint
	event    string
	fields   any
	callID   string
	seq      int
}

type fakeConn struct {
	net.Conn
	mu sync.Mutex
}

func (c *fakeConn) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wsutil.WriteServerText(c, b)
}

func fakeMain(file, fault string) int {
	conf, err := config.Load(file, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if fault == "start" {
		fmt.Fprintln(os.Stderr, "the disk is on fire")
		return 3
	}
	f := &fake{
		app: conf.Apps[0], fault: fault, users: make(map[string]*fakeConn), calls: make(map[string]string),
		post: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	f.next.Store(7512345678901234567)
	for i := range f.out {
		f.out[i] = make(chan delivery, 1<<12)
		go func() {
			for d := range f.out[i] {
				f.deliver(d)
			}
		}()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc(protocol.Path, f.connect)
	if fault != "meterless" {
		mux.Handle("/metrics", promhttp.Handler())
	}
	srv := &http.Server{Addr: conf.Listen, Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go srv.ListenAndServe()
	<-ctx.Done()
	srv.Close()
	if fault == "exit" {
		fmt.Fprintln(os.Stderr, "it hurts")
		return 4
	}
	return 0
}

func (f *fake) connect(w http.ResponseWriter, r *http.Request) {
	up := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == protocol.Subprotocol }}
	nc, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		return
	}
	defer nc.Close()
	conn := &fakeConn{Conn: nc}
	user := ""
	for {
		data, _, err := wsutil.ReadClientData(rw)
		if err != nil {
			return
		}
		var req protocol.Request
		if err := json.Unmarshal(data, &req); err != nil {
			return
		}
		user = f.handle(user, conn, req)
	}
}

func (f *fake) handle(user string, conn *fakeConn, req protocol.Request) string {
	reply := func(body any) { conn.send(map[string]any{"id": req.ID, "body": body}) }
	event := func(to, name string, body any) {
		f.mu.Lock()
		c := f.users[to]
		f.mu.Unlock()
		c.send(map[string]any{"event": name, "body": body})
	}
	var action protocol.CallAction
	json.Unmarshal(req.Body, &action)
	f.mu.Lock()
	caller := f.calls[action.CallID]
	f.mu.Unlock()
	changed := func(version int64, state int) {
		for _, to := range []string{user, caller} {
			event(to, protocol.EventCallUsersChanged, protocol.UsersChanged{
				CallID: action.CallID, Version: version, Users: []protocol.CallUser{{UserID: user, State: state}},
			})
		}
	}
	switch req.Op {
	case protocol.OpLogin:
		var l protocol.Login
		json.Unmarshal(req.Body, &l)
		user = l.UserID
		f.mu.Lock()
		f.users[user] = conn
		f.mu.Unlock()
		reply(protocol.LoginReply{SessionID: user, HeartbeatIntervalMS: 60_000})
	case protocol.OpCallInvite:
		var inv protocol.Invite
		json.Unmarshal(req.Body, &inv)
		n := f.next.Add(1)
		if f.fault == "refuse" && n%10 == 0 {
			conn.send(protocol.Frame{ID: req.ID, Error: protocol.Errorf(protocol.CodeStorageError, "the disk is full")})
			break
		}
		id := strconv.FormatUint(n, 10)
		f.mu.Lock()
		f.calls[id] = user
		f.mu.Unlock()
		c := protocol.Call{
			CallID: id, Version: 1, State: 1, Caller: user, Inviter: user, ExtendedData: inv.ExtendedData, Timeout: *inv.Timeout,
			CreateTimeMS: time.Now().UnixMilli(), Users: []protocol.CallUser{{UserID: user, State: 1}, {UserID: inv.UserIDs[0]}},
		}
		f.callback(protocol.CallbackCreate, id, 1, protocol.CallCreate{
			CallID: id, UserIDs: inv.UserIDs, CreateTime: c.CreateTimeMS / 1000, Payload: inv.ExtendedData, Caller: user, Timeout: *inv.Timeout,
		})
		reply(protocol.InviteReply{CallID: id, Version: 1, Timeout: *inv.Timeout, CreateTimeMS: c.CreateTimeMS})
		event(user, protocol.EventCallCreated, c)
		event(inv.UserIDs[0], protocol.EventCallInvited, c)
	case protocol.OpCallReceived:
		reply(protocol.CallReply{CallID: action.CallID, Version: 1})
		changed(1, 5)
	case protocol.OpCallAccept:
		reply(protocol.CallReply{CallID: action.CallID, Version: 2})
		changed(2, 1)
		f.callback(protocol.CallbackAccept, action.CallID, 2, protocol.CallAnswer{CallID: action.CallID, UserID: user})
	case protocol.OpLogout:
		reply(struct{}{})
	}
	return user
}

// callback queues a callback, with a fault at each tenth call.
func (f *fake) callback(event, callID string, seq int, fields any) {
	n, _ := strconv.ParseUint(callID, 10, 64)
	for _, e := range f.app.Callbacks {
		d := delivery{e, event, fields, callID, seq}
		out := f.out[n%uint64(len(f.out))]
		switch {
		case strings.HasSuffix(e.URL, hangPath):
			go f.deliver(d)
			continue
		case n%10 != 0:
		case f.fault == "lose" && seq == 2, f.fault == "reorder" && seq == 1:
			continue
		case f.fault == "reorder":
			f.deliver(d)
			d.event, d.seq = protocol.CallbackCreate, 1
		case f.fault == "twice":
			out <- d
		}
		out <- d
	}
}

// deliver makes one attempt.
func (f *fake) deliver(d delivery) {
	now := time.Now().Unix()
	common := protocol.CallbackCommon{AppID: "1", Event: d.event, Nonce: strconv.Itoa(d.seq), Timestamp: now}
	common.Signature = protocol.CallbackSignature(d.endpoint.Secret, now, common.Nonce)
	head, err := json.Marshal(common)
	if err != nil {
		panic(err)
	}
	tail, err := json.Marshal(d.fields)
	if err != nil {
		panic(err)
	}
	body := slices.Concat(head[:len(head)-1], []byte(","), tail[1:])
	req, err := http.NewRequest(http.MethodPost, d.endpoint.URL, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	id := d.callID + "-" + strconv.Itoa(d.seq)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(protocol.HeaderWebhookID, id)
	req.Header.Set(protocol.HeaderWebhookTimestamp, strconv.FormatInt(now, 10))
	secret := d.endpoint.Secret
	if f.fault == "sign" {
		secret += "?"
	}
	req.Header.Set(protocol.HeaderWebhookSignature, protocol.WebhookSignature(secret, id, now, body))
	req.Header.Set(protocol.HeaderAttempt, "1")
	req.Header.Set(protocol.HeaderSequence, strconv.Itoa(d.seq))
	resp, err := f.post.Do(req)
	if err == nil {
		resp.Body.Close()
	}
}
