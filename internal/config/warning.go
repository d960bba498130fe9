package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// exampleSecret is in the documentation.
const exampleSecret = "0123456789abcdef0123456789abcdef"

// Warnings returns what is allowed but unwise, or without effect, by place
// like the problems of [Load]. They are meant for the operator at start and do
// not keep a server from running.
func (c *Config) Warnings() []Problem {
	var list []Problem
	warn := func(key, format string, args ...any) {
		list = append(list, c.origin.problem(key, fmt.Sprintf(format, args...)))
	}
	if n := len(c.AdminToken); n > 0 && n < ShortAdminToken {
		warn("admin_token", "has only %d characters, which can be guessed; make one with: openssl rand -hex 24", n)
	}
	if len(c.Apps) == 0 && c.AdminToken == "" {
		warn("apps", "there is no app, so nobody can log in; add one with an id and a secret, or set admin_token and make one at run time")
	}
	for i, network := range c.TrustedProxies {
		if network.Bits() == 0 {
			warn(index("trusted_proxies", i), "every client is trusted to say what its address is; name the networks of your proxies only")
		}
	}
	for i, app := range c.Apps {
		key := index("apps", i)
		if app.Secret == exampleSecret {
			warn(key+".secret", "is the one of the documentation, which everybody knows; make one with: openssl rand -hex 16")
		}
		for j, endpoint := range app.Callbacks {
			key := index(key+".callbacks", j)
			if endpoint.Secret == "" {
				warn(key+".secret", "is not set, so callbacks are signed with the app's secret, and whoever checks them can log in as anybody; a separate one is safer")
			}
			if where, network := c.outOfReach(endpoint.URL); network != "" {
				warn(key+".url", "leads to %s, which is not a public address, so no callback will be sent; add %s to callbacks.allow_networks", where, network)
			}
		}
	}
	c.origin.sort(list)
	return list
}

// outOfReach returns the host of an endpoint's URL that is plainly no public
// address, and the network to allow so that it can be reached, or nothing.
// Other host names are not looked up.
func (c *Config) outOfReach(raw string) (host, network string) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", ""
	}
	addr, ok := literalAddr(u)
	if name := strings.ToLower(u.Hostname()); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		addr, ok = netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	if !ok {
		return "", ""
	}
	for _, allowed := range c.Callbacks.AllowNetworks {
		if allowed.Contains(addr) {
			return "", ""
		}
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return u.Hostname(), p.String()
		}
	}
	return "", ""
}

// notPublic are the networks that callbacks reach only if they are allowed.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fc00::/7"),
}
