package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
)

// The documents below are what the store keeps of an app that was made at run
// time. Their keys are for ever.

type appDoc struct {
	LoginPolicy    string    `json:"login_policy"`
	JoinPolicy     string    `json:"join_policy"`
	Secret         secretDoc `json:"secret"`
	CallbackSecret secretDoc `json:"callback_secret"`
}

type secretDoc struct {
	Current  string       `json:"current"`
	Previous string       `json:"previous,omitzero"`
	Until    call.Instant `json:"until_ms,omitzero"`
}

type endpointDoc struct {
	Format   string   `json:"format"`
	Events   []string `json:"events,omitempty"`
	Timeout  string   `json:"timeout"` // durations are exact, as the configuration has them
	Retry    []string `json:"retry"`
	Ordering string   `json:"ordering"`
	WhenDown string   `json:"when_down"`
}

// record gives the stored form of an app.
func (a *App) record() (store.ManagedApp, error) {
	settings, err := json.Marshal(appDoc{
		LoginPolicy: a.LoginPolicy, JoinPolicy: a.JoinPolicy,
		Secret: secretDoc(a.Secret), CallbackSecret: secretDoc(a.CallbackSecret),
	})
	if err != nil {
		return store.ManagedApp{}, fmt.Errorf("encode app %d: %w", a.ID, err)
	}
	rec := store.ManagedApp{ID: a.ID, Name: a.Name, Version: a.version, Settings: settings, CreatedAt: a.CreatedAt}
	for i := range a.Endpoints {
		e := &a.Endpoints[i]
		doc := endpointDoc{Format: e.Format, Events: e.Events, Timeout: e.Timeout.String(), Ordering: e.Ordering, WhenDown: e.WhenDown}
		for _, d := range e.Retry {
			doc.Retry = append(doc.Retry, d.String())
		}
		settings, err := json.Marshal(doc)
		if err != nil {
			return store.ManagedApp{}, fmt.Errorf("encode endpoint of app %d: %w", a.ID, err)
		}
		rec.Endpoints = append(rec.Endpoints, store.EndpointRecord{ID: e.ID, App: a.ID, URL: e.URL, Paused: e.Paused, Settings: settings})
	}
	return rec, nil
}

// fromRecord reads the stored form of an app.
func fromRecord(rec store.ManagedApp) (*App, error) {
	var doc appDoc
	if err := json.Unmarshal(rec.Settings, &doc); err != nil {
		return nil, fmt.Errorf("decode app %d: %w", rec.ID, err)
	}
	a := &App{
		ID: rec.ID, Name: rec.Name, LoginPolicy: doc.LoginPolicy, JoinPolicy: doc.JoinPolicy,
		Secret: Secret(doc.Secret), CallbackSecret: Secret(doc.CallbackSecret), CreatedAt: rec.CreatedAt, version: rec.Version,
	}
	for _, stored := range rec.Endpoints {
		var doc endpointDoc
		if err := json.Unmarshal(stored.Settings, &doc); err != nil {
			return nil, fmt.Errorf("decode endpoint %d of app %d: %w", stored.ID, rec.ID, err)
		}
		e, err := doc.endpoint(stored)
		if err != nil {
			return nil, fmt.Errorf("decode endpoint %d of app %d: %w", stored.ID, rec.ID, err)
		}
		a.Endpoints = append(a.Endpoints, e)
	}
	return a, nil
}

// endpoint gives the endpoint of a document.
func (doc *endpointDoc) endpoint(stored store.EndpointRecord) (Endpoint, error) {
	timeout, err := time.ParseDuration(doc.Timeout)
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{ID: stored.ID, Paused: stored.Paused, Endpoint: config.Endpoint{
		URL: stored.URL, Format: doc.Format, Events: doc.Events, Timeout: timeout,
		Retry: []time.Duration{}, Ordering: doc.Ordering, WhenDown: doc.WhenDown,
	}}
	for _, text := range doc.Retry {
		d, err := time.ParseDuration(text)
		if err != nil {
			return Endpoint{}, err
		}
		e.Retry = append(e.Retry, d)
	}
	return e, nil
}
