package store

import (
	"encoding/json"
	"fmt"

	"github.com/ringback/ringback/internal/call"
)

// AppendCall appends the stored form of a record's call and sequences to dst
// and returns the extended slice. The commit ID is not part of it.
//
// The form is a JSON object with short keys that leaves out zero values, so
// that a version which knows more keys reads what one that knew fewer has
// written, and the other way round. Strings may hold any bytes. What
// [DecodeCall] reads is exactly what was written, down to the difference
// between a nil and an empty slice.
func AppendCall(dst []byte, r *CallRecord) []byte {
	e := encoder{buf: dst}
	start := len(dst)
	e.record(r)
	if e.binary {
		e.buf = e.buf[:start]
		e.widen = true
		e.record(r)
	}
	return e.buf
}

// DecodeCall reads what [AppendCall] has written.
func DecodeCall(data []byte) (*call.Call, map[EndpointID]int, error) {
	var d recordDoc
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, nil, fmt.Errorf("decode call: %w", err)
	}
	c := d.call()
	if d.Wide != 0 {
		eachString(c, narrow)
	}
	return c, d.Sequences, nil
}

// recordDoc is the stored form. Its keys, and those of the types below, are
// for ever: the encoder writes them.
type recordDoc struct {
	Wide      int                `json:"w"` // 1: each rune of every string stands for one byte
	Sequences map[EndpointID]int `json:"q"`

	ID               call.ID           `json:"i"`
	App              uint32            `json:"a"`
	Version          int64             `json:"v"`
	Mode             call.Mode         `json:"m"`
	State            call.State        `json:"s"`
	Caller           call.UserID       `json:"c"`
	ExtendedData     string            `json:"x"`
	Timeout          int               `json:"t"`
	NotReceivedCheck int               `json:"k"`
	Push             *string           `json:"p"`
	CreatedAt        call.Instant      `json:"ct"`
	EndedAt          call.Instant      `json:"et"`
	EndBy            call.Instant      `json:"eb"`
	FirstAcceptAt    call.Instant      `json:"fa"`
	Responded        int               `json:"r"`
	CancelledAll     int               `json:"ca"`
	EndReason        call.Reason       `json:"er"`
	EndOperator      call.UserID       `json:"eo"`
	EndedBy          call.SessionID    `json:"es"`
	EndExtendedData  string            `json:"ex"`
	Users            []userDoc         `json:"u"`
	Cancels          []cancellationDoc `json:"cc"`
}

type userDoc struct {
	ID           call.UserID    `json:"i"`
	State        call.UserState `json:"s"`
	Inviter      call.UserID    `json:"v"`
	ExtendedData string         `json:"x"`
	Primary      call.SessionID `json:"p"`
	InvitedAt    call.Instant   `json:"it"`
	Deadline     call.Instant   `json:"dt"`
	CheckAt      call.Instant   `json:"kt"`
	AcceptedAt   call.Instant   `json:"at"`
	QuitAt       call.Instant   `json:"qt"`
	Late         int            `json:"l"`
	CancelReason call.Reason    `json:"cr"`
	LastOp       call.Op        `json:"lo"`
	LastBy       call.SessionID `json:"lb"`
	Earlier      []deedDoc      `json:"e"`
}

type deedDoc struct {
	Op call.Op        `json:"o"`
	By call.SessionID `json:"b"`
}

type cancellationDoc struct {
	By     call.SessionID `json:"b"`
	Names  []call.UserID  `json:"n"`
	Errors []userErrorDoc `json:"e"`
}

type userErrorDoc struct {
	User call.UserID `json:"u"`
	Code call.Code   `json:"c"`
}

func (d *recordDoc) call() *call.Call {
	c := &call.Call{
		ID: d.ID, App: d.App, Version: d.Version, Mode: d.Mode, State: d.State,
		Caller: d.Caller, ExtendedData: d.ExtendedData, Timeout: d.Timeout, NotReceivedCheck: d.NotReceivedCheck != 0,
		CreatedAt: d.CreatedAt, EndedAt: d.EndedAt, EndBy: d.EndBy, FirstAcceptAt: d.FirstAcceptAt,
		Responded: d.Responded != 0, CancelledAll: d.CancelledAll != 0,
		EndReason: d.EndReason, EndOperator: d.EndOperator, EndedBy: d.EndedBy, EndExtendedData: d.EndExtendedData,
	}
	if d.Push != nil {
		c.Push = []byte(*d.Push)
	}
	if d.Users != nil {
		c.Users = make([]call.User, len(d.Users))
	}
	for i := range d.Users {
		u := &d.Users[i]
		c.Users[i] = call.User{
			ID: u.ID, State: u.State, Inviter: u.Inviter, ExtendedData: u.ExtendedData, Primary: u.Primary,
			InvitedAt: u.InvitedAt, Deadline: u.Deadline, CheckAt: u.CheckAt, AcceptedAt: u.AcceptedAt, QuitAt: u.QuitAt,
			Late: u.Late != 0, CancelReason: u.CancelReason, LastOp: u.LastOp, LastBy: u.LastBy,
		}
		if u.Earlier != nil {
			c.Users[i].Earlier = make([]call.Deed, len(u.Earlier))
		}
		for j, deed := range u.Earlier {
			c.Users[i].Earlier[j] = call.Deed(deed)
		}
	}
	if d.Cancels != nil {
		c.Cancels = make([]call.Cancellation, len(d.Cancels))
	}
	for i, cc := range d.Cancels {
		c.Cancels[i] = call.Cancellation{By: cc.By, Names: cc.Names, Errors: userErrors(cc.Errors)}
	}
	return c
}

func userErrors(docs []userErrorDoc) []call.UserError {
	if docs == nil {
		return nil
	}
	errors := make([]call.UserError, len(docs))
	for i, d := range docs {
		errors[i] = call.UserError(d)
	}
	return errors
}

// AppendUserErrors appends the stored form of a request's errors to dst.
func AppendUserErrors(dst []byte, errors []call.UserError) []byte {
	e := encoder{buf: dst}
	start := len(dst)
	e.userErrors(errors)
	if e.binary {
		e.buf, e.widen = append(e.buf[:start], 'w'), true
		e.userErrors(errors)
	}
	return e.buf
}

// DecodeUserErrors reads what [AppendUserErrors] has written.
func DecodeUserErrors(data []byte) ([]call.UserError, error) {
	wide := len(data) > 0 && data[0] == 'w'
	if wide {
		data = data[1:]
	}
	var docs []userErrorDoc
	if err := json.Unmarshal(data, &docs); err != nil {
		return nil, fmt.Errorf("decode errors of a request: %w", err)
	}
	errors := userErrors(docs)
	if wide {
		for i := range errors {
			errors[i].User = call.UserID(narrow(string(errors[i].User)))
		}
	}
	return errors, nil
}

// eachString replaces every string of c.
func eachString(c *call.Call, f func(string) string) {
	c.Caller, c.ExtendedData = call.UserID(f(string(c.Caller))), f(c.ExtendedData)
	if c.Push != nil {
		c.Push = []byte(f(string(c.Push)))
	}
	c.EndReason, c.EndOperator = call.Reason(f(string(c.EndReason))), call.UserID(f(string(c.EndOperator)))
	c.EndedBy, c.EndExtendedData = call.SessionID(f(string(c.EndedBy))), f(c.EndExtendedData)
	for i := range c.Users {
		u := &c.Users[i]
		u.ID, u.Inviter, u.ExtendedData = call.UserID(f(string(u.ID))), call.UserID(f(string(u.Inviter))), f(u.ExtendedData)
		u.Primary, u.LastBy = call.SessionID(f(string(u.Primary))), call.SessionID(f(string(u.LastBy)))
		u.CancelReason = call.Reason(f(string(u.CancelReason)))
		for j := range u.Earlier {
			u.Earlier[j].By = call.SessionID(f(string(u.Earlier[j].By)))
		}
	}
	for i := range c.Cancels {
		cc := &c.Cancels[i]
		cc.By = call.SessionID(f(string(cc.By)))
		for j := range cc.Names {
			cc.Names[j] = call.UserID(f(string(cc.Names[j])))
		}
		for j := range cc.Errors {
			cc.Errors[j].User = call.UserID(f(string(cc.Errors[j].User)))
		}
	}
}

// narrow makes each rune of s one byte.
func narrow(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}
