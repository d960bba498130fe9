package call_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

func TestCreate(t *testing.T) {
	create := call.Create{
		Actor: on("alice-1"), ID: anID, App: 7, Invitees: ids("bob carol bob"), Uninvitable: ids("dave"), Timeout: 30,
		Mode: call.Advanced, ExtendedData: "hello", NotReceivedCheck: true, Push: []byte(`{"title":"call"}`), MaxDuration: maxDuration,
	}
	s := &story{t: t, now: start}
	s.do(create)
	rung := call.User{State: call.Inviting, Inviter: "alice", InvitedAt: start, Deadline: start + 30_000, CheckAt: start + 5000}
	bob, carol := rung, rung
	bob.ID, carol.ID = "bob", "carol"
	want := &call.Call{
		ID: anID, App: 7, Version: 1, Mode: call.Advanced, State: call.Started,
		Caller: "alice", ExtendedData: "hello", Timeout: 30, NotReceivedCheck: true, Push: []byte(`{"title":"call"}`),
		CreatedAt: start, EndBy: start + maxDuration,
		Users: []call.User{
			{ID: "alice", State: call.Accepted, Inviter: "alice", Primary: "alice-1", AcceptedAt: start},
			bob, carol,
		},
	}
	if !reflect.DeepEqual(s.c, want) {
		t.Errorf("got  %+v\nwant %+v", s.c, want)
	}
	s.leftOut()
	if e := event[call.CallCreated](s); len(e.Invitees) != 2 {
		t.Errorf("the event names %v", e.Invitees)
	}
}

func TestCreateGeneralHasNoMaximumDuration(t *testing.T) {
	s := begin(t, call.General, "bob")
	if s.c.EndBy != 0 || s.c.User("bob").CheckAt != 0 {
		t.Errorf("to end by %d, to check bob at %d, want neither", s.c.EndBy, s.c.User("bob").CheckAt)
	}
}

func TestCreateLeavesOutTheUninvitable(t *testing.T) {
	create := invites(call.General, "bob carol dave")
	create.Uninvitable = ids("dave bob")
	s := &story{t: t, now: start}
	s.do(create).leftOut(
		call.UserError{User: "bob", Code: call.NotRegistered},
		call.UserError{User: "dave", Code: call.NotRegistered},
	)
	if len(s.c.Users) != 2 || s.c.User("bob") != nil || s.c.User("dave") != nil {
		t.Errorf("users are %+v, want alice and carol", s.c.Users)
	}
	create.Uninvitable = ids("bob carol dave")
	s.refused(create, call.NotRegistered)
}

// names gives n user IDs.
func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "u%d ", i)
	}
	return b.String()
}

func TestCreateRefused(t *testing.T) {
	long := strings.Repeat("x", call.MaxExtendedData+1)
	tests := map[string]struct {
		change func(*call.Create)
		want   call.Code
	}{
		"nobody":                {func(c *call.Create) { c.Invitees = nil }, call.InvalidParameter},
		"himself":               {func(c *call.Create) { c.Invitees = ids("bob alice") }, call.InvalidParameter},
		"an empty ID":           {func(c *call.Create) { c.Invitees = []call.UserID{""} }, call.InvalidParameter},
		"a bad ID":              {func(c *call.Create) { c.Invitees = ids("bob b/c") }, call.InvalidParameter},
		"nine":                  {func(c *call.Create) { c.Invitees = ids(names(9)) }, 0},
		"nine and repetitions":  {func(c *call.Create) { c.Invitees = ids(names(9) + names(9)) }, 0},
		"ten":                   {func(c *call.Create) { c.Invitees = ids(names(10)) }, call.TooManyUsers},
		"ten, one uninvitable":  {func(c *call.Create) { c.Invitees, c.Uninvitable = ids(names(10)), ids("u3") }, call.TooManyUsers},
		"ten and himself":       {func(c *call.Create) { c.Invitees = ids(names(10) + "alice") }, call.InvalidParameter},
		"ten and a bad timeout": {func(c *call.Create) { c.Invitees, c.Timeout = ids(names(10)), 0 }, call.InvalidParameter},
		"no timeout":            {func(c *call.Create) { c.Timeout = 0 }, call.InvalidParameter},
		"a negative timeout":    {func(c *call.Create) { c.Timeout = -1 }, call.InvalidParameter},
		"the longest timeout":   {func(c *call.Create) { c.Timeout = 600 }, 0},
		"too long a timeout":    {func(c *call.Create) { c.Timeout = 601 }, call.InvalidParameter},
		"an unknown mode":       {func(c *call.Create) { c.Mode = 2 }, call.InvalidParameter},
		"a negative mode":       {func(c *call.Create) { c.Mode = -1 }, call.InvalidParameter},
		"the most data":         {func(c *call.Create) { c.ExtendedData = long[1:] }, 0},
		"too much data":         {func(c *call.Create) { c.ExtendedData = long }, call.InvalidParameter},
		"malformed, uninvitable": {
			func(c *call.Create) { c.Uninvitable, c.ExtendedData = ids("bob"), long }, call.InvalidParameter,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			create := invites(call.Advanced, "bob")
			tt.change(&create)
			if got := refusal(t, nil, create, start); got != tt.want {
				t.Errorf("code %d, want %d", got, tt.want)
			}
		})
	}
}

// TestRefusalsOfAnyCall looks at the first two refusals in their order: what is
// malformed is so whatever the call, and what is not needs a call.
func TestRefusalsOfAnyCall(t *testing.T) {
	long := strings.Repeat("x", call.MaxExtendedData+1)
	alice := on("alice-1")
	malformed := []call.Command{
		call.Accept{Actor: alice, ExtendedData: long},
		call.Reject{Actor: alice, ExtendedData: long},
		call.Cancel{Actor: alice, ExtendedData: long},
		call.Cancel{Actor: alice, Names: []call.UserID{"bob", ""}},
		call.Cancel{Actor: alice, Names: ids(names(call.MaxCancelNames + 1))},
		call.Join{Actor: alice, ExtendedData: long},
		call.Leave{Actor: alice, ExtendedData: long},
		call.End{Actor: alice, ExtendedData: long},
		call.Invite{Actor: alice},
		call.Invite{Actor: alice, Invitees: ids("bob alice")},
		call.Invite{Actor: alice, Invitees: ids("b/c")},
	}
	fine := []call.Command{
		receives("alice-1"), accepts("alice-1"), rejects("alice-1"), cancels("alice-1", ""), cancels("alice-1", "bob"),
		cancels("alice-1", names(call.MaxCancelNames)+names(1)), adds("alice-1", "bob"), joins("alice-1"), quits("alice-1"),
		ends("alice-1"),
		call.Expire{},
		call.CallerGone{},
		absent("alice"),
		call.Accept{Actor: alice, ExtendedData: long[1:]},
	}
	calls := map[string]*call.Call{
		"none":           nil,
		"general":        begin(t, call.General, "bob").c,
		"advanced":       begin(t, call.Advanced, "bob").c,
		"general, ended": begin(t, call.General, "bob").do(rejects("bob-1")).c,
	}
	for name, c := range calls {
		for _, cmd := range malformed {
			if got := refusal(t, c, cmd, start); got != call.InvalidParameter {
				t.Errorf("call: %s; %T %.99v: code %d, want %d", name, cmd, cmd, got, call.InvalidParameter)
			}
		}
	}
	for _, cmd := range fine {
		if got := refusal(t, nil, cmd, start); got != call.NoSuchCall {
			t.Errorf("%T %.99v: code %d, want %d", cmd, cmd, got, call.NoSuchCall)
		}
	}
}

func TestUnknownKindsPanic(t *testing.T) {
	c := begin(t, call.General, "bob").c
	panics := func(name string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("an unknown %s went through", name)
			}
		}()
		f()
	}
	panics("command", func() { _, _ = call.Apply(c, struct{ call.CallerGone }{}, start) })
	panics("event", func() { call.Evolve(c, struct{ call.UserQuit }{}) })
}
