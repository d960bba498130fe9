// Package config reads and checks the configuration of a server.
//
// A configuration is a YAML file, of which every setting can be overridden by
// an environment variable: RINGBACK_ and the path of its key in upper case,
// such as RINGBACK_DATA_DIR, RINGBACK_LIMITS_BURST or RINGBACK_APPS_0_SECRET.
// Lists of plain values are separated by commas there. [Load] finds all
// mistakes at once and says where each is and how to mend it.
package config

//go:generate go run ./docgen

import (
	"net/netip"
	"time"
)

// Config is a whole configuration. Get one from [Default] or [Load]; the zero
// value is not useful.
//
// The comments of its settings, and those of the groups in it, are for
// operators too: docs/configuration.md is made from them by "go generate",
// which leaves out the name of the field and "is". The first sentence also
// stands in the example of a whole file. The tag bounds says what Load takes,
// the tag example what the example sets where there is no default.
type Config struct {
	// Listen is the TCP address for devices, backends, operators and metrics.
	// An empty host means all addresses, port 0 any free port.
	Listen string `yaml:"listen" bounds:"host:port"`

	// DataDir is the directory of the embedded store, for one server at a time.
	// It need not exist; keep it on a local disk.
	DataDir string `yaml:"data_dir" bounds:"not empty"`

	// Store is the URL of a PostgreSQL database, instead of the embedded store.
	// Several nodes can share it. The schema is made and kept up to date at the
	// start; data_dir is not used then. See scaling.md.
	Store string `yaml:"store" bounds:"a postgres:// URL, or empty"`

	// NATS are the URLs of the NATS servers through which nodes that share a
	// store reach each other, separated by commas. It needs store, and all nodes
	// the same. Empty: there is one node only.
	NATS string `yaml:"nats" bounds:"nats:// or tls:// URLs, or empty"`

	// NATSPrefix begins the subjects that are used on NATS. Clusters that share
	// NATS servers, but not the store, need different ones.
	NATSPrefix string `yaml:"nats_prefix" bounds:"letters, digits, dashes, dots between"`

	// NATSCredentials is the file of this node's credentials for NATS, a JWT and
	// its seed, where the servers ask for such. Users, passwords and tokens are
	// part of the URLs.
	NATSCredentials string `yaml:"nats_credentials" bounds:"a file that can be read, or empty"`

	// NATSTLS is for NATS servers whose certificates the system does not know, or
	// that ask for one. With any of it all connections are by TLS. The files are
	// read again with each new connection.
	NATSTLS NATSTLS `yaml:"nats_tls"`

	// Node is the name of this node among those that share a store. No two may
	// have the same. Empty: the name of the machine.
	Node string `yaml:"node" bounds:"at most 64 letters, digits, dots and dashes"`

	// Lease is how long a node that gives no sign of life keeps its part of the
	// work. After that others take it over. All nodes need the same.
	Lease time.Duration `yaml:"lease" bounds:"2s to 1m"`

	// AdminToken is what requests to the admin API must carry, and what signs in
	// to the console. Requests carry it as a bearer token. Empty: both are off.
	// One of fewer than 16 characters is warned of.
	AdminToken string `yaml:"admin_token" bounds:"printable ASCII characters without spaces"`

	// HeartbeatInterval is how often the server pings a device.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval" bounds:"at least 1s"`

	// HeartbeatTimeout is the time without a sign of life after which a session
	// is offline. A device that comes back sooner has missed nothing.
	HeartbeatTimeout time.Duration `yaml:"heartbeat_timeout" bounds:"over heartbeat_interval"`

	// AbsenceTimeout is the time after which an accepted user whose devices are
	// all offline quits an advanced call.
	AbsenceTimeout time.Duration `yaml:"absence_timeout" bounds:"over 0"`

	// MaxCallDuration is the time after which an advanced call is ended.
	MaxCallDuration time.Duration `yaml:"max_call_duration" bounds:"over 0"`

	// SessionTTL is the time after which an offline session is dropped, as if
	// it had logged out. A user who has none left cannot be rung.
	SessionTTL time.Duration `yaml:"session_ttl" bounds:"over 0"`

	// Limits are what devices and backends may send at most.
	Limits Limits `yaml:"limits"`

	// TLS is for a server that speaks TLS itself. With neither file, put a proxy
	// in front.
	TLS TLS `yaml:"tls"`

	// TrustedProxies are the networks (CIDRs) whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies" bounds:"networks such as 10.0.0.0/8"`

	// Apps are the apps that belong to this file. Others can be made at run time
	// by the admin API.
	Apps []App `yaml:"apps" bounds:"no ID twice"`

	// Callbacks is what holds for the callbacks of all apps.
	Callbacks Callbacks `yaml:"callbacks"`

	// Retention is how long ended calls are kept, with their events, deliveries
	// and attempts. What is older cannot be redelivered, nor read from the feed.
	Retention time.Duration `yaml:"retention" bounds:"over 0"`

	origin origin
}

// Limits bound what devices and backends may send.
type Limits struct {
	// RequestsPerSecond is how many requests a device may make on one connection.
	// It holds over time; see burst.
	RequestsPerSecond int `yaml:"requests_per_second" bounds:"at least 1"`

	// Burst is how many of them a device may make at once.
	Burst int `yaml:"burst" bounds:"at least 1"`

	// ServerAPI is how many requests a second an app's backend may make, for
	// each action of the server API and for the event feed. 0: any number. The
	// original product allows 20.
	ServerAPI int `yaml:"server_api" bounds:"at least 0"`
}

// TLS names the PEM files of a certificate chain and its key. Load has seen
// that they fit together.
type TLS struct {
	// Cert is the file of the certificate chain, in PEM.
	Cert string `yaml:"cert" bounds:"set with tls.key, or not at all"`

	// Key is the file of the private key, in PEM.
	Key string `yaml:"key" bounds:"set with tls.cert, or not at all"`
}

// NATSTLS names PEM files for connections to NATS servers.
type NATSTLS struct {
	// CA is the file of the authorities that are trusted, instead of those of the
	// system.
	CA string `yaml:"ca" bounds:"a file of certificates, or empty"`

	// Cert is the file of this node's certificate, in PEM.
	Cert string `yaml:"cert" bounds:"set with nats_tls.key, or not at all"`

	// Key is the file of its private key, in PEM.
	Key string `yaml:"key" bounds:"set with nats_tls.cert, or not at all"`
}

// App is a customer's app.
type App struct {
	// ID is the number by which clients and backends name the app.
	ID uint32 `yaml:"id" bounds:"1 to 4294967295" example:"1"`

	// Name is what people see.
	Name string `yaml:"name" bounds:"at most 64 bytes"`

	// Secret is what login tokens and requests of the server API are signed with,
	// and callbacks to endpoints that have no secret of their own.
	Secret string `yaml:"secret" bounds:"exactly 32 printable ASCII characters" example:"0123456789abcdef0123456789abcdef"`

	// LoginPolicy is how many devices a user may have. With single, a newer
	// login kicks the older session; dual allows one web session beside one
	// other; multi allows 10.
	LoginPolicy string `yaml:"login_policy" bounds:"single, dual or multi"`

	// JoinPolicy is who may join an advanced call. That is anyone who knows its
	// ID, or only those who were invited.
	JoinPolicy string `yaml:"join_policy" bounds:"anyone or invited"`

	// Callbacks are the endpoints of the app, which get its callbacks.
	Callbacks []Endpoint `yaml:"callbacks" bounds:"no URL twice"`
}

// Endpoint is a URL of the customer's backend that receives callbacks.
type Endpoint struct {
	// URL is where callbacks are sent. An endpoint is known by it: another URL is
	// another endpoint, and what was pending for the one before becomes failed.
	URL string `yaml:"url" bounds:"http or https, at most 2048 bytes, without user and fragment" example:"https://backend.example.com/callbacks"`

	// Secret is what callbacks are signed with. Empty: the app's secret, so that
	// whoever checks callbacks could log in as anybody; a separate one is safer.
	Secret string `yaml:"secret" bounds:"at most 256 printable ASCII characters"`

	// Format is the form of the bodies. With form they have the same fields in the
	// same order, form-encoded.
	Format string `yaml:"format" bounds:"json or form"`

	// Events are the events to send. None: the documented ones, call_create,
	// call_cancel, call_accept, call_reject, call_timeout and call_invite. Only by
	// name come user_action, call_received, call_join, call_quit and call_end.
	Events []string `yaml:"events" bounds:"names of events, each once"`

	// Timeout is how long one attempt may take.
	Timeout time.Duration `yaml:"timeout" bounds:"100ms to 60s"`

	// Retry are the pauses after failed attempts. With none there is a single
	// attempt; a longer list keeps trying for days.
	Retry []time.Duration `yaml:"retry" bounds:"at most 50, each over 0 and at most 24h"`

	// Ordering is what the next callback of a call waits for. With
	// first_attempt, that is the first attempt of the one before; with strict, until
	// that is delivered or given up.
	Ordering string `yaml:"ordering" bounds:"first_attempt or strict"`

	// WhenDown is what becomes of callbacks while the endpoint fails. With retry
	// each has its own schedule; with hold they are kept without using up
	// attempts, until the endpoint answers one of them.
	WhenDown string `yaml:"when_down" bounds:"retry or hold"`
}

// Callbacks is what holds for the callbacks of all apps.
type Callbacks struct {
	// AllowNetworks are the networks (CIDRs) beyond public addresses that
	// endpoints may lie in.
	AllowNetworks []netip.Prefix `yaml:"allow_networks" bounds:"never link-local, multicast or unspecified"`
}

// The limits of a configuration.
const (
	SecretLen         = 32  // characters of an app's secret
	ShortAdminToken   = 16  // characters of an admin token that is not warned of
	MaxName           = 64  // bytes of an app's name
	MaxEndpointSecret = 256 // characters of an endpoint's secret
	MaxURL            = 2048
	MaxRetries        = 50

	MinCallbackTimeout = 100 * time.Millisecond
	MaxCallbackTimeout = 60 * time.Second
	MaxRetryPause      = 24 * time.Hour
)

// DefaultEvents returns the events that an endpoint gets which names none.
func DefaultEvents() []string {
	return []string{"call_create", "call_cancel", "call_accept", "call_reject", "call_timeout", "call_invite"}
}

// ExtraEvents returns the events that an endpoint gets only by naming them.
func ExtraEvents() []string {
	return []string{"user_action", "call_received", "call_join", "call_quit", "call_end"}
}

// Default returns the configuration of an empty file. The caller may change
// it.
func Default() *Config {
	return &Config{
		Listen:            "127.0.0.1:8080",
		DataDir:           "./ringback-data",
		NATSPrefix:        "ringback",
		Lease:             10 * time.Second,
		HeartbeatInterval: 10 * time.Second,
		HeartbeatTimeout:  35 * time.Second,
		AbsenceTimeout:    2 * time.Minute,
		MaxCallDuration:   24 * time.Hour,
		SessionTTL:        720 * time.Hour,
		Limits:            Limits{RequestsPerSecond: 200, Burst: 400},
		Retention:         720 * time.Hour,
	}
}

// DefaultApp returns an app that sets nothing.
func DefaultApp() App {
	return App{LoginPolicy: "single", JoinPolicy: "anyone"}
}

// DefaultEndpoint returns an endpoint that sets nothing.
func DefaultEndpoint() Endpoint {
	return Endpoint{
		Format:   "json",
		Timeout:  5 * time.Second,
		Retry:    []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second},
		Ordering: "first_attempt",
		WhenDown: "retry",
	}
}
