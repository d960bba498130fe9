package engine

import (
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/wire"
)

// Kinds of events. A number stays what it is.
const (
	createdKind = iota + 1
	receivedKind
	unconfirmedKind
	acceptedKind
	rejectedKind
	cancelledKind
	timedOutKind
	invitedKind
	joinedKind
	quitKind
	endedKind
)

func kindOf(e call.Event) int {
	switch e.(type) {
	case call.CallCreated:
		return createdKind
	case call.InvitationReceived:
		return receivedKind
	case call.InvitationsUnconfirmed:
		return unconfirmedKind
	case call.CallAccepted:
		return acceptedKind
	case call.CallRejected:
		return rejectedKind
	case call.InvitationsCancelled:
		return cancelledKind
	case call.InvitationsTimedOut:
		return timedOutKind
	case call.UsersInvited:
		return invitedKind
	case call.UserJoined:
		return joinedKind
	case call.UserQuit:
		return quitKind
	case call.CallEnded:
		return endedKind
	case nil:
		return 0
	}
	panic(fmt.Sprintf("engine: unknown event %T", e))
}

// eventValues are the kind of an event and what it says. An event of another
// kind stays nil.
func eventValues(e *call.Event, f *wire.Form) {
	kind := kindOf(*e)
	wire.Int(f, &kind)
	switch kind {
	case createdKind:
		eventOf(e, f, createdValues)
	case receivedKind:
		eventOf(e, f, receivedValues)
	case unconfirmedKind:
		eventOf(e, f, unconfirmedValues)
	case acceptedKind:
		eventOf(e, f, acceptedValues)
	case rejectedKind:
		eventOf(e, f, rejectedValues)
	case cancelledKind:
		eventOf(e, f, cancelledValues)
	case timedOutKind:
		eventOf(e, f, timedOutValues)
	case invitedKind:
		eventOf(e, f, invitedValues)
	case joinedKind:
		eventOf(e, f, joinedValues)
	case quitKind:
		eventOf(e, f, quitValues)
	case endedKind:
		eventOf(e, f, endedValues)
	}
}

func eventOf[T call.Event](e *call.Event, f *wire.Form, values func(*T, *wire.Form)) {
	of, _ := (*e).(T)
	if values(&of, f); f.Reading() {
		*e = of
	}
}

func createdValues(e *call.CallCreated, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Uint(f, &e.ID)
	wire.Uint(f, &e.App)
	wire.Int(f, &e.At)
	wire.List(f, &e.Invitees, wire.Text)
	wire.Int(f, &e.Timeout)
	wire.Int(f, &e.Mode)
	wire.Text(f, &e.ExtendedData)
	wire.Flag(f, &e.NotReceivedCheck)
	wire.Data(f, &e.Push)
	wire.Int(f, &e.EndBy)
}

func receivedValues(e *call.InvitationReceived, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
}

func unconfirmedValues(e *call.InvitationsUnconfirmed, f *wire.Form) {
	wire.List(f, &e.Users, wire.Text)
	wire.Int(f, &e.At)
}

func acceptedValues(e *call.CallAccepted, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.Text(f, &e.ExtendedData)
	wire.Flag(f, &e.Joined)
}

func rejectedValues(e *call.CallRejected, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.Text(f, &e.ExtendedData)
}

func cancelledValues(e *call.InvitationsCancelled, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.List(f, &e.Users, wire.Text)
	wire.Flag(f, &e.All)
	wire.List(f, &e.Names, wire.Text)
	wire.Objects(f, &e.Errors, func(e *call.UserError, f *wire.Form) {
		wire.Text(f, &e.User)
		wire.Int(f, &e.Code)
	})
	wire.Text(f, &e.Reason)
	wire.Text(f, &e.ExtendedData)
	wire.Data(f, &e.Push)
}

func timedOutValues(e *call.InvitationsTimedOut, f *wire.Form) {
	wire.List(f, &e.Users, wire.Text)
	wire.Int(f, &e.At)
	wire.Flag(f, &e.Whole)
	wire.Flag(f, &e.CallerLost)
}

func invitedValues(e *call.UsersInvited, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.List(f, &e.Invitees, wire.Text)
	wire.Data(f, &e.Push)
}

func joinedValues(e *call.UserJoined, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.Text(f, &e.ExtendedData)
	wire.Flag(f, &e.Moved)
}

func quitValues(e *call.UserQuit, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.Text(f, &e.ExtendedData)
	wire.Data(f, &e.Push)
}

func endedValues(e *call.CallEnded, f *wire.Form) {
	actorValues(&e.Actor, f)
	wire.Int(f, &e.At)
	wire.Text(f, &e.Reason)
	wire.Text(f, &e.ExtendedData)
	wire.Data(f, &e.Push)
}

// actorValues are a part of the values around them, so there can be no more.
func actorValues(a *call.Actor, f *wire.Form) {
	wire.Text(f, &a.User)
	wire.Text(f, &a.Session)
}

// callbackValues are those of an event as callbacks tell it.
func callbackValues(e **store.Event, f *wire.Form) {
	if *e == nil {
		*e = new(store.Event)
	}
	ev := *e
	wire.Int(f, &ev.ID)
	wire.Uint(f, &ev.App)
	wire.Uint(f, &ev.Call)
	wire.Text(f, &ev.Name)
	wire.Int(f, &ev.At)
	wire.Data(f, &ev.Fields)
	wire.Int(f, &ev.Version)
	actorValues(&ev.Actor, f)
	wire.Flag(f, &ev.Test)
	wire.Objects(f, &ev.Deliveries, func(d *store.Subscription, f *wire.Form) {
		wire.Int(f, &d.Endpoint)
		wire.Int(f, &d.Sequence)
	})
}
