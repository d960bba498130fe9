package callback

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/protocol"
)

// secret signs what accept makes; no text of an answer may hold it.
const secret = "between-us-two"

// vectors are those of package protocol.
type vectors struct {
	Signatures []struct {
		Secret    string
		Timestamp int64
		Nonce     string
		Want      string
	}
	Webhooks []struct {
		Secret, Key, ID string
		Timestamp       int64
		Body, Want      string
	}
	Requests []vector
}

type vector struct {
	Name    string
	Secrets []string
	Headers map[string]string
	Body    string
}

func (v *vector) header() http.Header {
	h := http.Header{}
	for name, value := range v.Headers {
		h.Set(name, value)
	}
	return h
}

// request is the vector as a request that is signed now.
func (v *vector) request(secrets ...string) *http.Request {
	return resign(v.header(), v.Body, time.Now(), secrets...)
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("../protocol/testdata/callbacks.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Requests) < 11 {
		t.Fatalf("only %d vectors", len(v.Requests))
	}
	return v
}

// vectorOf finds a vector by its name.
func vectorOf(t testing.TB, name string) *vector {
	t.Helper()
	for _, v := range readVectors(t).Requests {
		if v.Name == name {
			return &v
		}
	}
	t.Fatalf("no vector %s", name)
	return nil
}

// resign makes a request whose header is signed at a time.
func resign(header http.Header, body string, at time.Time, secrets ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/callbacks", strings.NewReader(body))
	r.Header = header.Clone()
	r.Header.Set(protocol.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	var signatures []string
	for _, secret := range secrets {
		signatures = append(signatures, protocol.WebhookSignature(secret, header.Get(protocol.HeaderWebhookID), at.Unix(), []byte(body)))
	}
	r.Header.Set(protocol.HeaderWebhookSignature, strings.Join(signatures, " "))
	return r
}

// accept is a call_accept, signed now in both ways.
func accept(id, call string, sequence int) *http.Request {
	return accepted(id, call, sequence, secret, time.Now())
}

func accepted(id, call string, sequence int, secret string, at time.Time) *http.Request {
	body := fmt.Sprintf(`{"appid":"1","event":"call_accept","nonce":"7","signature":"%s","timestamp":%d,"call_id":"%s","user_id":"bob","extend_data":""}`,
		protocol.CallbackSignature(secret, at.Unix(), "7"), at.Unix(), call)
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set(protocol.HeaderWebhookID, id)
	if sequence > 0 {
		header.Set(protocol.HeaderSequence, strconv.Itoa(sequence))
	}
	return resign(header, body, at, secret)
}

func newHandler(t testing.TB, o Options) *Handler {
	t.Helper()
	if o.Secrets == nil {
		o.Secrets = []string{secret}
	}
	h, err := NewHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// send gives the answer of h to a request.
func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func wantStatus(t testing.TB, w *httptest.ResponseRecorder, want int) {
	t.Helper()
	if w.Code != want {
		t.Errorf("answered %d %q, want %d", w.Code, w.Body, want)
	}
}
