package store

import (
	"encoding/json"
	"fmt"

	"github.com/ringback/ringback/internal/call"
)

// EncodeCall gives the stored form of a record's call and sequences: a JSON
// object with short keys, without zero values, so that a version which knows
// more keys reads what one that knew fewer has written, and the other way
// round. The commit ID is not part of it.
func EncodeCall(r *CallRecord) []byte {
	doc := recordDoc{callDoc: callDoc(*r.Call), Sequences: r.Sequences}
	if r.Call.Users != nil {
		doc.Users = make([]userDoc, len(r.Call.Users))
	}
	for i, u := range r.Call.Users {
		doc.Users[i] = userDoc(u)
	}
	return mustEncode(doc)
}

// DecodeCall reads what [EncodeCall] has written, exactly, down to the
// difference between a nil and an empty slice.
func DecodeCall(data []byte) (*call.Call, map[EndpointID]int, error) {
	var doc recordDoc
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, nil, fmt.Errorf("decode call: %w", err)
	}
	c := call.Call(doc.callDoc)
	if doc.Users != nil {
		c.Users = make([]call.User, len(doc.Users))
	}
	for i, u := range doc.Users {
		c.Users[i] = call.User(u)
	}
	return &c, doc.Sequences, nil
}

// EncodeUserErrors gives the stored form of a request's errors.
func EncodeUserErrors(errors []call.UserError) []byte { return mustEncode(errors) }

// DecodeUserErrors reads what [EncodeUserErrors] has written.
func DecodeUserErrors(data []byte) ([]call.UserError, error) {
	var errors []call.UserError
	if err := json.Unmarshal(data, &errors); err != nil {
		return nil, fmt.Errorf("decode errors of a request: %w", err)
	}
	return errors, nil
}

// EncodeQuery gives the stored form of a redelivery's query.
func EncodeQuery(q *DeliveryQuery) []byte { return mustEncode(queryDoc(*q)) }

// DecodeQuery reads what [EncodeQuery] has written.
func DecodeQuery(data []byte) (DeliveryQuery, error) {
	var doc queryDoc
	if err := json.Unmarshal(data, &doc); err != nil {
		return DeliveryQuery{}, fmt.Errorf("decode query of a redelivery: %w", err)
	}
	return DeliveryQuery(doc), nil
}

func mustEncode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("store: " + err.Error()) // these types always encode
	}
	return data
}

// The documents below have the fields of the domain types, so that they
// convert, and a field that is added there is a compile error here. Their keys
// are for ever; the small types that have no document of their own keep the
// names of their fields.

type recordDoc struct {
	callDoc
	Users     []userDoc          `json:"u,omitzero"`
	Sequences map[EndpointID]int `json:"q,omitzero"`
}

type callDoc struct {
	ID      call.ID    `json:"i,omitzero"`
	App     uint32     `json:"a,omitzero"`
	Version int64      `json:"v,omitzero"`
	Mode    call.Mode  `json:"m,omitzero"`
	State   call.State `json:"s,omitzero"`

	Caller           call.UserID `json:"c,omitzero"`
	ExtendedData     string      `json:"x,omitzero"`
	Timeout          int         `json:"t,omitzero"`
	NotReceivedCheck bool        `json:"k,omitzero"`
	Push             []byte      `json:"p,omitzero"`

	CreatedAt     call.Instant `json:"ct,omitzero"`
	EndedAt       call.Instant `json:"et,omitzero"`
	EndBy         call.Instant `json:"eb,omitzero"`
	FirstAcceptAt call.Instant `json:"fa,omitzero"`

	Responded    bool `json:"r,omitzero"`
	CancelledAll bool `json:"ca,omitzero"`

	EndReason       call.Reason    `json:"er,omitzero"`
	EndOperator     call.UserID    `json:"eo,omitzero"`
	EndedBy         call.SessionID `json:"es,omitzero"`
	EndExtendedData string         `json:"ex,omitzero"`

	Users   []call.User         `json:"-"` // in recordDoc
	Cancels []call.Cancellation `json:"cc,omitzero"`
}

type userDoc struct {
	ID           call.UserID    `json:"i,omitzero"`
	State        call.UserState `json:"s,omitzero"`
	Inviter      call.UserID    `json:"v,omitzero"`
	ExtendedData string         `json:"x,omitzero"`
	Primary      call.SessionID `json:"p,omitzero"`

	InvitedAt  call.Instant `json:"it,omitzero"`
	Deadline   call.Instant `json:"dt,omitzero"`
	CheckAt    call.Instant `json:"kt,omitzero"`
	AcceptedAt call.Instant `json:"at,omitzero"`
	QuitAt     call.Instant `json:"qt,omitzero"`
	Late       bool         `json:"l,omitzero"`

	CancelReason call.Reason    `json:"cr,omitzero"`
	LastOp       call.Op        `json:"lo,omitzero"`
	LastBy       call.SessionID `json:"lb,omitzero"`
	Earlier      []call.Deed    `json:"e,omitzero"`
}

type queryDoc struct {
	App      uint32          `json:"a,omitzero"`
	Call     call.ID         `json:"c,omitzero"`
	Endpoint EndpointID      `json:"p,omitzero"`
	Event    string          `json:"e,omitzero"`
	States   []DeliveryState `json:"s,omitzero"`
	From     EventID         `json:"f,omitzero"`
	Until    EventID         `json:"u,omitzero"`
	After    DeliveryPlace   `json:"r,omitzero"`
	Oldest   bool            `json:"o,omitzero"`
	Limit    int             `json:"l,omitzero"`
}
