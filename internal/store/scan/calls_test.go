package scan

import (
	"math"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const second = call.Instant(1_790_000_000_000)

// stored is the stored form of a call that has ended, or lives.
func stored(t *testing.T, at call.Instant, n uint32, ended bool) (store.CallPlace, []byte) {
	t.Helper()
	c := call.Evolve(nil, call.CallCreated{
		Actor: call.Actor{User: "alice"}, ID: call.NewID(at, n), App: 1, At: at, Invitees: []call.UserID{"bob"}, Timeout: 90,
	})
	if ended {
		c = call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: "bob"}, At: at})
	}
	return store.CallPlace{CreatedAt: at, ID: c.ID}, store.EncodeCall(&store.CallRecord{Call: c})
}

func TestIDs(t *testing.T) {
	id := func(at call.Instant) call.ID { return call.NewID(at, 0) }
	after := store.CallPlace{ID: id(second + 2000)}
	for _, test := range []struct {
		q          store.CallQuery
		after      store.CallPlace
		first, end call.ID
	}{
		{store.CallQuery{}, store.CallPlace{}, 0, math.MaxInt64},
		{store.CallQuery{From: second + 1, Until: second + 5000}, store.CallPlace{}, id(second), id(second + 5000)},
		{store.CallQuery{Until: second + 5001}, store.CallPlace{}, 0, id(second + 6000)},
		{store.CallQuery{Until: second + 5001}, after, 0, after.ID},
		{store.CallQuery{Until: second}, after, 0, id(second)},
		{store.CallQuery{From: math.MaxInt64}, store.CallPlace{}, math.MaxInt64, math.MaxInt64},
	} {
		if first, end := IDs(&test.q, test.after); first != test.first || end != test.end {
			t.Errorf("%+v after %v: from %d to %d, want %d to %d", test.q, test.after, first, end, test.first, test.end)
		}
	}
}

func TestBefore(t *testing.T) {
	place := store.CallPlace{CreatedAt: second, ID: 7}
	for _, test := range []struct {
		until call.Instant
		after store.CallPlace
		want  store.CallPlace
	}{
		{0, store.CallPlace{}, store.CallPlace{CreatedAt: math.MaxInt64}},
		{second, store.CallPlace{}, store.CallPlace{CreatedAt: second}},
		{second + 1, place, place},
	} {
		if got := Before(&store.CallQuery{Until: test.until}, test.after); got != test.want {
			t.Errorf("until %d after %v: before %v, want %v", test.until, test.after, got, test.want)
		}
	}
}

// TestCalls fills a page: it has what fits, and goes on after its last call
// only if there is another.
func TestCalls(t *testing.T) {
	q := &store.CallQuery{From: second, Until: second + 100, Outcome: call.OutcomeAccepted, Limit: 2}
	page := NewCalls(q)
	look := func(at call.Instant, ended bool) store.CallPlace {
		t.Helper()
		place, state := stored(t, at, uint32(at-second+500), ended)
		if err := page.Look(place, 1, state); err != nil {
			t.Fatal(err)
		}
		return place
	}
	look(second+100, true)     // too late
	look(second+99, false)     // has no outcome
	look(second-1, true)       // too early
	look(second+50, true)      // the first
	last := look(second, true) // the second
	if !page.More() || page.Room() != 1 || page.Last() != last {
		t.Errorf("the page has room for %d more after %v", page.Room(), page.Last())
	}
	ended := *page
	ended.End()
	if got := ended.Page(); len(got.Calls) != 2 || got.Next != (store.CallPlace{}) || ended.More() {
		t.Errorf("the last page has %d calls and goes on at %v", len(got.Calls), got.Next)
	}
	look(second+1, true) // one too many
	if got := page.Page(); len(got.Calls) != 2 || got.Next != last || page.More() {
		t.Errorf("the page has %d calls and goes on at %v", len(got.Calls), got.Next)
	}
}

// TestCallsBounded looks at rows that cannot match, and at calls that do not.
func TestCallsBounded(t *testing.T) {
	q := &store.CallQuery{Outcome: call.OutcomeRejected, Limit: 2}
	place, state := stored(t, second, 1, true)
	for _, test := range []struct {
		rows  int
		state []byte
		most  int // looks
	}{{1, nil, Limit}, {5, nil, Limit / 5}, {1, state, Limit/(1+decodeCost) + 1}} {
		page, looks := NewCalls(q), 0
		for ; page.More(); looks++ {
			place.ID--
			if err := page.Look(place, test.rows, test.state); err != nil {
				t.Fatal(err)
			}
		}
		if got := page.Page(); looks != test.most || len(got.Calls) != 0 || got.Next != place {
			t.Errorf("rows of %d: %d looks, %d calls, goes on at %v", test.rows, looks, len(got.Calls), got.Next)
		}
	}
	if page := NewCalls(&store.CallQuery{Live: true, Outcome: call.OutcomeAccepted, Limit: 1}); page.More() || page.Page().Next != (store.CallPlace{}) {
		t.Error("calls that live are looked through for an outcome")
	}
	if err := NewCalls(q).Look(place, 1, []byte("?")); err == nil {
		t.Error("a state that cannot be read gives no error")
	}
}
