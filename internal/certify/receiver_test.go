package certify

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/protocol"
)

const secret = "callback secret"

// receiver is a business server that does everything right, but for its
// faults.
type receiver struct {
	t      *testing.T
	faults faults

	mu      sync.Mutex
	done    map[string]bool // by webhook-id
	created map[string]bool // by call
	refused map[string]bool // by webhook-id
}

// faults are what a receiver may do wrong.
type faults struct {
	secret        string // another one
	skipBody      bool   // does not verify signature
	skipHeader    bool   // does not verify webhook-signature
	lenient       bool   // takes what has no signature
	anyAge        bool
	onlyFirst     bool // signature of webhook-signature
	noDuplicates  bool
	strictOrder   bool // refuses what comes before call_create, and accepts it after that
	forgetful     bool // the same, but never accepts it
	noLateCreate  bool // refuses a call_create after another callback
	ageOfEvent    bool
	knownEvents   bool
	knownFields   bool
	anyMethod     bool
	crashes       bool // answers 500 instead of 401
	closes        bool // its connections
	refuses       string
	refusesStatus int // 400 if 0
	bad           func(fields) bool
	delay         func(fields) time.Duration
	redirect      bool
}

// fields are those of a callback that the receiver knows.
type fields struct {
	protocol.CallbackCommon
	CallID     string   `json:"call_id"`
	UserIDs    []string `json:"user_ids"`
	UserID     string   `json:"user_id"`
	CreateTime int64    `json:"create_time"`
	Payload    string   `json:"payload"`
	ExtendData string   `json:"extend_data"`
}

// text is the extended data.
func (f fields) text() string { return f.Payload + f.ExtendData }

func newReceiver(t *testing.T, f faults) *receiver {
	return &receiver{t: t, faults: f, done: make(map[string]bool), created: make(map[string]bool), refused: make(map[string]bool)}
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(protocol.HeaderTest) != "true" {
		rc.t.Errorf("a %s without %s", r.Method, protocol.HeaderTest)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		rc.t.Error(err)
	}
	if rc.faults.closes {
		w.Header().Set("Connection", "close")
	}
	if rc.faults.redirect {
		http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		return
	}
	status := rc.take(r, body)
	w.WriteHeader(status)
	fmt.Fprint(w, http.StatusText(status))
}

// take gives the status with which a callback is answered.
func (rc *receiver) take(r *http.Request, body []byte) int {
	if r.Method != http.MethodPost {
		if rc.faults.anyMethod {
			return http.StatusOK
		}
		return http.StatusMethodNotAllowed
	}
	f, unknown, err := parse(r, body)
	if err != nil {
		rc.t.Errorf("%v in %s", err, body)
		return http.StatusBadRequest
	}
	if !rc.verified(r, f, body) {
		if rc.faults.crashes {
			return http.StatusInternalServerError
		}
		return http.StatusUnauthorized
	}
	if rc.faults.delay != nil {
		time.Sleep(rc.faults.delay(f))
	}
	if rc.faults.knownEvents && !slices.Contains(Events, f.Event) || rc.faults.knownFields && unknown ||
		rc.faults.bad != nil && rc.faults.bad(f) || rc.faults.refuses == f.Event {
		return max(rc.faults.refusesStatus, http.StatusBadRequest)
	}
	if rc.faults.ageOfEvent && f.Event == protocol.CallbackCreate && time.Since(time.Unix(f.CreateTime, 0)) > 5*time.Minute {
		return http.StatusBadRequest
	}
	return rc.work(r.Header.Get(protocol.HeaderWebhookID), f)
}

// work does the work of a callback, once.
func (rc *receiver) work(id string, f fields) int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	switch {
	case rc.done[id] && rc.faults.noDuplicates, rc.refused[id] && rc.faults.forgetful:
		return http.StatusConflict
	case rc.done[id]:
		return http.StatusOK
	case (rc.faults.strictOrder || rc.faults.forgetful) && f.Event == protocol.CallbackAccept && !rc.created[f.CallID]:
		rc.refused[id] = true
		return http.StatusServiceUnavailable
	case rc.faults.noLateCreate && f.Event == protocol.CallbackCreate && rc.created[f.CallID]:
		return http.StatusConflict
	}
	rc.done[id], rc.created[f.CallID] = true, true
	return http.StatusNoContent
}

// verified verifies a callback, as far as the receiver does.
func (rc *receiver) verified(r *http.Request, f fields, body []byte) bool {
	secret := secret
	if rc.faults.secret != "" {
		secret = rc.faults.secret
	}
	given := r.Header.Get(protocol.HeaderWebhookSignature)
	stamp, err := strconv.ParseInt(r.Header.Get(protocol.HeaderWebhookTimestamp), 10, 64)
	if err != nil || stamp != f.Timestamp || !rc.faults.anyAge && time.Since(time.Unix(stamp, 0)).Abs() > 5*time.Minute {
		return false
	}
	if rc.faults.lenient && f.Signature == "" && given == "" {
		return true
	}
	if !rc.faults.skipBody && !same(f.Signature, protocol.CallbackSignature(secret, f.Timestamp, f.Nonce)) {
		return false
	}
	if rc.faults.skipHeader {
		return true
	}
	list := strings.Fields(given)
	if rc.faults.onlyFirst && len(list) > 1 {
		list = list[:1]
	}
	want := protocol.WebhookSignature(secret, r.Header.Get(protocol.HeaderWebhookID), stamp, body)
	return slices.ContainsFunc(list, func(s string) bool { return same(s, want) })
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// parse reads both formats, and finds a field that no callback has.
func parse(r *http.Request, body []byte) (f fields, unknown bool, err error) {
	raw := make(map[string]json.RawMessage)
	if r.Header.Get("Content-Type") == "application/json" {
		err = json.Unmarshal(body, &raw)
	} else {
		var form url.Values
		form, err = url.ParseQuery(string(body))
		for name := range form {
			raw[name] = json.RawMessage(form.Get(name))
			if !slices.Contains([]string{"timestamp", "create_time", "user_ids", "something_new"}, name) {
				raw[name], _ = json.Marshal(form.Get(name))
			}
		}
	}
	if err != nil {
		return f, false, err
	}
	_, unknown = raw["something_new"]
	whole, err := json.Marshal(raw)
	if err != nil {
		return f, false, err
	}
	return f, unknown, json.Unmarshal(whole, &f)
}
