package webhook

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// fakeJobs is the part of a fakeStore that is about redeliveries.
type fakeJobs struct {
	jobs     map[int64]store.Redelivery
	lastJob  int64
	audits   []store.Audit
	redone   map[store.DeliveryKey]int // attempts when it was first made pending again
	searched int
	// unknown makes the next Redeliver write, and then give ErrUnknown.
	unknown bool
	// look bounds what a search looks at; 0: nothing does.
	look int
}

func (s *fakeStore) Redeliver(ctx context.Context, keys []store.DeliveryKey, job *store.Redelivery, now call.Instant) ([]*store.Delivery, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if job != nil && s.jobs[job.ID].State != store.RedeliveryRunning {
		return nil, store.ErrConflict
	}
	var list []*store.Delivery
	for _, key := range keys {
		d := s.deliveries[key]
		if d == nil || d.State == store.Pending || s.removed[key.Endpoint] {
			continue
		}
		if _, ok := s.redone[key]; !ok {
			s.redone[key] = d.Attempts
		}
		d.State, d.Failures, d.Due = store.Pending, 0, now
		list = append(list, new(*d))
	}
	if job != nil {
		job.Done += len(list)
		job.Skipped += len(keys) - len(list)
		s.jobs[job.ID] = *job
	}
	if s.unknown {
		s.unknown = false
		return nil, store.ErrUnknown
	}
	return list, nil
}

func (s *fakeStore) PutRedelivery(ctx context.Context, job *store.Redelivery, audit *store.Audit) error {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	if job.ID != 0 && s.jobs[job.ID].State != store.RedeliveryRunning {
		return store.ErrConflict
	}
	if job.ID == 0 {
		s.lastJob++
		job.ID = s.lastJob
	}
	s.jobs[job.ID] = *job
	if audit != nil {
		s.audits = append(s.audits, *audit)
	}
	return nil
}

func (s *fakeStore) Redelivery(ctx context.Context, id int64) (*store.Redelivery, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	job, ok := s.jobs[id]
	if !ok {
		return nil, store.ErrNotFound
	}
	return &job, nil
}

func (s *fakeStore) ListRedeliveries(ctx context.Context, before int64, limit int) ([]*store.Redelivery, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var list []*store.Redelivery
	for id := s.lastJob; id > 0 && len(list) < limit; id-- {
		if job, ok := s.jobs[id]; ok && (before == 0 || id < before) {
			list = append(list, &job)
		}
	}
	return list, nil
}

func (s *fakeStore) LastEventID(ctx context.Context) (store.EventID, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	return s.lastEvent, err
}

// find lists what a query finds, as far as one call may look. It is called
// with the mutex.
func (s *fakeStore) find(q store.DeliveryQuery, limit int) (page store.DeliveryPage) {
	s.searched++
	var list []*store.Delivery
	for _, d := range s.deliveries {
		place := store.DeliveryPlace{Event: d.Event, Endpoint: d.Endpoint}
		if d.Event >= q.From && (q.Until == 0 || d.Event < q.Until) && beyond(place, q) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *store.Delivery) int {
		order := cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Endpoint, b.Endpoint))
		if !q.Oldest {
			return -order
		}
		return order
	})
	for i, d := range list {
		if len(page.Deliveries) == limit || s.look > 0 && i == s.look {
			before := list[i-1]
			page.Next = store.DeliveryPlace{Event: before.Event, Endpoint: before.Endpoint}
			return page
		}
		if (q.App == 0 || d.App == q.App) && (q.Call == 0 || d.Call == q.Call) && (q.Endpoint == 0 || d.Endpoint == q.Endpoint) &&
			(q.Event == "" || d.Name == q.Event) && (len(q.States) == 0 || slices.Contains(q.States, d.State)) {
			page.Deliveries = append(page.Deliveries, &store.LoggedDelivery{Delivery: *d})
		}
	}
	return page
}

// beyond reports whether a place comes after those of the page before.
func beyond(p store.DeliveryPlace, q store.DeliveryQuery) bool {
	order := cmp.Or(cmp.Compare(p.Event, q.After.Event), cmp.Compare(p.Endpoint, q.After.Endpoint))
	return q.After == (store.DeliveryPlace{}) || q.Oldest && order > 0 || !q.Oldest && order < 0
}

func (s *fakeStore) SearchDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return store.DeliveryPage{}, err
	}
	return s.find(q, q.Limit), nil
}

func (s *fakeStore) CountDeliveries(ctx context.Context, q store.DeliveryQuery) (int, store.DeliveryPlace, error) {
	err := s.enter(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return 0, store.DeliveryPlace{}, err
	}
	page := s.find(q, -1)
	return len(page.Deliveries), page.Next, nil
}

// remove removes an endpoint.
func (s *fakeStore) remove(id store.EndpointID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed[id] = true
	for key, d := range s.deliveries {
		if key.Endpoint == id && d.State == store.Pending {
			d.State, d.Due = store.Failed, 0
		}
	}
}

// redeliver makes deliveries pending again and hands them over.
func (w *world) redeliver(keys ...store.DeliveryKey) int {
	w.t.Helper()
	list, err := w.store.Redeliver(w.t.Context(), keys, nil, call.At(time.Now()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.d.Redeliver(list)
	return len(list)
}

// job reads a job.
func (w *world) job(id int64) store.Redelivery {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.jobs[id]
}
