package adminapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ringback/ringback/internal/peer"
)

const (
	wrongBurst   = 10              // wrong tokens from one address at once
	wrongEvery   = 6 * time.Second // … and one more after each such time
	maxAddresses = 4096            // addresses that are remembered
)

// gate lets requests in that carry the right token.
type gate struct {
	o    Options
	want [sha256.Size]byte

	mu    sync.Mutex
	wrong map[string]*rate.Limiter // by address, of wrong tokens
}

func newGate(o Options) *gate {
	return &gate{o: o, want: sha256.Sum256([]byte(o.Token)), wrong: make(map[string]*rate.Limiter)}
}

// refusal is why a request is not let in.
type refusal struct {
	status int
	detail string
}

func (r *refusal) write(w http.ResponseWriter) {
	switch r.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="Ringback admin API"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	}
	writeProblem(w, r.status, r.detail)
}

// check gives nil when a request may go on.
func (g *gate) check(r *http.Request) *refusal {
	if g.o.Open {
		return checkLocal(r)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	refusal := g.admit(r, token)
	if refusal != nil && r.Header.Get("Authorization") == "" && refusal.status == http.StatusUnauthorized {
		refusal.detail = "there is no token: send the admin_token of the configuration, as Authorization: Bearer …"
	}
	return refusal
}

// admit gives nil when the token of a request is right.
func (g *gate) admit(r *http.Request, token string) *refusal {
	got := sha256.Sum256([]byte(strings.TrimSpace(token))) // so that the comparison tells nothing of the length
	right := g.o.Token != "" && subtle.ConstantTimeCompare(got[:], g.want[:]) == 1
	address := peer.Address(r, g.o.TrustedProxies)
	switch tooMany := g.count(network(address), right); {
	case tooMany:
		return &refusal{http.StatusTooManyRequests, "too many wrong tokens came from this address: wait a minute"}
	case right:
		return nil
	}
	g.o.Logger.Warn("an admin request was refused", "remote", address, "path", r.URL.Path)
	return &refusal{http.StatusUnauthorized, "the bearer token is wrong: it must be the admin_token of the configuration"}
}

// network is what counts as one address: of IPv6, what a single customer gets.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Is4() {
		return address
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

// count counts a token of an address, and reports whether too many wrong ones
// came from there before; then the right one is refused as well.
func (g *gate) count(address string, right bool) (tooMany bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.wrong[address]
	if l != nil && l.Tokens() < 1 {
		return true
	}
	if right {
		return false
	}
	if l == nil {
		if len(g.wrong) >= maxAddresses {
			g.forget()
		}
		l = rate.NewLimiter(rate.Every(wrongEvery), wrongBurst)
		g.wrong[address] = l
	}
	l.Allow()
	return false
}

// forget drops the addresses that have behaved for long enough, and if all
// are still under suspicion, some of them; mu is held.
func (g *gate) forget() {
	for address, l := range g.wrong {
		if l.Tokens() >= wrongBurst {
			delete(g.wrong, address)
		}
	}
	for address := range g.wrong {
		if len(g.wrong) < maxAddresses {
			return
		}
		delete(g.wrong, address)
	}
}

// checkLocal lets in what was made on this machine, by a program or by a page
// of this server. A page of another site that has made its name point to this
// machine has that name in Host, and any other page has its own in Origin.
func checkLocal(r *http.Request) *refusal {
	if !loopback(r.Host) {
		return &refusal{http.StatusForbidden, "without a token this API answers only to a loopback host, such as 127.0.0.1"}
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
		return &refusal{http.StatusForbidden, "without a token this API answers to no page of another site"}
	}
	return nil
}

// loopback reports whether a Host header names this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
