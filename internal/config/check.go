package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check reports what is wrong with values that are well formed by themselves.
// Settings that could not be read are left out, since they were reported then.
func (l *loader) check() {
	c := l.cfg
	l.checkListen(c.Listen)
	l.require(c.DataDir != "", "data_dir", "is empty; name the directory of the store, such as ./ringback-data")
	l.checkStore(c.Store)
	l.checkNATS(c)
	l.checkNATSFiles(c)
	l.require(natsPrefix.MatchString(c.NATSPrefix), "nats_prefix", "is %q; it must be letters, digits and dashes, with dots between, such as ringback.eu", c.NATSPrefix)
	l.require(nodeName.MatchString(c.Node), "node", "is %q; it must be at most 64 letters, digits, dots and dashes", c.Node)
	l.require(c.Lease >= 2*time.Second && c.Lease <= time.Minute, "lease", "is %v; it must be 2s to 1m, 10s is usual", c.Lease)
	l.checkTimes()
	l.require(c.Limits.RequestsPerSecond > 0, "limits.requests_per_second", "is %d; it must be at least 1", c.Limits.RequestsPerSecond)
	l.require(c.Limits.Burst > 0, "limits.burst", "is %d; it must be at least 1", c.Limits.Burst)
	l.require(c.Limits.ServerAPI >= 0, "limits.server_api", "is %d; it must be at least 1, or 0 for no limit", c.Limits.ServerAPI)
	l.checkAdminToken(c.AdminToken)
	l.checkPair("tls", c.TLS.Cert, c.TLS.Key)
	for i, network := range c.Callbacks.AllowNetworks {
		kind := neverCalled(network)
		l.require(kind == "", index("callbacks.allow_networks", i), "%s holds %s addresses only, which are never called; remove it", network, kind)
	}
	firstApp := make(map[uint32]int)
	for i := range c.Apps {
		l.checkApp(index("apps", i), &c.Apps[i])
		if id := c.Apps[i].ID; id != 0 {
			first, twice := firstApp[id]
			l.require(!twice, index("apps", i)+".id", "is %d, as that of apps[%d]; give each app its own", id, first)
			if !twice {
				firstApp[id] = i
			}
		}
	}
}

// require reports a mistake in the setting key unless ok holds or a mistake
// in it is known already.
func (l *loader) require(ok bool, key, format string, args ...any) {
	if !ok && !l.failed(key) {
		l.report(key, format, args...)
	}
}

// oneOf reports a value that is none of a few words.
func (l *loader) oneOf(key, value string, words ...string) {
	l.require(slices.Contains(words, value), key, "is %q; it must be %s", value, choice(words))
}

// choice returns "a, b or c".
func choice(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

var natsPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

var nodeName = regexp.MustCompile(`^[A-Za-z0-9._-]{0,64}$`)

// checkStore says nothing of the URL, which has a password in it.
func (l *loader) checkStore(store string) {
	const form = "write one such as postgres://ringback:PASSWORD@db.example.com/ringback, or nothing for the embedded store"
	if store == "" {
		return
	}
	u, err := url.Parse(store)
	l.require(err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") && u.Path != "" && u.Path != "/", "store",
		"is not the URL of a PostgreSQL database; %s", form)
}

func (l *loader) checkNATS(c *Config) {
	if c.NATS == "" {
		return
	}
	l.require(c.Store != "", "nats", "is set, but the embedded store is for one node only; set store, or remove nats")
	for _, part := range strings.Split(c.NATS, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		l.require(err == nil && slices.Contains([]string{"nats", "tls"}, u.Scheme) && u.Host != "", "nats",
			"holds what is not the URL of a NATS server; write one such as nats://nats.example.com:4222, several with commas between")
	}
}

// checkNATSFiles reads the files by which a node and the NATS servers know each
// other.
func (l *loader) checkNATSFiles(c *Config) {
	if c.NATSCredentials != "" {
		l.read("nats_credentials", c.NATSCredentials)
	}
	if t := c.NATSTLS; t.CA != "" {
		if text, ok := l.read("nats_tls.ca", t.CA); ok {
			l.require(x509.NewCertPool().AppendCertsFromPEM(text), "nats_tls.ca", "%s has no certificate in PEM", t.CA)
		}
	}
	l.checkPair("nats_tls", c.NATSTLS.Cert, c.NATSTLS.Key)
}

func (l *loader) checkListen(listen string) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		l.require(false, "listen", "%q is not host:port; write one such as 127.0.0.1:8080, or :8080 for all addresses", listen)
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	l.require(err == nil && strconv.FormatUint(n, 10) == port, "listen", "%q has no port from 0 to 65535; write one such as 127.0.0.1:8080", listen)
	if _, err := netip.ParseAddr(host); err != nil {
		l.require(!strings.ContainsAny(host, " /:@[]"), "listen", "%q has no valid host; write an address or a name, or nothing for all addresses", listen)
	}
}

func (l *loader) checkAdminToken(token string) {
	const advice = "make one with: openssl rand -hex 24"
	l.require(printable(token) && !strings.Contains(token, " "), "admin_token", "has spaces or characters other than printable ASCII; %s", advice)
}

func (l *loader) checkTimes() {
	c := l.cfg
	l.require(c.HeartbeatInterval >= time.Second, "heartbeat_interval", "is %v; it must be at least 1s", c.HeartbeatInterval)
	// If only one of the two is set, that one is to be changed.
	key := "heartbeat_timeout"
	if _, set := c.origin.at[key]; !set {
		key = "heartbeat_interval"
	}
	if !l.failed("heartbeat_interval") && !l.failed("heartbeat_timeout") {
		l.require(c.HeartbeatTimeout > c.HeartbeatInterval, key,
			"heartbeat_timeout (%v) must be longer than heartbeat_interval (%v); three times as long is usual", c.HeartbeatTimeout, c.HeartbeatInterval)
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{
		{"absence_timeout", c.AbsenceTimeout},
		{"max_call_duration", c.MaxCallDuration},
		{"session_ttl", c.SessionTTL},
		{"retention", c.Retention},
	} {
		l.require(d.d > 0, d.key, "is %v; it must be longer than 0", d.d)
	}
}

// checkPair reads the files of a certificate and its key, so that they are known
// to fit before the server starts. group is the setting that they are part of.
func (l *loader) checkPair(group, certPath, keyPath string) {
	certKey, keyKey := group+".cert", group+".key"
	switch {
	case l.failed(certKey) || l.failed(keyKey) || certPath == "" && keyPath == "":
		return
	case certPath == "":
		l.report(certKey, "is empty but %s is set; set both, or none", keyKey)
		return
	case keyPath == "":
		l.report(keyKey, "is empty but %s is set; set both, or none", certKey)
		return
	}
	cert, certOK := l.read(certKey, certPath)
	key, keyOK := l.read(keyKey, keyPath)
	if !certOK || !keyOK {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		l.report(certKey, "%s and %s are not a certificate and its key in PEM: %s", certPath, keyPath, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

func (l *loader) read(key, path string) (text []byte, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		l.report(key, "%s cannot be read: %v", path, err)
	}
	return text, err == nil
}

// neverCalled returns the kind of addresses, all of which are never called,
// that a network lies in, or "".
func neverCalled(network netip.Prefix) string {
	for _, n := range never {
		if network.IsValid() && n.prefix.Bits() <= network.Bits() && n.prefix.Contains(network.Addr()) {
			return n.kind
		}
	}
	return ""
}

// never are the networks that no callback goes to.
var never = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
}
