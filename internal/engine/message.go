package engine

import (
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/wire"
)

// askLimit is the time that another node has to answer.
const askLimit = time.Second

// newsLimit is how old news may be. What was stuck in a network that lost
// everything for a while says what was true before, and may ring devices whose
// call is over: the store knows better.
const newsLimit = time.Second

// message is what engines of different nodes tell each other; one of its
// fields is set. Nodes of neighbouring versions read each other's: what one
// does not know it passes over, and looks into the store.
type message struct {
	At        call.Instant // when it was sent, by the store's clock
	News      *news
	HandOff   []*store.Event // of no call
	Session   *sessionNews
	Gone      *gone
	Connected *question
}

func (m *message) values(f *wire.Form) {
	wire.Int(f, &m.At)
	wire.Object(f, &m.News, (*news).values)
	wire.Objects(f, &m.HandOff, callbackValues)
	wire.Object(f, &m.Session, (*sessionNews).values)
	wire.Object(f, &m.Gone, (*gone).values)
	wire.Object(f, &m.Connected, (*question).values)
}

// news is what one commit has written of a call: events, of which the call is
// the fold. Whoever has the call as it was before knows how it is now; anybody
// else reads it. Without a commit of its own it is a soft transition.
type news struct {
	Call    call.ID
	Version int64        // after it
	Commit  uint64       // that wrote it; of a soft transition, that before it
	Prior   uint64       // the commit before; 0: the call is new, or look for yourself
	Events  []call.Event // nil for one that only a later version knows
	Soft    bool
	// Sequences of the call's deliveries; see store.CallRecord.
	Sequences map[store.EndpointID]int
	// Nodes have devices of the call's users, the sender first.
	Nodes   []store.NodeID
	Deliver []*store.Event // for the node that delivers them
	Passed  bool           // by a node that had held the partition
}

func (n *news) values(f *wire.Form) {
	wire.Uint(f, &n.Call)
	wire.Int(f, &n.Version)
	wire.Uint(f, &n.Commit)
	wire.Uint(f, &n.Prior)
	wire.Objects(f, &n.Events, eventValues)
	wire.Flag(f, &n.Soft)
	wire.Counts(f, &n.Sequences)
	wire.List(f, &n.Nodes, wire.Int)
	wire.Objects(f, &n.Deliver, callbackValues)
	wire.Flag(f, &n.Passed)
}

// sessionNews says that a session is no longer that of the receiving node.
type sessionNews struct {
	App     uint32
	User    call.UserID
	ID      call.SessionID
	Version int64  // of the user's sessions since then
	Kick    string // why it was pushed out; "": it goes on elsewhere
}

func (n *sessionNews) values(f *wire.Form) {
	wire.Uint(f, &n.App)
	wire.Text(f, &n.User)
	wire.Text(f, &n.ID)
	wire.Int(f, &n.Version)
	wire.Text(f, &n.Kick)
}

// gone says that a user has no session left that is not offline.
type gone struct {
	App  uint32
	User call.UserID
}

func (g *gone) values(f *wire.Form) {
	wire.Uint(f, &g.App)
	wire.Text(f, &g.User)
}

// question asks which of these sessions, of these users, have a connection.
type question struct {
	App      uint32
	Users    []call.UserID
	Sessions []call.SessionID
}

func (q *question) values(f *wire.Form) {
	wire.Uint(f, &q.App)
	wire.List(f, &q.Users, wire.Text)
	wire.List(f, &q.Sessions, wire.Text)
}

// answer answers a question.
type answer struct{ Sessions []call.SessionID }

func (a *answer) values(f *wire.Form) { wire.List(f, &a.Sessions, wire.Text) }

// letterOf gives a message as it is sent.
func (e *Engine) letterOf(m message) []byte {
	m.At = e.now()
	return wire.Encode(&m, (*message).values)
}
