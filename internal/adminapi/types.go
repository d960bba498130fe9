package adminapi

import "encoding/json"

// The bodies of the admin API. Times are Unix milliseconds, 0 for never;
// durations are written as in the configuration, such as "5s"; call IDs are
// decimal digits.

// App is an app.
type App struct {
	ID          uint32 `json:"id" example:"1000"`
	Name        string `json:"name"`
	Origin      string `json:"origin" enum:"file,admin" doc:"file: it belongs to the configuration file and is read-only here; admin: it was made here"`
	LoginPolicy string `json:"login_policy" enum:"single,dual,multi"`
	JoinPolicy  string `json:"join_policy" enum:"anyone,invited"`
	CreatedAtMS int64  `json:"created_at_ms" doc:"0 for apps of the configuration file"`

	SecretOverlapUntilMS         int64      `json:"secret_overlap_until_ms" doc:"Until then the app secret before the current one counts too; 0: it does not"`
	CallbackSecretOverlapUntilMS int64      `json:"callback_secret_overlap_until_ms"`
	Endpoints                    []Endpoint `json:"endpoints"`
}

// NewApp is an app that is to be made.
type NewApp struct {
	ID          uint32 `json:"id,omitempty" doc:"Default: the lowest free one from 1000 on"`
	Name        string `json:"name,omitempty" maxLength:"64"`
	LoginPolicy string `json:"login_policy,omitempty" enum:"single,dual,multi" doc:"Default: single"`
	JoinPolicy  string `json:"join_policy,omitempty" enum:"anyone,invited" doc:"Default: anyone"`
}

// AppSecrets is a new app with its secrets, which are shown this once.
type AppSecrets struct {
	App
	Secret         string `json:"secret" doc:"Makes login tokens and signs the server API. It is not shown again"`
	CallbackSecret string `json:"callback_secret" doc:"Signs callbacks. It is not shown again"`
}

// AppChange is what may change about an app; what is left out stays.
type AppChange struct {
	Name        *string `json:"name,omitempty" maxLength:"64"`
	LoginPolicy *string `json:"login_policy,omitempty" enum:"single,dual,multi"`
	JoinPolicy  *string `json:"join_policy,omitempty" enum:"anyone,invited"`
}

// Rotation asks for a new secret.
type Rotation struct {
	Secret  string `json:"secret" enum:"app,callback" doc:"Which one to replace"`
	Overlap string `json:"overlap,omitempty" default:"24h" example:"24h" doc:"For how long the one before counts too: 0s to 720h"`
}

// Rotated is a new secret, which is shown this once.
type Rotated struct {
	Secret         string `json:"secret" doc:"It is not shown again"`
	OverlapUntilMS int64  `json:"overlap_until_ms" doc:"Until then the one before counts too; 0: it does not"`
}

// EndpointSettings are what may be said of an endpoint, beside its URL.
type EndpointSettings struct {
	Format   *string   `json:"format,omitempty" enum:"json,form"`
	Events   *[]string `json:"events,omitempty" doc:"None: the documented call_* events"`
	Timeout  *string   `json:"timeout,omitempty" example:"5s" doc:"For one attempt, 100ms to 60s"`
	Retry    *[]string `json:"retry,omitempty" example:"[\"2s\",\"4s\",\"8s\",\"16s\",\"32s\"]" doc:"Pauses after failed attempts, up to 50, each at most 24h"`
	Ordering *string   `json:"ordering,omitempty" enum:"first_attempt,strict"`
	WhenDown *string   `json:"when_down,omitempty" enum:"retry,hold"`
}

// NewEndpoint is an endpoint that is to be made.
type NewEndpoint struct {
	URL string `json:"url" maxLength:"2048" example:"https://backend.example.com/callbacks"`
	EndpointSettings
}

// Endpoint is where callbacks of an app go.
type Endpoint struct {
	ID       int64    `json:"id"`
	AppID    uint32   `json:"app_id"`
	Origin   string   `json:"origin" enum:"file,admin"`
	URL      string   `json:"url"`
	Format   string   `json:"format"`
	Events   []string `json:"events" doc:"That it gets"`
	Timeout  string   `json:"timeout"`
	Retry    []string `json:"retry"`
	Ordering string   `json:"ordering"`
	WhenDown string   `json:"when_down"`
	Paused   bool     `json:"paused"`
	Health   Health   `json:"health"`
}

// Health is how an endpoint does, as far as this server has seen since it
// started.
type Health struct {
	State               string `json:"state" enum:"ok,failing,down,paused,unused" doc:"failing: the latest attempt failed; down: its callbacks are held until it answers again; unused: nothing was sent yet"`
	Backlog             int    `json:"backlog" doc:"Deliveries that are pending"`
	OldestPendingMS     int64  `json:"oldest_pending_ms" doc:"When the oldest of them happened"`
	InFlight            int    `json:"in_flight"`
	LastSuccessMS       int64  `json:"last_success_ms"`
	LastFailureMS       int64  `json:"last_failure_ms"`
	ConsecutiveFailures int    `json:"consecutive_failures"`
	LastError           string `json:"last_error"`
}

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	ID            string `json:"id" example:"dlv_93364000000000_3"`
	EventID       string `json:"event_id" doc:"What receivers get as webhook-id"`
	Event         string `json:"event" example:"call_accept"`
	AppID         uint32 `json:"app_id"`
	CallID        string `json:"call_id" doc:"Empty for events that are not about a call"`
	EndpointID    int64  `json:"endpoint_id"`
	URL           string `json:"url" doc:"Of the endpoint"`
	Sequence      int    `json:"sequence" doc:"Per call and endpoint; 0 for events that are not about a call"`
	Status        string `json:"status" enum:"pending,delivered,failed"`
	Attempts      int    `json:"attempts"`
	EventAtMS     int64  `json:"event_at_ms"`
	NextAttemptMS int64  `json:"next_attempt_ms" doc:"While it is pending"`
	Test          bool   `json:"test" doc:"The event is synthetic"`

	LatestAttempt *AttemptSummary `json:"latest_attempt,omitempty"`
}

// AttemptSummary is what came of an attempt.
type AttemptSummary struct {
	Number     int    `json:"number"`
	StartedMS  int64  `json:"started_ms"`
	DurationMS int64  `json:"duration_ms"`
	Status     int    `json:"status" doc:"HTTP status; 0: there was no answer"`
	Error      string `json:"error" doc:"Why it failed; empty when it succeeded"`
}

// Attempt is one request that was made for a delivery.
type Attempt struct {
	AttemptSummary
	Request  *Request  `json:"request,omitempty" doc:"As it was sent, or would have been; absent where nothing was sent"`
	Response *Response `json:"response,omitempty" doc:"Absent where there was no answer"`
}

// Request is a request as it was sent.
type Request struct {
	Method  string   `json:"method"`
	URL     string   `json:"url"`
	Headers []Header `json:"headers"`
	Body    string   `json:"body"`
}

// Response is the beginning of an answer.
type Response struct {
	Status  int      `json:"status"`
	Headers []Header `json:"headers" doc:"Up to 1 KiB of them"`
	Body    string   `json:"body" doc:"Up to 1 KiB of it"`
}

// Header is one header of a request or response.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// DeliveryDetail is a delivery with all that is known of it.
type DeliveryDetail struct {
	Delivery
	Data       json.RawMessage `json:"data" doc:"The event's own fields"`
	AttemptLog []Attempt       `json:"attempt_log"`
}

// Redelivery is a job that redelivers everything that a search finds.
type Redelivery struct {
	ID          int64          `json:"id"`
	State       string         `json:"state" enum:"running,done,stopped"`
	Filter      DeliveryFilter `json:"filter"`
	PerSecond   int            `json:"per_second"`
	Total       int            `json:"total" doc:"What the search found at the beginning; -1 while it is being counted"`
	Done        int            `json:"done" doc:"Made pending again"`
	Skipped     int            `json:"skipped" doc:"Passed over, for they were pending or their endpoint is gone"`
	CreatedAtMS int64          `json:"created_at_ms"`
	EndedAtMS   int64          `json:"ended_at_ms"`
}

// DeliveryFilter says which deliveries are meant; what is left out means any.
type DeliveryFilter struct {
	AppID      uint32 `json:"app,omitempty"`
	CallID     string `json:"call,omitempty"`
	EndpointID int64  `json:"endpoint,omitempty"`
	Event      string `json:"event,omitempty"`
	Status     string `json:"status,omitempty" enum:"pending,delivered,failed"`
	From       string `json:"from,omitempty" doc:"Not before: Unix milliseconds, RFC 3339, or a duration before now, such as 2h"`
	Until      string `json:"until,omitempty" doc:"Before: as from"`
}

// NewRedelivery asks for a bulk redelivery.
type NewRedelivery struct {
	Filter    DeliveryFilter `json:"filter"`
	PerSecond int            `json:"per_second,omitempty" minimum:"0" maximum:"2000" doc:"Deliveries a second at most; default 500"`
}

// Call is a call in a list.
type Call struct {
	CallID      string     `json:"call_id"`
	AppID       uint32     `json:"app_id"`
	Mode        string     `json:"mode" enum:"general,advanced"`
	State       string     `json:"state" enum:"live,ended"`
	Outcome     string     `json:"outcome" doc:"What it came to; empty while it lives" enum:",accepted,caller_cancel,caller_left,ended,max_duration,timeout,rejected"`
	Caller      string     `json:"caller"`
	Users       []CallUser `json:"users" doc:"The caller first"`
	CreatedAtMS int64      `json:"created_at_ms"`
	EndedAtMS   int64      `json:"ended_at_ms"`
	AcceptedMS  int64      `json:"accepted_at_ms" doc:"When somebody beside the caller first accepted"`
	TimeoutS    int        `json:"timeout_s"`
	Version     int64      `json:"version"`
}

// CallUser is a user of a call.
type CallUser struct {
	UserID       string `json:"user_id"`
	State        string `json:"state" example:"accepted"`
	Inviter      string `json:"inviter"`
	ExtendedData string `json:"extended_data"`
	SessionID    string `json:"session_id" doc:"Of the primary device"`
}

// CallDetail is a call and its story.
type CallDetail struct {
	Call
	ExtendedData string          `json:"extended_data"`
	Verdicts     []Verdict       `json:"verdicts" doc:"For everybody who was to be rung: did it ring, and if not, why"`
	Timeline     []TimelineEntry `json:"timeline"`
	Deliveries   []Delivery      `json:"deliveries"`
}

// Verdict answers for one user whether it rang.
type Verdict struct {
	UserID string `json:"user_id"`
	Rang   string `json:"rang" enum:"yes,maybe,no,unknown"`
	Text   string `json:"text"`
}

// TimelineEntry is one line of the story of a call.
type TimelineEntry struct {
	AtMS       int64  `json:"at_ms"`
	Lane       string `json:"lane" enum:"transition,device,callback"`
	Name       string `json:"name" doc:"A callback event, or: sent, absent, caught_up, confirmed, unconfirmed, refused, left_out, ended"`
	Text       string `json:"text"`
	Bad        bool   `json:"bad" doc:"Something went wrong"`
	Version    int64  `json:"version,omitempty"`
	UserID     string `json:"user_id,omitempty"`
	SessionID  string `json:"session_id,omitempty"`
	EventID    string `json:"event_id,omitempty"`
	DeliveryID string `json:"delivery_id,omitempty"`
	Attempt    int    `json:"attempt,omitempty"`
}

// User is a user of an app.
type User struct {
	UserID   string `json:"user_id"`
	Name     string `json:"name"`
	Avatar   string `json:"avatar"`
	Presence string `json:"presence" enum:"online,offline,registered,logged_out"`
	Sessions int    `json:"sessions"`
}

// UserDetail is a user and his sessions.
type UserDetail struct {
	User
	SessionList []Session `json:"session_list" doc:"The earliest login first"`
}

// Session is one logged-in device.
type Session struct {
	SessionID   string `json:"session_id"`
	Platform    string `json:"platform"`
	LoginAtMS   int64  `json:"login_at_ms"`
	OfflineAtMS int64  `json:"offline_at_ms" doc:"0: it is connected, or lately was"`
	Connected   bool   `json:"connected"`
}

// NewToken asks for a login token.
type NewToken struct {
	UserID string `json:"user_id" example:"alice"`
}

// Token is a login token.
type Token struct {
	Token       string `json:"token"`
	ExpiresAtMS int64  `json:"expires_at_ms"`
}

// Trigger asks for a synthetic event.
type Trigger struct {
	Event  string                     `json:"event,omitempty" doc:"Default: call_create" example:"call_accept"`
	Fields map[string]json.RawMessage `json:"fields,omitempty" doc:"Instead of the made-up values"`
}

// Triggered is a synthetic event that is on its way.
type Triggered struct {
	EventID    string     `json:"event_id"`
	Event      string     `json:"event"`
	Deliveries []Delivery `json:"deliveries"`
}

// Event is something that happened.
type Event struct {
	ID        string          `json:"id"`
	Event     string          `json:"event"`
	AppID     uint32          `json:"app_id"`
	CallID    string          `json:"call_id"`
	AtMS      int64           `json:"at_ms"`
	Version   int64           `json:"version" doc:"Of the call after it"`
	UserID    string          `json:"user_id" doc:"Who did it; empty for what happened by itself"`
	SessionID string          `json:"session_id" doc:"On which device"`
	Test      bool            `json:"test"`
	Data      json.RawMessage `json:"data"`
}

// Callback is a signed callback as `ringback listen` gets it: the data of the
// server-sent event "callback".
type Callback struct {
	Event   string   `json:"event"`
	EventID string   `json:"event_id"`
	AppID   uint32   `json:"app_id"`
	CallID  string   `json:"call_id"`
	AtMS    int64    `json:"at_ms"`
	Test    bool     `json:"test"`
	Headers []Header `json:"headers"`
	Body    string   `json:"body"`
}

// Audit is something that an operator did.
type Audit struct {
	ID      int64           `json:"id"`
	AtMS    int64           `json:"at_ms"`
	Actor   string          `json:"actor"`
	Remote  string          `json:"remote" doc:"From which address"`
	Action  string          `json:"action" example:"endpoint.pause"`
	Target  string          `json:"target" example:"endpoint 3"`
	Details json.RawMessage `json:"details"`
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next" doc:"Cursor of the next page; empty at the end. A page may be short, even empty, before the end: a search looks at a bounded number of rows"`
}
