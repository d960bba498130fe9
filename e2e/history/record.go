package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Kind says what a record is about.
type Kind string

// Kinds of records.
const (
	Began  Kind = "began"  // the first record: UnixMS is the time of the clock at At 0
	Opened Kind = "opened" // a connection was made; of a library device: and logged in
	Sent   Kind = "sent"   // a request
	Reply  Kind = "reply"  // its reply: Body, or a refusal's Code, or an Error that leaves its outcome unknown
	Event  Kind = "event"  // what a device was told; Name is the event, or Snapshot
	Closed Kind = "closed" // a connection is gone; Code is the close code

	Callback Kind = "callback" // a request of the deliverer; At is its arrival, Done the answer
	Fault    Kind = "fault"    // from now on Name does not work, or works badly
	Healed   Kind = "healed"   // the Fault of that Name is over

	FinalCall     Kind = "final.call"     // Body as in the admin API
	FinalEvent    Kind = "final.event"    // likewise; in the order of the feed
	FinalDelivery Kind = "final.delivery" // likewise
)

// Snapshot is the Name of the library's event of that kind.
const Snapshot = "snapshot"

// ReceiverFault is the Name of the fault that the receiver of callbacks does
// not answer.
const ReceiverFault = "receiver"

// Via says how a device is connected.
type Via string

// Ways to be connected.
const (
	Wire   Via = "wire"   // frames as they were sent and read
	Client Via = "client" // the methods and the events of the Go client
	API    Via = "api"    // the server API; bodies in the form of the client protocol
)

// Record is one line of a history.
type Record struct {
	At      time.Duration   `json:"at"` // since the beginning, by the monotonic clock of the test
	Kind    Kind            `json:"kind"`
	Via     Via             `json:"via,omitempty"`
	Node    string          `json:"node,omitempty"`
	User    string          `json:"user,omitempty"`
	Device  string          `json:"device,omitempty"` // stays the same over connections and sessions
	Session string          `json:"session,omitempty"`
	Conn    int64           `json:"conn,omitempty"` // number of the connection, over all devices; wire only
	ID      int64           `json:"id,omitempty"`   // of a request, for each connection, or library device
	Name    string          `json:"name,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
	Code    int             `json:"code,omitempty"`
	Error   string          `json:"error,omitempty"`

	UnixMS int64 `json:"unix_ms,omitempty"`

	// Of a callback. Error says why it was not verified.
	WebhookID string        `json:"webhook_id,omitempty"`
	Attempt   int           `json:"attempt,omitempty"`
	Sequence  int           `json:"sequence,omitempty"`
	Status    int           `json:"status,omitempty"` // that it was answered with; 0: it broke off
	Done      time.Duration `json:"done,omitempty"`
}

// String is the record as one line.
func (r Record) String() string {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Sprintf("%+v", struct{ Kind, Name any }{r.Kind, r.Name})
	}
	return fmt.Sprintf("%10.3fs %s", r.At.Seconds(), b)
}

// Log collects records. It is safe for concurrent use.
type Log struct {
	began time.Time

	mu      sync.Mutex
	records []Record
}

// NewLog begins a history.
func NewLog() *Log {
	l := &Log{began: time.Now()}
	l.records = []Record{{Kind: Began, UnixMS: l.began.UnixMilli()}}
	return l
}

// Now is the time in the history.
func (l *Log) Now() time.Duration { return time.Since(l.began) }

// Add adds a record that happens now.
func (l *Log) Add(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.At = l.Now()
	l.records = append(l.records, r)
}

// AddAt adds a record of what began earlier, such as a callback that was
// answered now.
func (l *Log) AddAt(at time.Duration, r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.At = at
	l.records = append(l.records, r)
}

// Records are those so far, by time; what happened at one instant is in the
// order in which it was added.
func (l *Log) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.records)
	slices.SortStableFunc(out, func(a, b Record) int { return int(a.At - b.At) })
	return out
}

// Write writes records as JSON lines.
func Write(w io.Writer, records []Record) error {
	enc := json.NewEncoder(w)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// Read reads JSON lines.
func Read(r io.Reader) ([]Record, error) {
	var out []Record
	dec := json.NewDecoder(bufio.NewReader(r))
	for {
		var rec Record
		switch err := dec.Decode(&rec); err {
		case nil:
			out = append(out, rec)
		case io.EOF:
			return out, nil
		default:
			return nil, fmt.Errorf("record %d: %w", len(out)+1, err)
		}
	}
}
