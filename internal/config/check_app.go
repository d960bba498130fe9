package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkApp checks one app, the setting key.
func (l *loader) checkApp(key string, a *App) {
	l.require(a.ID != 0, key+".id", "is missing or 0; give the app a number from 1 to 4294967295")
	l.require(len(a.Name) <= MaxName, key+".name", "has %d bytes; it may have %d", len(a.Name), MaxName)
	l.require(utf8.ValidString(a.Name) && !strings.ContainsFunc(a.Name, unicode.IsControl), key+".name",
		"has control characters or is not UTF-8; remove them")
	l.checkSecret(key+".secret", a.Secret)
	l.oneOf(key+".login_policy", a.LoginPolicy, "single", "dual", "multi")
	l.oneOf(key+".join_policy", a.JoinPolicy, "anyone", "invited")
	firstURL := make(map[string]int)
	for i := range a.Callbacks {
		endpoint := index(key+".callbacks", i)
		l.checkEndpoint(endpoint, &a.Callbacks[i])
		if u := a.Callbacks[i].URL; u != "" {
			first, twice := firstURL[u]
			l.require(!twice, endpoint+".url", "is the same as that of %s; an endpoint is known by its URL, so join the two", index(key+".callbacks", first))
			if !twice {
				firstURL[u] = i
			}
		}
	}
}

// Check gives what is wrong with an app that is not of a file; the keys are
// those of the app.
func (a *App) Check() []Problem {
	l := &loader{cfg: Default()}
	l.checkApp("", a)
	return trimKeys(l.problems)
}

// Check gives what is wrong with an endpoint that is not of a file; the keys
// are those of the endpoint.
func (e *Endpoint) Check() []Problem {
	l := &loader{cfg: Default()}
	l.checkEndpoint("", e)
	return trimKeys(l.problems)
}

func trimKeys(problems []Problem) []Problem {
	for i := range problems {
		problems[i].Key = strings.TrimPrefix(problems[i].Key, ".")
	}
	return problems
}

// checkSecret checks the secret of an app.
func (l *loader) checkSecret(key, secret string) {
	const advice = "make one with: openssl rand -hex 16"
	l.require(secret != "", key, "is missing; %s", advice)
	l.require(printable(secret), key, "has characters other than printable ASCII; %s", advice)
	l.require(len(secret) == SecretLen, key, "has %d characters; it must have exactly %d; %s", len(secret), SecretLen, advice)
}

// printable reports whether s has printable ASCII characters only.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// checkEndpoint checks one endpoint, the setting key.
func (l *loader) checkEndpoint(key string, e *Endpoint) {
	l.checkURL(key+".url", e.URL)
	l.require(printable(e.Secret), key+".secret", "has characters other than printable ASCII; make one with: openssl rand -hex 16")
	l.require(len(e.Secret) <= MaxEndpointSecret, key+".secret", "has %d characters; it may have %d", len(e.Secret), MaxEndpointSecret)
	l.oneOf(key+".format", e.Format, "json", "form")
	l.checkEvents(key+".events", e.Events)
	l.require(MinCallbackTimeout <= e.Timeout && e.Timeout <= MaxCallbackTimeout, key+".timeout",
		"is %v; it must be from %v to %v", e.Timeout, MinCallbackTimeout, MaxCallbackTimeout)
	l.require(len(e.Retry) <= MaxRetries, key+".retry", "has %d pauses; it may have %d; use fewer and longer ones", len(e.Retry), MaxRetries)
	for i, d := range e.Retry {
		l.require(0 < d && d <= MaxRetryPause, index(key+".retry", i), "is %v; it must be longer than 0 and at most 24h", d)
	}
	l.oneOf(key+".ordering", e.Ordering, "first_attempt", "strict")
	l.oneOf(key+".when_down", e.WhenDown, "retry", "hold")
}

func (l *loader) checkEvents(key string, events []string) {
	known := append(DefaultEvents(), ExtraEvents()...)
	for i, event := range events {
		l.require(slices.Contains(known, event), index(key, i), "%q is not an event; %s",
			event, unknownAdvice(event, known, "the events are "+choice(known)))
		first := slices.Index(events, event)
		l.require(first == i, index(key, i), "%q is already in the list; remove one of the two", event)
	}
}

// checkURL checks the URL of an endpoint. Its messages do not show it, since
// there may be a password or a key in it.
func (l *loader) checkURL(key, raw string) {
	const advice = "write one such as https://example.com/callback"
	if raw == "" {
		l.require(false, key, "is missing; %s", advice)
		return
	}
	u, err := url.Parse(raw)
	if err != nil {
		l.require(false, key, "is not a URL; %s", advice)
		return
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		l.require(false, key, "does not begin with http:// or https://; %s", advice)
	case u.Hostname() == "":
		l.require(false, key, "has no host; %s", advice)
	case !validPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		l.require(false, key, "has no port from 1 to 65535; %s", advice)
	case u.User != nil:
		l.require(false, key, "has a user or a password; callbacks are signed, so remove them and check the signature")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		l.require(false, key, "has a fragment, which is never sent; remove # and what follows")
	case len(raw) > MaxURL:
		l.require(false, key, "has %d bytes; it may have %d", len(raw), MaxURL)
	default:
		if addr, ok := literalAddr(u); ok {
			kind := neverCalled(netip.PrefixFrom(addr, addr.BitLen()))
			l.require(kind == "", key, "leads to %s, a %s address, which is never called; use another", addr, kind)
		}
	}
}

// validPort reports whether port is the decimal number of one, or empty.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// literalAddr returns the IP address that is the host of u, if it is one.
func literalAddr(u *url.URL) (addr netip.Addr, ok bool) {
	addr, err := netip.ParseAddr(u.Hostname())
	return addr.WithZone("").Unmap(), err == nil
}
