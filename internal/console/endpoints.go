package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
	"github.com/ringback/ringback/internal/config"
)

// eventNames are all events that an endpoint may ask for.
func eventNames() []string { return append(config.DefaultEvents(), config.ExtraEvents()...) }

func endpointPath(id int64) string { return Path + "/endpoints/" + strconv.FormatInt(id, 10) }

func (v *visit) endpoints() error {
	apps, err := adminclient.Collect(v.api.Apps(v.r.Context()))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "endpoints", page{Title: "Endpoints", Section: "callbacks", Data: apps})
}

// endpointForm is an endpoint as a form has it.
type endpointForm struct {
	App                                             uint32
	URL, Format, Timeout, Retry, Ordering, WhenDown string
	Events                                          []string
	All                                             []string // events there are
	New                                             bool
	Problem                                         string
}

// endpointView is what the page of an endpoint shows.
type endpointView struct {
	*adminapi.Endpoint
	Form   endpointForm
	Recent []adminapi.Delivery
}

func (v *visit) endpoint() error {
	id, err := v.number("endpoint")
	if err != nil {
		return err
	}
	e, err := v.api.Endpoint(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.showEndpoint(http.StatusOK, e, endpointForm{
		App: e.AppID, URL: e.URL, Format: e.Format, Timeout: e.Timeout, Retry: strings.Join(e.Retry, ", "),
		Ordering: e.Ordering, WhenDown: e.WhenDown, Events: e.Events,
	})
}

func (v *visit) showEndpoint(status int, e *adminapi.Endpoint, f endpointForm) error {
	recent, err := v.api.DeliveriesPage(v.r.Context(), adminclient.DeliveryQuery{Endpoint: e.ID}, adminclient.Place{Limit: 10})
	if err != nil {
		return err
	}
	f.All = eventNames()
	return v.show(status, "endpoint", page{
		Title: "Endpoint " + strconv.FormatInt(e.ID, 10), Section: "callbacks", Data: endpointView{e, f, recent.Items},
	})
}

// form reads the form of an endpoint.
func (v *visit) endpointForm() endpointForm {
	f := v.r.PostFormValue
	form := endpointForm{
		URL: strings.TrimSpace(f("url")), Format: f("format"), Timeout: strings.TrimSpace(f("timeout")), Retry: strings.TrimSpace(f("retry")),
		Ordering: f("ordering"), WhenDown: f("when_down"), Events: v.r.PostForm["events"], All: eventNames(),
	}
	return form
}

// settings are what a form says, for the API.
func (f *endpointForm) settings() adminapi.EndpointSettings {
	retry := strings.FieldsFunc(f.Retry, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' })
	if retry == nil {
		retry = []string{}
	}
	return adminapi.EndpointSettings{
		Format: &f.Format, Events: &f.Events, Timeout: &f.Timeout, Retry: &retry, Ordering: &f.Ordering, WhenDown: &f.WhenDown,
	}
}

// noEvents is what is wrong with a form in which no event is chosen: to the
// API that would mean the documented ones.
const noEvents = "Choose one event at least."

func (v *visit) updateEndpoint() error {
	id, err := v.number("endpoint")
	if err != nil {
		return err
	}
	form := v.endpointForm()
	if len(form.Events) == 0 {
		form.Problem = noEvents
	} else if _, err = v.api.UpdateEndpoint(v.r.Context(), id, form.settings()); err == nil {
		return v.done(endpointPath(id), "The endpoint has been changed.")
	}
	refusal, ok := errors.AsType[*adminclient.Error](err)
	if err != nil && (!ok || refusal.Status >= 500 || refusal.Status == http.StatusNotFound) {
		return err
	}
	if ok {
		form.Problem = sentence(refusal.Detail)
	}
	e, err := v.api.Endpoint(v.r.Context(), id)
	if err != nil {
		return err
	}
	form.App, form.URL = e.AppID, e.URL
	return v.showEndpoint(http.StatusUnprocessableEntity, e, form)
}

func (v *visit) newEndpoint() error {
	app, err := v.appOf()
	if err != nil {
		return err
	}
	e := config.DefaultEndpoint()
	var retry []string
	for _, d := range e.Retry {
		retry = append(retry, d.String())
	}
	return v.showNewEndpoint(http.StatusOK, endpointForm{
		App: app.ID, Format: e.Format, Timeout: e.Timeout.String(), Retry: strings.Join(retry, ", "), Ordering: e.Ordering,
		WhenDown: e.WhenDown, Events: config.DefaultEvents(), All: eventNames(), New: true,
	})
}

func (v *visit) showNewEndpoint(status int, f endpointForm) error {
	return v.show(status, "endpoint-new", page{Title: "New endpoint", Section: "apps", Data: f})
}

func (v *visit) createEndpoint() error {
	app, err := v.appOf()
	if err != nil {
		return err
	}
	form := v.endpointForm()
	form.App, form.New = app.ID, true
	if len(form.Events) == 0 {
		form.Problem = noEvents
		return v.showNewEndpoint(http.StatusUnprocessableEntity, form)
	}
	e, err := v.api.CreateEndpoint(v.r.Context(), app.ID, adminapi.NewEndpoint{URL: form.URL, EndpointSettings: form.settings()})
	if refusal, ok := errors.AsType[*adminclient.Error](err); ok && refusal.Status < 500 {
		form.Problem = sentence(refusal.Detail)
		return v.showNewEndpoint(http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return v.done(endpointPath(e.ID), "The endpoint has been made. Send it a test to see that it answers.")
}

func (v *visit) pauseEndpoint() error  { return v.setPaused(true) }
func (v *visit) resumeEndpoint() error { return v.setPaused(false) }

func (v *visit) setPaused(paused bool) error {
	id, err := v.number("endpoint")
	if err != nil {
		return err
	}
	if _, err := v.api.PauseEndpoint(v.r.Context(), id, paused); err != nil {
		return v.refused(endpointPath(id), err)
	}
	if paused {
		return v.done(endpointPath(id), "The endpoint is paused. Its callbacks wait and use up no attempts.")
	}
	return v.done(endpointPath(id), "The endpoint is no longer paused. What has waited is delivered now.")
}

func (v *visit) testEndpoint() error {
	id, err := v.number("endpoint")
	if err != nil {
		return err
	}
	sent, err := v.api.TestEndpoint(v.r.Context(), id, adminapi.Trigger{Event: v.r.PostFormValue("event")})
	if err != nil {
		return v.refused(endpointPath(id), err)
	}
	if len(sent.Deliveries) == 0 {
		return v.done(endpointPath(id), "The test is on the way.")
	}
	return v.done(Path+"/callbacks/"+sent.Deliveries[0].ID, "The test is on the way. Receivers tell it by the header Ringback-Test.")
}

func (v *visit) deleteEndpoint() error {
	id, err := v.number("endpoint")
	if err != nil {
		return err
	}
	e, err := v.api.Endpoint(v.r.Context(), id)
	if err != nil {
		return err
	}
	if err := v.api.DeleteEndpoint(v.r.Context(), id); err != nil {
		return v.refused(endpointPath(id), err)
	}
	return v.done(appPath(e.AppID), "The endpoint has been removed.")
}
