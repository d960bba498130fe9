package store

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/call"
)

// Apps keeps apps and their endpoints. Those of the configuration file are
// brought by SyncApps, and only their names and URLs are kept; the others were
// made at run time and are kept whole.
type Apps interface {
	// SyncApps makes the apps of the configuration file those that are given.
	// Pending deliveries of endpoints that are no longer there become failed,
	// the first FailAtOnce of them with it, and others by FailRemoved.
	// It gives the ID of every endpoint, in the order of apps and URLs; an
	// endpoint that comes back has its old one. An ID that an app made at run
	// time has gives an *AppTakenError, and nothing changes.
	SyncApps(ctx context.Context, apps []App, now call.Instant) ([][]EndpointID, error)
	// ManagedApps lists the apps that were made at run time, by ID.
	ManagedApps(ctx context.Context) ([]ManagedApp, error)
	// CommitApp writes an app that was made at run time, as a whole.
	// Endpoints are set, in place, to what is stored then, with their IDs, of
	// which those that came back have their old ones; those of the app that
	// are not given are removed, as by SyncApps. The version becomes Prior+1,
	// in place. Errors, after which nothing has changed: ErrConflict when the
	// stored version is not Prior, *AppTakenError, others when an endpoint is
	// given with an ID that is not its own.
	CommitApp(ctx context.Context, c *AppCommit) error
	// ListEndpoints lists all endpoints there ever were, by ID.
	ListEndpoints(ctx context.Context) ([]EndpointRecord, error)
	// PauseEndpoint sets whether an endpoint is paused; ErrNotFound when there
	// is none, or it was removed. The audit entry, if any, goes into the same
	// transaction.
	PauseEndpoint(ctx context.Context, id EndpointID, paused bool, audit *Audit) error
	// AddAudit writes what somebody did, and sets its ID.
	AddAudit(ctx context.Context, audit *Audit) error
	// AuditLog lists entries, the newest first, beginning before the given ID
	// (0: the newest), at most limit.
	AuditLog(ctx context.Context, before int64, limit int) ([]Audit, error)
}

// FailAtOnce is how many pending deliveries of removed endpoints become failed
// with the removal. With all of them it could take minutes, in which no call
// is written.
const FailAtOnce = 5000

// EndpointID is the number under which the store knows an endpoint, that is a
// pair of app and URL. It is never used again for another.
type EndpointID int64

// App is an app of the configuration file, as far as the store keeps it; its
// secret stays where it was configured.
type App struct {
	ID        uint32
	Name      string
	Endpoints []string // URLs
}

// ManagedApp is an app that was made at run time.
type ManagedApp struct {
	ID        uint32
	Name      string
	Version   int64  // 1 at first, one more with each commit
	Settings  []byte // secrets and policies; their form is the business of whoever manages apps
	CreatedAt call.Instant
	Endpoints []EndpointRecord // those that were not removed, by ID
}

// EndpointRecord is an endpoint as it is stored.
type EndpointRecord struct {
	ID       EndpointID
	App      uint32
	URL      string
	Removed  bool
	Paused   bool
	Settings []byte // nil for endpoints of the configuration file
}

// AppCommit is what [Apps.CommitApp] writes. Whether an endpoint is paused is
// left alone for those that exist, and taken as given for those that are new
// or come back. (Endpoints of the configuration file come back unpaused.)
type AppCommit struct {
	ManagedApp
	Prior int64 // the version that the stored app must have; 0: there must be none
	Audit *Audit
}

// AppTakenError says that an ID belongs to an app of the other kind.
type AppTakenError struct {
	ID   uint32
	File bool // it is one of the configuration file
}

// Error says whose the ID is.
func (e *AppTakenError) Error() string {
	if e.File {
		return fmt.Sprintf("store: app %d belongs to the configuration file", e.ID)
	}
	return fmt.Sprintf("store: app %d was made at run time", e.ID)
}

// Audit is something that an operator did.
type Audit struct {
	ID      int64 // grows with time
	At      call.Instant
	Actor   string // who, such as "admin"
	Remote  string // from which address
	Action  string // such as "app.create"
	Target  string // such as "app 3"
	Details []byte // JSON object, without secrets
}
