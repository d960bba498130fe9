package engine

import (
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/wire"
)

// BenchmarkLetter is what another node's news of an answer costs to write and
// to read, with a callback to be delivered.
func BenchmarkLetter(b *testing.B) {
	actor := call.Actor{User: "callee-000001", Session: "session-of-the-callee"}
	fields := make([]byte, 300)
	for i := range fields {
		fields[i] = 'x'
	}
	m := message{At: 1_700_000_000_000, News: &news{
		Call: 3_600_000_000_000_000_001, Version: 2, Commit: 1 << 63, Prior: 1<<63 + 1,
		Events: []call.Event{
			call.InvitationReceived{Actor: actor, At: 1_700_000_000_000},
			call.CallAccepted{Actor: actor, At: 1_700_000_000_000, ExtendedData: `{"sdp":"none"}`},
		},
		Sequences: map[store.EndpointID]int{1: 2}, Nodes: []store.NodeID{1, 2},
		Deliver: []*store.Event{{
			ID: 1 << 60, App: 1, Call: 3_600_000_000_000_000_001, At: 1_700_000_000_000, Version: 2, Name: "call_accept",
			Actor: actor, Fields: fields, Deliveries: []store.Subscription{{Endpoint: 1, Sequence: 2}},
		}},
	}}
	data := wire.Encode(&m, (*message).values)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			wire.Encode(&m, (*message).values)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			var out message
			if err := wire.Decode(data, &out, (*message).values); err != nil {
				b.Fatal(err)
			}
		}
	})
}
