// Package config reads and checks the configuration of a server.
//
// A configuration is a YAML file, of which every setting can be overridden by
// an environment variable: RINGBACK_ and the path of its key in upper case,
// such as RINGBACK_DATA_DIR, RINGBACK_LIMITS_BURST or RINGBACK_APPS_0_SECRET.
// Lists of plain values are separated by commas there. [Load] finds all
// mistakes at once and says where each is and how to mend it.
package config

import (
	"net/netip"
	"time"
)

// Config is a whole configuration. Get one from [Default] or [Load]; the zero
// value is not useful. The limits named below are checked by Load.
type Config struct {
	// Listen is the TCP address, host:port, for clients, server API and
	// metrics. An empty host means all addresses, port 0 any free port.
	Listen string `yaml:"listen"`

	// DataDir is the directory of the embedded store. It need not exist.
	DataDir string `yaml:"data_dir"`

	// Store and NATS are reserved for an external store and for nodes that
	// share it. Load refuses them: this build has the embedded store only.
	Store string `yaml:"store"`
	NATS  string `yaml:"nats"`

	// AdminToken is what the admin API asks for, as a bearer token: printable
	// ASCII characters without spaces. Empty: that API is off.
	AdminToken string `yaml:"admin_token"`

	// HeartbeatInterval is how often a client gives a sign of life, at least
	// a second. After HeartbeatTimeout without one, which is longer, its
	// session is offline.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
	HeartbeatTimeout  time.Duration `yaml:"heartbeat_timeout"`

	// AbsenceTimeout is the time after which an accepted user who is gone
	// quits an advanced call. Positive.
	AbsenceTimeout time.Duration `yaml:"absence_timeout"`

	// MaxCallDuration ends every call that reaches it. Positive.
	MaxCallDuration time.Duration `yaml:"max_call_duration"`

	// SessionTTL is the time after which an offline session is dropped.
	// Positive.
	SessionTTL time.Duration `yaml:"session_ttl"`

	// Limits are those of one client connection, and of the server API.
	Limits Limits `yaml:"limits"`

	// TLS makes the server speak TLS itself.
	TLS TLS `yaml:"tls"`

	// TrustedProxies are the networks whose word on a client's address is
	// believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`

	// Apps are the apps that belong to this file. Their IDs differ.
	Apps []App `yaml:"apps"`

	// Callbacks is what holds for the callbacks of all apps.
	Callbacks Callbacks `yaml:"callbacks"`

	// Retention is how long ended calls and their deliveries are kept.
	// Positive.
	Retention time.Duration `yaml:"retention"`

	origin origin
}

// Limits bound what clients and backends may send.
type Limits struct {
	RequestsPerSecond int `yaml:"requests_per_second"` // of one client connection, sustained, at least 1
	Burst             int `yaml:"burst"`               // of one client connection, at once, at least 1

	// ServerAPI is how many requests a second the backend of an app may make
	// for each action of the server API; 0: any number. The original product
	// allows 20.
	ServerAPI int `yaml:"server_api"`
}

// TLS names the PEM files of a certificate chain and its key. Both or none are
// set; Load has seen that they fit together.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// App is a customer's app.
type App struct {
	// ID is not 0.
	ID uint32 `yaml:"id"`

	// Name is for people, at most [MaxName] bytes, and may be empty.
	Name string `yaml:"name"`

	// Secret has exactly [SecretLen] printable ASCII characters. It makes
	// login tokens and signs the server API.
	Secret string `yaml:"secret"`

	// LoginPolicy is "single", "dual" or "multi".
	LoginPolicy string `yaml:"login_policy"`

	// JoinPolicy is "anyone" or "invited".
	JoinPolicy string `yaml:"join_policy"`

	// Callbacks are the endpoints of the app. Their URLs differ.
	Callbacks []Endpoint `yaml:"callbacks"`
}

// Endpoint is a URL of the customer's backend that receives callbacks.
type Endpoint struct {
	// URL is absolute, http or https, without user or fragment.
	URL string `yaml:"url"`

	// Secret signs the callbacks, at most [MaxEndpointSecret] printable ASCII
	// characters. If it is empty, the app's secret does.
	Secret string `yaml:"secret"`

	// Format is "json" or "form".
	Format string `yaml:"format"`

	// Events are the events to send, each once. None means the documented
	// events of calls: see [DefaultEvents].
	Events []string `yaml:"events"`

	// Timeout is for one attempt, from 100 ms to 60 s.
	Timeout time.Duration `yaml:"timeout"`

	// Retry are the pauses after failed attempts, each over 0 and at most
	// 24 h, and at most [MaxRetries]. With none there is a single attempt.
	Retry []time.Duration `yaml:"retry"`

	// Ordering is "first_attempt" or "strict".
	Ordering string `yaml:"ordering"`

	// WhenDown is "retry" or "hold".
	WhenDown string `yaml:"when_down"`
}

// Callbacks is what holds for the callbacks of all apps.
type Callbacks struct {
	// AllowNetworks are the networks, beyond public addresses, that endpoints
	// may lie in. None lies wholly in link-local, multicast or unspecified
	// addresses, which are never called.
	AllowNetworks []netip.Prefix `yaml:"allow_networks"`
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
