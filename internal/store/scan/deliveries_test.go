package scan

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// shelf is a table of deliveries in memory, in the order of events and
// endpoints, which counts what is looked at.
type shelf struct {
	endpoints []store.EndpointID
	rows      []Delivery
	looked    int // rows, as a search counts them
	ranges    []Range
	err       error // of OfEndpoint, once the first rows were read
}

func (s *shelf) Endpoints(_ context.Context, only store.EndpointID, _ uint32) (list []store.EndpointID, err error) {
	for _, id := range s.endpoints {
		if only == 0 || id == only {
			list = append(list, id)
		}
	}
	return list, nil
}

func (s *shelf) OfCall(_ context.Context, _ *store.DeliveryQuery, each func(Delivery)) error {
	for _, i := range rand.Perm(len(s.rows)) {
		s.looked++
		each(s.rows[i])
	}
	return nil
}

func (s *shelf) Pending(_ context.Context, endpoint store.EndpointID, limit int, each func(Delivery)) error {
	for _, i := range rand.Perm(len(s.rows)) {
		if d := s.rows[i]; d.Place.Endpoint == endpoint && d.State == store.Pending && limit > 0 {
			limit--
			s.looked++
			each(d)
		}
	}
	return nil
}

func (s *shelf) OfEndpoint(ctx context.Context, r Range, each func(Delivery)) error {
	if s.ranges = append(s.ranges, r); s.err != nil && len(s.ranges) > 1 {
		return s.err
	}
	for i := range s.rows {
		if r.Limit == 0 || ctx.Err() != nil {
			break
		}
		d := s.rows[i]
		if !r.Oldest {
			d = s.rows[len(s.rows)-1-i]
		}
		if d.Place.Endpoint != r.Endpoint || d.Place.Event < r.From || d.Place.Event >= r.Until || r.Failed && d.State != store.Failed {
			continue
		}
		r.Limit--
		s.looked++
		if r.States {
			s.looked++
		} else {
			d.State = store.Pending // anything
		}
		if r.Names {
			s.looked++
		} else {
			d.Event = "anything"
		}
		each(d)
	}
	return ctx.Err()
}

// newShelf makes deliveries of so many events: each to one, some or none of
// the endpoints.
func newShelf(events, endpoints int) *shelf {
	s := new(shelf)
	for id := range endpoints {
		s.endpoints = append(s.endpoints, store.EndpointID(id+1))
	}
	for e := range events {
		for _, id := range s.endpoints {
			if endpoints > 1 && rand.IntN(3) == 0 {
				continue
			}
			s.rows = append(s.rows, Delivery{
				Place: store.DeliveryPlace{Event: store.EventID(10 * (e + 1)), Endpoint: id},
				State: []store.DeliveryState{store.Delivered, store.Delivered, store.Failed, store.Pending}[rand.IntN(4)],
				Event: []string{"often", "often", "seldom"}[rand.IntN(3)],
			})
		}
	}
	return s
}

// want is what a search is to find in all.
func (s *shelf) want(q *store.DeliveryQuery) (list []store.DeliveryPlace) {
	for _, d := range s.rows {
		if (q.Endpoint == 0 || d.Place.Endpoint == q.Endpoint) && (len(q.States) == 0 || slices.Contains(q.States, d.State)) &&
			(q.Event == "" || q.Event == d.Event) && d.Place.Event >= q.From && (q.Until == 0 || d.Place.Event < q.Until) {
			list = append(list, d.Place)
		}
	}
	if !q.Oldest {
		slices.Reverse(list)
	}
	return list
}

// pages turns the pages of a search until the last.
func (s *shelf) pages(t *testing.T, q store.DeliveryQuery) (all []store.DeliveryPlace) {
	t.Helper()
	for range 10_000 {
		found, next, err := Deliveries(t.Context(), s, &q)
		if err != nil || len(found) > q.Limit {
			t.Fatalf("%+v gives %d places (%v)", q, len(found), err)
		}
		all = append(all, found...)
		if next == (store.DeliveryPlace{}) {
			return all
		}
		q.After = next
	}
	t.Fatalf("%+v does not come to an end", q)
	return nil
}

// TestDeliveries turns the pages of every kind of search: each delivery that
// matches comes once and in order, whatever the limit.
func TestDeliveries(t *testing.T) {
	states := [][]store.DeliveryState{
		nil, {store.Delivered}, {store.Failed}, {store.Pending}, {store.Pending, store.Failed}, {store.Delivered, store.Failed},
	}
	for _, endpoints := range []int{1, 2, 7} {
		s := newShelf(40, endpoints)
		for _, states := range states {
			for _, limit := range []int{2, 50, 1000} {
				q := store.DeliveryQuery{States: states, Limit: limit}
				for _, q.Oldest = range []bool{false, true} {
					for _, q.Event = range []string{"", "seldom"} {
						for _, q.Endpoint = range []store.EndpointID{0, 1} {
							for _, q.Call = range []call.ID{0, 1} {
								if q.Call != 0 && q.Endpoint != 0 {
									continue // which is for the statement of a call
								}
								for _, q.Until = range []store.EventID{0, 250} {
									q.From = q.Until / 3
									if got, want := s.pages(t, q), s.want(&q); !slices.Equal(got, want) {
										t.Fatalf("%d endpoints, %+v:\ngot  %v\nwant %v", endpoints, q, got, want)
									}
								}
							}
						}
					}
				}
			}
		}
	}
}

// TestDeliveriesBounded has searches that find nothing, or everything, stop.
func TestDeliveriesBounded(t *testing.T) {
	s := newShelf(3*Limit, 1)
	for _, q := range []store.DeliveryQuery{
		{Event: "never", Limit: 10},
		{Event: "never", Oldest: true, Limit: 10},
		{Event: "never", States: []store.DeliveryState{store.Delivered}, Limit: 10},
		{Limit: math.MaxInt},
	} {
		s.looked = 0
		found, next, err := Deliveries(t.Context(), s, &q)
		if err != nil || next == (store.DeliveryPlace{}) || q.Event != "" && len(found) > 0 {
			t.Errorf("%+v finds %d and goes on at %v (%v)", q, len(found), next, err)
		}
		if s.looked < Limit || s.looked > Limit+3*maxChunk {
			t.Errorf("%+v looked at %d rows", q, s.looked)
		}
		first := s.rows[0].Place
		if !q.Oldest {
			first = s.rows[len(s.rows)-1].Place
		}
		if q.After = next; next == first {
			t.Errorf("%+v goes on where it began", q)
		}
	}
}

// TestDeliveriesCost says that a page looks at few rows more than it gives,
// and at states and names only where they matter.
func TestDeliveriesCost(t *testing.T) {
	s := newShelf(5000, 1)
	if _, _, err := Deliveries(t.Context(), s, &store.DeliveryQuery{Limit: 50}); err != nil || s.looked != 51 {
		t.Errorf("a page of 50 looks at %d rows (%v)", s.looked, err)
	}
	failed := []store.DeliveryState{store.Failed}
	if _, _, err := Deliveries(t.Context(), s, &store.DeliveryQuery{States: failed, Limit: 50}); err != nil {
		t.Error(err)
	}
	if r := s.ranges[len(s.ranges)-1]; !r.Failed || r.States || r.Names {
		t.Errorf("failed ones are looked for in %+v", r)
	}
	for _, endpoints := range []int{1, 3, 100, Limit} {
		for _, limit := range []int{1, 50, math.MaxInt} {
			if chunk := firstChunk(limit, endpoints); chunk < 1 || chunk > maxChunk || chunk*endpoints > max(endpoints, Limit/2) {
				t.Errorf("a page of %d looks at first at %d rows of each of %d endpoints", limit, chunk, endpoints)
			}
		}
	}
}

// TestDeliveriesManyPending does not sort more pending deliveries than it can.
func TestDeliveriesManyPending(t *testing.T) {
	s := newShelf(fewPending+10, 1)
	for i := range s.rows {
		s.rows[i].State = store.Pending
	}
	q := store.DeliveryQuery{States: []store.DeliveryState{store.Pending}, Limit: 5}
	found, _, err := Deliveries(t.Context(), s, &q)
	if err != nil || !slices.Equal(found, s.want(&q)[:5]) || len(s.ranges) == 0 {
		t.Errorf("found %v by %d ranges (%v)", found, len(s.ranges), err)
	}
	s.rows = s.rows[:fewPending]
	s.ranges = nil
	found, _, err = Deliveries(t.Context(), s, &q)
	if err != nil || !slices.Equal(found, s.want(&q)[:5]) || len(s.ranges) > 0 {
		t.Errorf("found %v by %d ranges (%v)", found, len(s.ranges), err)
	}
}

// TestDeliveriesFail gives nothing when reading fails, or when nobody waits
// any more.
func TestDeliveriesFail(t *testing.T) {
	s := newShelf(1000, 1)
	s.err = errors.New("broken")
	q := store.DeliveryQuery{Event: "never", Limit: 5}
	if found, next, err := Deliveries(t.Context(), s, &q); !errors.Is(err, s.err) || found != nil || next != (store.DeliveryPlace{}) {
		t.Errorf("gives %v, %v, %v", found, next, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, _, err := Deliveries(ctx, newShelf(10, 2), &q); !errors.Is(err, context.Canceled) || found != nil {
		t.Errorf("gives %v, %v", found, err)
	}
}

// TestMergeOrder has endpoints whose places lie among each other.
func TestMergeOrder(t *testing.T) {
	s := newShelf(50, 9)
	for _, oldest := range []bool{false, true} {
		got := s.pages(t, store.DeliveryQuery{Oldest: oldest, Limit: 7})
		sorted := slices.IsSortedFunc(got, func(a, b store.DeliveryPlace) int {
			order := cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Endpoint, b.Endpoint))
			if oldest {
				return order
			}
			return -order
		})
		if !sorted || len(got) != len(s.rows) {
			t.Errorf("oldest %v: %d of %d places, sorted: %v", oldest, len(got), len(s.rows), sorted)
		}
	}
}
