package history

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/protocol"
)

func limits() Limits { return Limits{Events: CallEvents()} }

func TestCorrectHistories(t *testing.T) {
	for seed := range uint64(60) {
		if found := Check(random(seed), limits()); len(found) > 0 {
			t.Fatalf("seed %d: %d violations, the first: %s", seed, len(found), found[0])
		}
	}
}

// The rules do not hold a history against the server of which parts are not
// known: only what was seen counts.
func TestCutHistories(t *testing.T) {
	for seed := range uint64(20) {
		for _, cut := range []Kind{Fault, Opened} {
			records := slices.DeleteFunc(random(seed), func(r Record) bool { return r.Kind == cut && r.Via == Wire })
			if found := Check(records, limits()); len(found) > 0 {
				t.Fatalf("seed %d without %s: %s", seed, cut, found[0])
			}
		}
	}
}

// records of one call that u1 accepts on the wire after 300 ms, one that rings
// out, and an advanced one that its caller ends.
func short() []Record {
	w := newWorld(3)
	c := w.invite(w.device("u0-wire"), 0, 4, "u1")
	w.pass(300 * time.Millisecond)
	w.answer(w.device("u1-wire"), c, true)
	w.pass(300 * time.Millisecond)
	w.expire(w.invite(w.device("u0-wire"), 0, 4, "u1", "u2"))
	w.pass(300 * time.Millisecond)
	c = w.invite(w.device("u0-client"), 1, 8, "u1", "u2")
	w.answer(w.device("u2-wire"), c, true)
	w.pass(300 * time.Millisecond)
	w.endBy(w.device("u0-client"), c)
	return w.finish()
}

// edit changes the records, and fails the test when it did not.
type edit func(t *testing.T, records []Record) []Record

// is matches records of a kind and name; a device "" is any.
func is(kind Kind, device, name string) func(Record) bool {
	return func(r Record) bool {
		return r.Kind == kind && (device == "" || r.Device == device) && (name == "" || r.Name == name || storedAs(r, name))
	}
}

// storedAs reports whether a record is of the store's event of that name, or
// its callback.
func storedAs(r Record, name string) bool {
	var e struct {
		Event string `json:"event"`
	}
	json.Unmarshal(r.Body, &e)
	return e.Event == name
}

func find(t *testing.T, records []Record, match func(Record) bool) int {
	t.Helper()
	i := slices.IndexFunc(records, match)
	if i < 0 {
		t.Fatal("the history has no such record")
	}
	return i
}

func drop(match func(Record) bool) edit {
	return func(t *testing.T, records []Record) []Record {
		i := find(t, records, match)
		return slices.Delete(records, i, i+1)
	}
}

// all drops every record that matches.
func all(match func(Record) bool) edit {
	return func(t *testing.T, records []Record) []Record {
		find(t, records, match)
		return slices.DeleteFunc(records, match)
	}
}

func change(match func(Record) bool, f func(*Record)) edit {
	return func(t *testing.T, records []Record) []Record {
		i := find(t, records, match)
		before := records[i]
		f(&records[i])
		if reflect.DeepEqual(before, records[i]) {
			t.Fatal("nothing was changed")
		}
		// Stored records stay where they are, the others go to their time.
		n := slices.IndexFunc(records, func(r Record) bool { return r.Kind == FinalCall })
		slices.SortStableFunc(records[:n], func(a, b Record) int { return int(a.At - b.At) })
		return records
	}
}

// again adds a copy of a record, changed, directly behind it.
func again(match func(Record) bool, f func(*Record)) edit {
	return func(t *testing.T, records []Record) []Record {
		i := find(t, records, match)
		r := records[i]
		r.Body = bytes.Clone(r.Body)
		f(&r)
		return slices.Insert(records, i+1, r)
	}
}

// set replaces fields of the body.
func set(fields ...any) func(*Record) {
	return func(r *Record) {
		var m map[string]any
		if err := json.Unmarshal(r.Body, &m); err != nil {
			panic(err)
		}
		for i := 0; i < len(fields); i += 2 {
			m[fields[i].(string)] = fields[i+1]
		}
		r.Body = body(m)
	}
}

func later(d time.Duration) func(*Record) { return func(r *Record) { r.At += d; r.Done += d } }

func (e edit) and(next edit) edit {
	return func(t *testing.T, records []Record) []Record { return next(t, e(t, records)) }
}

func TestFaultsAreFound(t *testing.T) {
	const (
		invited   = protocol.EventCallInvited
		timedOut  = protocol.EventCallTimedOut
		elsewhere = protocol.EventCallAnsweredElsewhere
		ended     = protocol.EventCallEnded
		changed   = protocol.EventCallUsersChanged
	)
	accept, create, timeout := protocol.CallbackAccept, protocol.CallbackCreate, protocol.CallbackTimeout
	sec := time.Second
	for name, tt := range map[string]struct {
		rule Rule
		edit edit
	}{
		"a call is lost":                         {Lost, drop(is(FinalCall, "", ""))},
		"an accept is lost":                      {Lost, drop(is(FinalEvent, "", accept))},
		"an accept of another user is kept":      {Lost, change(is(FinalEvent, "", accept), set("data", map[string]string{"user_id": "u2"}))},
		"an end is lost":                         {Lost, drop(is(FinalEvent, "", protocol.CallbackEnd))},
		"a version is told that is not stored":   {Lost, change(is(Event, "u0-wire", changed), set("version", 9))},
		"a cancel is told that never was":        {Lost, again(is(Event, "u2-wire", invited), func(r *Record) { r.Name = protocol.EventCallCancelled })},
		"a call that is there is called unknown": {Lost, unknownCall},
		"nobody asked for an accept":             {Uncaused, drop(is(Sent, "u1-wire", protocol.OpCallAccept)).and(drop(is(Reply, "u1-wire", protocol.OpCallAccept)))},
		"an accept is refused and done":          {Refused, change(is(Reply, "u1-wire", protocol.OpCallAccept), func(r *Record) { r.Body, r.Code = nil, 6000276 })},
		"one invitation makes two calls":         {Doubled, doubledCall},
		"two outcomes":                           {Outcome, again(is(FinalEvent, "", accept), set("id", "evt_x", "event", protocol.CallbackReject, "version", 3))},
		"timed out after accept": {Outcome, again(is(FinalEvent, "", accept), set(
			"id", "evt_x", "event", timeout, "version", 3, "data", map[string]any{"user_ids": []string{"u1"}}))},
		"created twice":                  {Outcome, again(is(FinalEvent, "", create), set("id", "evt_x", "version", 2))},
		"an event after the end":         {AfterEnd, again(is(FinalEvent, "", accept), set("id", "evt_x", "event", protocol.CallbackJoin, "version", 3))},
		"an event after the end of all":  {AfterEnd, again(is(FinalEvent, "", protocol.CallbackEnd), set("id", "evt_x", "event", protocol.CallbackQuit, "version", 4))},
		"a gap in the versions":          {Gap, change(is(FinalEvent, "", accept), set("version", 3))},
		"two transitions of one version": {Gap, change(is(FinalEvent, "", accept), set("version", 1))},
		"another state than the events":  {State, change(is(FinalCall, "", ""), set("users", []any{map[string]string{"user_id": "u1", "state": "rejected"}}))},
		"another version":                {State, change(is(FinalCall, "", ""), set("version", 7))},
		"a call that lives on":           {Unsettled, change(is(FinalCall, "", ""), set("state", "live"))},
		"a delivery that is pending":     {Unsettled, change(is(FinalDelivery, "", ""), set("status", "pending"))},
		"a timer fires early":            {Timer, shift(timeout, -10)},
		"a timer fires late":             {Timer, shift(timeout, 3000)},
		"a timer never fires":            {Timer, all(is(FinalEvent, "", timeout))},

		"a version goes back":              {Version, again(is(Event, "u1-wire", invited), set("version", 3))},
		"a version goes back, library":     {Version, again(is(Event, "u0-client", changed), set("version", 1))},
		"an event before its reply":        {ReplyFirst, change(is(Reply, "u1-wire", protocol.OpCallAccept), later(sec/100))},
		"an invitation before its reply":   {ReplyFirst, change(is(Reply, "u0-wire", protocol.OpCallInvite), later(sec/100))},
		"ghost ringing":                    {Ghost, drop(is(Event, "u2-wire", timedOut))},
		"ghost ringing, library":           {Ghost, drop(is(Event, "u1-client", elsewhere))},
		"ghost ringing after the end":      {Ghost, drop(is(Event, "u1-wire", ended))},
		"told too late":                    {Ghost, change(is(Event, "u2-wire", timedOut), later(3*sec))},
		"a known call that is unaccounted": {Ghost, change(is(Sent, "u1-wire", protocol.OpLogin), set("known_calls", []string{"7"}))},
		"rings beyond its time":            {Overring, all(is(FinalEvent, "", timeout)).and(all(is(Event, "u2-wire", timedOut)))},
		"told the end twice by the library": {
			Twice, again(is(Event, "u1-client", elsewhere), func(*Record) {}),
		},
		"told the end of the call twice by the library": {Twice, again(is(Event, "u1-client", ended), func(*Record) {})},
		"told an end after another":                     {Twice, again(is(Event, "u2-client", timedOut), func(r *Record) { r.Name = protocol.EventCallCancelled })},
		"two reasons on the wire":                       {Twice, again(is(Event, "u2-wire", timedOut), func(r *Record) { r.Name = protocol.EventCallCancelled })},
		"answered elsewhere, told to who answered":      {Twice, again(is(Reply, "u1-wire", protocol.OpCallAccept), elsewhereToSelf)},

		"a callback is missing":            {Undelivered, all(is(Callback, "", accept))},
		"a callback is never accepted":     {Undelivered, change(func(r Record) bool { return storedAs(r, accept) && r.Status == 200 }, func(r *Record) { r.Status = 500 })},
		"an event without a delivery":      {Undelivered, drop(is(FinalDelivery, "", ""))},
		"a callback of nothing":            {Unfounded, change(is(Callback, "", accept), func(r *Record) { r.WebhookID = "evt_x" })},
		"a callback that says otherwise":   {Unfounded, change(is(Callback, "", accept), set("user_id", "u2"))},
		"a wrong signature":                {Signature, change(is(Callback, "", accept), func(r *Record) { r.Error = "wrong" })},
		"callbacks in the wrong order":     {Order, change(is(Callback, "", create), later(sec))},
		"a callback beside the one before": {Order, change(is(Callback, "", create), func(r *Record) { r.Done += sec })},
		"a gap in the sequence": {
			Sequence, func(_ *testing.T, records []Record) []Record {
				for i := range records {
					if r := &records[i]; r.Kind == Callback && r.Sequence == 2 {
						r.Sequence = 3
					}
				}
				return records
			},
		},
		"a gap in the log of deliveries": {Sequence, change(func(r Record) bool {
			return r.Kind == FinalDelivery && strings.Contains(string(r.Body), `"sequence":2`)
		}, set("sequence", 3))},
		"two events of one ID":      {EventID, again(is(FinalEvent, "", accept), set("version", 3))},
		"a reply without a request": {Malformed, drop(is(Sent, "u1-wire", protocol.OpCallAccept))},
	} {
		t.Run(name, func(t *testing.T) {
			found := Check(tt.edit(t, short()), limits())
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == tt.rule && len(v.Proof) > 0 }) {
				t.Errorf("want a violation of the rule %q, got %v", tt.rule, found)
			}
		})
	}
	if found := Check(short(), limits()); len(found) > 0 {
		t.Errorf("without a fault there is %s", found[0])
	}
}

// unknownCall tells a device that the first call does not exist.
func unknownCall(t *testing.T, records []Record) []Record {
	call := callOf(records[find(t, records, is(FinalCall, "", ""))])
	return change(is(Reply, "u0-wire", protocol.OpLogin), set("ended", []any{map[string]any{"call_id": call, "reason": "unknown"}}))(t, records)
}

// shift moves the first event of a name by milliseconds.
func shift(name string, ms int64) edit {
	return change(is(FinalEvent, "", name), func(r *Record) {
		var e storedEvent
		json.Unmarshal(r.Body, &e)
		e.AtMS += ms
		r.Body = body(e)
	})
}

func doubledCall(t *testing.T, records []Record) []Record {
	for _, kind := range []Kind{FinalCall, FinalEvent} {
		records = again(is(kind, "", ""), set("call_id", "99", "id", "evt_x"))(t, records)
	}
	return records
}

func elsewhereToSelf(r *Record) {
	r.Kind, r.Name = Event, protocol.EventCallAnsweredElsewhere
	set("answer", "accepted")(r)
}

// Time in which a fault is on is not counted, and a receiver that does not
// answer explains the order of callbacks, not the silence towards devices.
func TestFaultsAreAnExcuse(t *testing.T) {
	late := change(is(Event, "u2-wire", protocol.EventCallTimedOut), later(3*time.Second))
	swapped := change(is(Callback, "", protocol.CallbackCreate), later(time.Second))
	for name, tt := range map[string]struct {
		edit  edit
		fault string
		clean bool
	}{
		"told late while a node is down":            {late, "node", true},
		"told late while the receiver is down":      {late, ReceiverFault, false},
		"swapped while the receiver is down":        {swapped, ReceiverFault, true},
		"swapped while a node is down":              {swapped, "node", false},
		"a timer that is late while a node is down": {shift(protocol.CallbackTimeout, 3000), "node", true},
	} {
		t.Run(name, func(t *testing.T) {
			records := tt.edit(t, short())
			records = slices.Insert(records, 1, Record{Kind: Fault, Name: tt.fault})
			at := find(t, records, func(r Record) bool { return r.At > 8*time.Second })
			records = slices.Insert(records, at, Record{Kind: Healed, Name: tt.fault, At: 8 * time.Second})
			if found := Check(records, limits()); (len(found) == 0) != tt.clean {
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestWriteAndRead(t *testing.T) {
	want := short()
	var b bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%d records became %d, %v", len(want), len(got), err)
	}
	if _, err := Read(strings.NewReader("{}\nx")); err == nil || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("got %v", err)
	}
}

func TestPrint(t *testing.T) {
	var many []Violation
	for range 7 {
		many = append(many, Violation{Ghost, "12", "it rings", []Record{{Kind: Event, Name: "call.invited", At: 1500 * time.Millisecond}}})
	}
	var b strings.Builder
	if err := Print(&b, many); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "it rings") != 5 || !strings.Contains(got, "ghost: call 12: it rings\n         1.500s {") || !strings.Contains(got, "2 more") {
		t.Errorf("printed:\n%s", got)
	}
}

func TestLogIsInOrder(t *testing.T) {
	l := NewLog()
	l.Add(Record{Kind: Opened})
	at := l.Now()
	l.Add(Record{Kind: Closed})
	l.AddAt(at, Record{Kind: Callback})
	var kinds []Kind
	for _, r := range l.Records() {
		kinds = append(kinds, r.Kind)
	}
	if want := []Kind{Began, Opened, Callback, Closed}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
}
