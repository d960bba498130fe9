package console

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// begin makes a session and a request of it.
func begin(t *testing.T, l *sessions) *http.Request {
	t.Helper()
	w := httptest.NewRecorder()
	l.begin(w, httptest.NewRequest(http.MethodPost, Path+"/sign-in", nil))
	r := httptest.NewRequest(http.MethodGet, Path+"/", nil)
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	return r
}

func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSessions()
		idle, busy := begin(t, l), begin(t, l)
		for begun := time.Now(); time.Since(begun) < ageLimit; time.Sleep(idleLimit - time.Minute) {
			if l.of(busy) == nil {
				t.Fatalf("a session in use has ended after %v", time.Since(begun))
			}
			if over := time.Since(begun) >= idleLimit; over && l.of(idle) != nil {
				t.Error("a session that was not used goes on")
			}
		}
		if l.of(busy) != nil {
			t.Error("a session goes on for ever")
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSessions()
		first, second := begin(t, l), begin(t, l)
		time.Sleep(time.Second)
		l.of(first) // it was used after the second
		for range maxSessions - 1 {
			begin(t, l)
		}
		if len(l.byID) != maxSessions {
			t.Errorf("there are %d sessions", len(l.byID))
		}
		if l.of(first) == nil || l.of(second) != nil {
			t.Error("it is not the one that was used least lately which ended")
		}
	})
}

func TestSessionCookie(t *testing.T) {
	for origin, secure := range map[string]bool{"": false, "http://ringback.example": false, "https://ringback.example": true} {
		r := httptest.NewRequest(http.MethodPost, Path+"/sign-in", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		newSessions().begin(w, r)
		c := w.Result().Cookies()[0]
		if c.Secure != secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != Path+"/" || len(c.Value) < 52 {
			t.Errorf("from %q: %+v", origin, c)
		}
	}
}

func TestNoticesAreToldOnce(t *testing.T) {
	s := newSessions().begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	for range 100 {
		s.tell(notice{Text: "done"}) // nobody reads: it must not wait
	}
	if n := len(s.told()); n == 0 || n > 8 {
		t.Errorf("%d notices", n)
	}
	if s.told() != nil {
		t.Error("a notice is told twice")
	}
}

func TestLocal(t *testing.T) {
	for target, want := range map[string]string{
		"/console/calls?state=live":      "/console/calls?state=live",
		"":                               "/console/",
		"https://elsewhere.example/":     "/console/",
		"//elsewhere.example/console/":   "/console/",
		"/\\elsewhere.example/console/":  "/console/",
		"/console/\\elsewhere":           "/console/",
		"/v1/events":                     "/console/",
		"javascript:alert(1)//console/":  "/console/",
		"/console/\r\nSet-Cookie: a=b":   "/console/",
		"http:/console/":                 "/console/",
		"/console/..//elsewhere.example": "/console/..//elsewhere.example",
	} {
		if got := local(target); got != want {
			t.Errorf("%q leads to %q, want %q", target, got, want)
		}
	}
}
