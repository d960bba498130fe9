package console

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	sessionCookie = "ringback_console"
	idleLimit     = 12 * time.Hour     // a session ends when it is not used for as long
	ageLimit      = 7 * 24 * time.Hour // and in any case
	maxSessions   = 1000               // then the one that was used least lately ends
)

// session is somebody who has signed in.
type session struct {
	id      string
	begun   time.Time
	used    time.Time // guarded by sessions.mu
	notices chan notice
}

// notice is what the next page says once.
type notice struct {
	Good    bool
	Text    string
	Secrets []shownSecret
}

// shownSecret is a secret that is shown this once.
type shownSecret struct{ Name, Note, Value string }

// tell notes something for the next page. Where nobody has read so many, it is
// dropped.
func (s *session) tell(n notice) {
	select {
	case s.notices <- n:
	default:
	}
}

// told takes what there is to say.
func (s *session) told() []notice {
	var list []notice
	for {
		select {
		case n := <-s.notices:
			list = append(list, n)
		default:
			return list
		}
	}
}

// sessions are those who have signed in. They are in memory: who was signed in
// signs in again after a restart.
type sessions struct {
	mu   sync.Mutex
	byID map[string]*session
}

func newSessions() *sessions { return &sessions{byID: make(map[string]*session)} }

// begin makes a session and gives its cookie to who made a request.
func (l *sessions) begin(w http.ResponseWriter, r *http.Request) *session {
	now := time.Now()
	// A random text of 52 characters of 5 bits: 256 bits and a little more.
	s := &session{id: rand.Text() + rand.Text(), begun: now, used: now, notices: make(chan notice, 8)}
	l.mu.Lock()
	l.makeRoom(now)
	l.byID[s.id] = s
	l.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: s.id, Path: Path + "/", MaxAge: int(ageLimit.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: overTLS(r),
	})
	return s
}

// overTLS reports whether the browser that made a request came over TLS, be it
// to a proxy.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://")
}

// makeRoom drops what has ended, and if there are still too many, the one that
// was used least lately; mu is held.
func (l *sessions) makeRoom(now time.Time) {
	if len(l.byID) < maxSessions {
		return
	}
	var oldest *session
	for id, s := range l.byID {
		switch {
		case s.ended(now):
			delete(l.byID, id)
		case oldest == nil || s.used.Before(oldest.used):
			oldest = s
		}
	}
	if len(l.byID) >= maxSessions {
		delete(l.byID, oldest.id)
	}
}

func (s *session) ended(now time.Time) bool {
	return now.Sub(s.used) >= idleLimit || now.Sub(s.begun) >= ageLimit
}

// of gives the session of a request and notes that it is used; nil: there is
// none.
func (l *sessions) of(r *http.Request) *session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.byID[cookie.Value] // 256 random bits: the time of a look-up tells nothing of use
	if s == nil || s.ended(now) {
		delete(l.byID, cookie.Value)
		return nil
	}
	s.used = now
	return s
}

// alive reports whether a session goes on.
func (l *sessions) alive(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[s.id] == s && !s.ended(time.Now())
}

// end ends a session.
func (l *sessions) end(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, s.id)
}
