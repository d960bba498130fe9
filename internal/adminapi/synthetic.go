package adminapi

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// sample gives made-up fields of a callback event; nil: there is no such
// event.
func sample(event string, now call.Instant) any {
	var b [4]byte
	rand.Read(b[:]) // never fails
	id := call.NewID(now, binary.LittleEndian.Uint32(b[:])).String()
	seconds := int64(now) / 1000
	switch event {
	case protocol.CallbackCreate:
		return &protocol.CallCreate{CallID: id, UserIDs: []string{"bob"}, CreateTime: seconds, Payload: "test", Caller: "alice", Timeout: call.DefaultTimeout}
	case protocol.CallbackCancel:
		return &protocol.CallCancel{CallID: id, UserIDs: []string{"bob"}, Reason: protocol.CancelByCaller}
	case protocol.CallbackTimeout:
		return &protocol.CallTimeout{CallID: id, UserIDs: []string{"bob"}}
	case protocol.CallbackInvite:
		return &protocol.CallInvite{CallID: id, UserIDs: []string{"carol"}, Inviter: "alice", InviteTime: int64(now)}
	case protocol.CallbackAccept, protocol.CallbackReject, protocol.CallbackReceived, protocol.CallbackJoin, protocol.CallbackQuit:
		return &protocol.CallAnswer{CallID: id, UserID: "bob"}
	case protocol.CallbackEnd:
		return &protocol.CallEnd{CallID: id, Reason: protocol.ReasonEnded, Operator: "alice", Duration: 60}
	case protocol.CallbackUserAction:
		return &protocol.UserAction{UserID: "bob", UserName: "Bob", OS: "WEB", Action: protocol.UserOnline, SessionID: "test", LoginTime: seconds, Relogin: "0"}
	}
	return nil
}

// Fields gives made-up fields of a callback event, as a pointer to a struct of
// package protocol; nil: there is no such event.
func Fields(event string) any { return sample(event, call.At(time.Now())) }

// synthetic makes the event of a trigger, with the given fields in the place
// of made-up ones.
func synthetic(in Trigger, now call.Instant) (*store.Event, error) {
	if in.Event == "" {
		in.Event = protocol.CallbackCreate
	}
	fields := sample(in.Event, now)
	if fields == nil {
		known := append(config.DefaultEvents(), config.ExtraEvents()...)
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("%.40q is not an event; the events are %s", in.Event, strings.Join(known, ", ")))
	}
	if len(in.Fields) > 0 {
		text, err := json.Marshal(in.Fields)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("fields cannot be read: " + err.Error())
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(fields); err != nil {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("fields of %s: %s; they are %s",
				in.Event, strings.TrimPrefix(err.Error(), "json: "), strings.Join(fieldNames(fields), ", ")))
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(fields); err != nil {
		return nil, err
	}
	return &store.Event{Name: in.Event, At: now, Fields: bytes.TrimSuffix(b.Bytes(), []byte("\n")), Test: true}, nil
}

// fieldNames lists the JSON names of the fields of a struct.
func fieldNames(v any) []string {
	var names []string
	for f := range reflect.TypeOf(v).Elem().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
