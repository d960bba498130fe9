package serverapi

import (
	"math"
	"sync"

	"golang.org/x/time/rate"
)

// maxPolls is how many polls of the feed one app may have waiting.
const maxPolls = 100

// limits counts the requests of each app and action. It only ever holds apps
// that exist and actions that are documented. Its zero value limits nothing.
type limits struct {
	perSecond float64
	mu        sync.Mutex
	buckets   map[limitKey]*rate.Limiter
}

type limitKey struct {
	app    uint32
	action string
}

// take counts a request, and gives a fault when it is one too many.
func (l *limits) take(app uint32, action string) error {
	if l.perSecond <= 0 {
		return nil
	}
	key := limitKey{app, action}
	l.mu.Lock()
	bucket := l.buckets[key]
	if bucket == nil {
		bucket = rate.NewLimiter(rate.Limit(l.perSecond), int(math.Ceil(l.perSecond)))
		if l.buckets == nil {
			l.buckets = make(map[limitKey]*rate.Limiter)
		}
		l.buckets[key] = bucket
	}
	l.mu.Unlock()
	if bucket.Allow() {
		return nil
	}
	code := CodeTooManyRequests
	if action == actionRegister {
		code = CodeRegistrations
	}
	return faultf(code, "more than %g requests of this kind in a second: send them more slowly", l.perSecond)
}

// polls counts the polls that wait, by app. Its zero value is ready to use.
type polls struct {
	mu      sync.Mutex
	waiting map[uint32]int
}

// begin counts a poll in, unless its app has too many. end must follow.
func (p *polls) begin(app uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[app] >= maxPolls {
		return faultf(CodeTooManyRequests, "%d polls of this app are waiting, which is the limit: let one reader pass events on to the others", maxPolls)
	}
	if p.waiting == nil {
		p.waiting = make(map[uint32]int)
	}
	p.waiting[app]++
	return nil
}

func (p *polls) end(app uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[app]--; p.waiting[app] == 0 {
		delete(p.waiting, app)
	}
}
