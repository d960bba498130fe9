package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// fakeStore keeps deliveries in memory.
type fakeStore struct {
	mu         sync.Mutex
	deliveries map[store.DeliveryKey]*store.Delivery
	log        map[store.DeliveryKey][]store.Attempt
	lastEvent  store.EventID
	sequences  map[store.EndpointID]map[call.ID]int
	queries    int
	looks      int // at backlogs
	writes     int
	fail       error         // of every method, while it is set
	slow       time.Duration // of every method
	removed    map[store.EndpointID]bool
	recorded   func() // is called when results are durable, before the Deliverer knows
	loaded     func() // is called when a load has its snapshot, before it gives it
	fakeJobs
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		deliveries: make(map[store.DeliveryKey]*store.Delivery),
		log:        make(map[store.DeliveryKey][]store.Attempt),
		sequences:  make(map[store.EndpointID]map[call.ID]int),
		removed:    make(map[store.EndpointID]bool),
		fakeJobs:   fakeJobs{jobs: make(map[int64]store.Redelivery), redone: make(map[store.DeliveryKey]int)},
	}
}

// commit stores an event of a call for the endpoints, due now.
func (s *fakeStore) commit(id call.ID, endpoints ...store.EndpointID) *store.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEvent++
	now := call.At(time.Now())
	ev := &store.Event{ID: s.lastEvent, App: 1, Call: id, Name: protocol.CallbackAccept, At: now, Fields: []byte(`{"call_id":"1"}`)}
	for _, endpoint := range endpoints {
		sub := store.Subscription{Endpoint: endpoint}
		if id != 0 {
			if s.sequences[endpoint] == nil {
				s.sequences[endpoint] = make(map[call.ID]int)
			}
			s.sequences[endpoint][id]++
			sub.Sequence = s.sequences[endpoint][id]
		}
		ev.Deliveries = append(ev.Deliveries, sub)
		d := &store.Delivery{
			Event: ev.ID, Endpoint: endpoint, App: 1, Call: id, Sequence: sub.Sequence,
			Name: ev.Name, At: now, Fields: ev.Fields, Due: now,
		}
		s.deliveries[d.Key()] = d
	}
	return ev
}

func (s *fakeStore) enter(ctx context.Context) error {
	s.mu.Lock()
	slow := s.slow
	s.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.fail
}

func (s *fakeStore) RecordAttempts(ctx context.Context, attempts []store.Attempt) error {
	err := s.enter(ctx)
	defer func() {
		then := s.recorded
		s.mu.Unlock()
		if err == nil && then != nil {
			then()
		}
	}()
	if err != nil {
		return err
	}
	s.writes++
	for _, a := range attempts {
		d := s.deliveries[a.Delivery]
		if d == nil || a.Number < d.Attempts || d.State != store.Pending && a.State == store.Pending {
			continue
		}
		d.State, d.Attempts, d.Failures, d.Due = a.State, a.Number, a.Failures, a.Due
		s.log[a.Delivery] = append(s.log[a.Delivery], a)
	}
	return nil
}

func (s *fakeStore) PendingDeliveries(ctx context.Context, parts store.PartitionSet, endpoint store.EndpointID, dueBy call.Instant, strict bool, limit int) ([]*store.Delivery, error) {
	err := s.enter(ctx)
	defer func() {
		then := s.loaded
		s.mu.Unlock()
		if err == nil && then != nil {
			then()
		}
	}()
	if err != nil {
		return nil, err
	}
	s.queries++
	var list []*store.Delivery
	first := make(map[call.ID]int)
	for _, d := range s.deliveries {
		if d.Endpoint != endpoint || d.State != store.Pending || !parts.Has(d.Key().Partition()) {
			continue
		}
		if n, ok := first[d.Call]; !ok || d.Sequence < n {
			first[d.Call] = d.Sequence
		}
		if d.Due <= dueBy {
			list = append(list, new(*d))
		}
	}
	if strict {
		list = slices.DeleteFunc(list, func(d *store.Delivery) bool { return d.Call != 0 && d.Sequence > first[d.Call] })
	}
	slices.SortFunc(list, func(a, b *store.Delivery) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Event, b.Event))
	})
	return list[:min(limit, len(list))], nil
}

func (s *fakeStore) Backlogs(ctx context.Context, parts store.PartitionSet) ([]store.Backlog, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.looks++
	byEndpoint := make(map[store.EndpointID]*store.Backlog)
	for _, d := range s.deliveries {
		if d.State != store.Pending || !parts.Has(d.Key().Partition()) {
			continue
		}
		b := byEndpoint[d.Endpoint]
		if b == nil {
			b = &store.Backlog{Endpoint: d.Endpoint, Oldest: d.At, NextDue: d.Due}
			byEndpoint[d.Endpoint] = b
		}
		b.Pending++
		b.Oldest, b.NextDue = min(b.Oldest, d.At), min(b.NextDue, d.Due)
	}
	var list []store.Backlog
	for _, b := range byEndpoint {
		list = append(list, *b)
	}
	return list, nil
}

// weather makes the store slow, or fail.
func (w *world) weather(slow time.Duration, fail error) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.slow, w.store.fail = slow, fail
}

// get gives a copy of a delivery.
func (s *fakeStore) get(key store.DeliveryKey) store.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.deliveries[key]
}

// request is what the fake transport saw of an attempt.
type request struct {
	endpoint string // the host
	event    string
	sequence int
	attempt  int
	test     bool
	start    time.Duration // since the world began
	end      time.Duration
}

// number is that of the event.
func (r *request) number() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(r.event, "evt_"))
	return n
}

// world is a Deliverer with a fake store and a fake network.
type world struct {
	t     testing.TB
	store *fakeStore
	begin time.Time
	// answer gives the status of an attempt, after as much time as it likes;
	// 0: the connection breaks. Without it every attempt is answered 200 at
	// once.
	answer func(ctx context.Context, r *request) int

	mu       sync.Mutex
	requests []*request
	flying   map[string]int
	most     map[string]int
	d        *Deliverer
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, store: newFakeStore(), begin: time.Now(),
		flying: make(map[string]int), most: make(map[string]int),
	}
}

// endpoint makes an endpoint with a number and default settings.
func endpointNo(n int, change func(*Endpoint)) Endpoint {
	e := Endpoint{ID: store.EndpointID(n), App: 1, URL: fmt.Sprintf("http://e%d.test/callback", n), Secrets: []string{"secret"}}
	if change != nil {
		change(&e)
	}
	return e
}

func (w *world) start(capacity int, endpoints ...Endpoint) {
	w.t.Helper()
	d, err := New(Options{Store: w.store, Endpoints: endpoints, Version: "test", transport: w, capacity: capacity})
	if err != nil {
		w.t.Fatal(err)
	}
	w.d = d
	d.Start()
}

func (w *world) stop() {
	w.t.Helper()
	if err := w.d.Close(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// crash stops the Deliverer as a crash would: what is in flight is lost, and
// so are the results that are not yet written.
func (w *world) crash() {
	w.d.recorder.cancel()
	ended, cancel := context.WithCancel(w.t.Context())
	cancel()
	_ = w.d.Close(ended) // it reports what was lost
}

// happen commits an event for each call in turn, and hands it off.
func (w *world) happen(endpoints []store.EndpointID, calls ...call.ID) {
	for _, id := range calls {
		w.d.HandOff([]*store.Event{w.store.commit(id, endpoints...)})
	}
}

func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	r := &request{endpoint: req.URL.Host, event: req.Header.Get(protocol.HeaderWebhookID), start: time.Since(w.begin)}
	r.sequence, _ = strconv.Atoi(req.Header.Get(protocol.HeaderSequence))
	r.attempt, _ = strconv.Atoi(req.Header.Get(protocol.HeaderAttempt))
	r.test = req.Header.Get(protocol.HeaderTest) == "true"
	w.mu.Lock()
	w.requests = append(w.requests, r)
	answer := w.answer
	w.flying[r.endpoint]++
	w.most[r.endpoint] = max(w.most[r.endpoint], w.flying[r.endpoint])
	w.mu.Unlock()
	status := http.StatusOK
	if answer != nil {
		status = answer(req.Context(), r)
	}
	w.mu.Lock()
	w.flying[r.endpoint]--
	r.end = time.Since(w.begin)
	w.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if status == 0 {
		return nil, errors.New("connection reset by peer")
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

// seen gives what was requested so far, written as event#attempt@seconds.
func (w *world) seen() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	slices.SortStableFunc(w.requests, func(a, b *request) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.number(), b.number()))
	})
	for _, r := range w.requests {
		list = append(list, fmt.Sprintf("%s#%d@%v", strings.TrimPrefix(r.event, "evt_"), r.attempt, r.start.Seconds()))
	}
	return strings.Join(list, " ")
}

// answers changes w.answer while there are requests.
func (w *world) answers(answer func(context.Context, *request) int) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// mostInFlight is the most requests that an endpoint had at once.
func (w *world) mostInFlight(host string) int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most[host]
}

func (w *world) wantSeen(want string) {
	w.t.Helper()
	if got := w.seen(); got != want {
		w.t.Errorf("requests:\n got %s\nwant %s", got, want)
	}
}

// wantState waits for the results to be written and checks a delivery.
func (w *world) wantState(key store.DeliveryKey, state store.DeliveryState, attempts, failures int) {
	w.t.Helper()
	time.Sleep(2 * recordLinger)
	synctest.Wait()
	if d := w.store.get(key); d.State != state || d.Attempts != attempts || d.Failures != failures {
		w.t.Errorf("delivery %+v has state %d, %d attempts, %d failures; want %d, %d, %d",
			key, d.State, d.Attempts, d.Failures, state, attempts, failures)
	}
}

// takes answers after a while.
func takes(d time.Duration, status int) func(context.Context, *request) int {
	return func(ctx context.Context, _ *request) int {
		select {
		case <-time.After(d):
			return status
		case <-ctx.Done():
			return 0
		}
	}
}

// hang answers only when the attempt's time is over.
func hang(ctx context.Context, _ *request) int {
	<-ctx.Done()
	return 0
}

func always(status int) func(context.Context, *request) int {
	return func(context.Context, *request) int { return status }
}

var one = []store.EndpointID{1}

func key(endpoint, sequence int, id call.ID) store.DeliveryKey {
	return store.DeliveryKey{Endpoint: store.EndpointID(endpoint), Call: id, Sequence: int64(sequence)}
}
