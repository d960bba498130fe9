package server

import (
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/protocol"
)

// callbacks lets the engine use the deliverer, and tells the feed.
type callbacks struct {
	*webhook.Deliverer
	feed *feed.Feed
}

// HandOff implements engine.Callbacks.
func (c callbacks) HandOff(events []*store.Event) {
	c.Deliverer.HandOff(events)
	c.feed.Announce(events)
}

// Wake implements engine.Callbacks.
func (c callbacks) Wake(app uint32) { c.WakeApp(app) }

// Events implements engine.Callbacks.
func (callbacks) Events(t engine.Transition) []*store.Event {
	var events []*store.Event
	for _, cb := range webhook.Callbacks(t.Before, t.After, t.Event) {
		events = append(events, event(cb))
	}
	return events
}

// UserAction implements engine.Callbacks.
func (callbacks) UserAction(a engine.UserAction) *store.Event {
	out := protocol.UserAction{
		UserID: string(a.Session.User), UserName: a.Name, OS: a.Session.Platform, Action: actions[a.Action],
		SessionID: string(a.Session.ID), LoginTime: seconds(a.Session.LoginAt), Relogin: "0", LogoutReason: a.Reason,
	}
	switch {
	case a.Relogin:
		out.Relogin = "1"
	case a.Action == engine.LoggedOut:
		out.LogoutTime = seconds(a.At)
	case a.Action == engine.WentOffline:
		out.OfflineTime = seconds(a.At)
	}
	return event(webhook.UserAction(out))
}

var actions = map[engine.Action]int{
	engine.CameOnline:  protocol.UserOnline,
	engine.LoggedOut:   protocol.UserLogout,
	engine.WentOffline: protocol.UserOffline,
}

func seconds(i call.Instant) int64 { return int64(i) / 1000 }

func event(cb webhook.Callback) *store.Event {
	return &store.Event{Name: cb.Name, Fields: cb.Fields}
}
