package console

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// deliveryFilters are the filters of the list of callbacks.
var deliveryFilters = []string{"app", "call", "endpoint", "event", "status", "from", "until"}

// deliveriesView is the list of callbacks.
type deliveriesView struct {
	*list[adminapi.Delivery]
	Endpoints []adminapi.Endpoint
	Events    []string
}

func (v *visit) deliveries() error {
	l, err := newList[adminapi.Delivery](v, deliveryFilters...)
	if err != nil {
		return err
	}
	endpoint, _ := strconv.ParseInt(l.Filter("endpoint"), 10, 64) // what is no number is any
	found, err := v.api.DeliveriesPage(v.r.Context(), adminclient.DeliveryQuery{
		App: appNumber(l.Filter("app")), Call: l.Filter("call"), Endpoint: endpoint, Event: l.Filter("event"),
		Status: l.Filter("status"), From: l.Filter("from"), Until: l.Filter("until"),
	}, v.place())
	if err := l.take(v, found, err); err != nil {
		return err
	}
	view := deliveriesView{list: l, Events: eventNames()}
	for _, app := range l.Apps {
		view.Endpoints = append(view.Endpoints, app.Endpoints...)
	}
	return v.show(http.StatusOK, "deliveries", page{Title: "Callbacks", Section: "callbacks", Data: view})
}

// deliveryView is what the page of a delivery shows.
type deliveryView struct {
	*adminapi.DeliveryDetail
	Here string
}

func (v *visit) delivery() error {
	d, err := v.api.Delivery(v.r.Context(), v.r.PathValue("delivery"))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "delivery", page{
		Title: d.Event + " " + d.ID, Section: "callbacks", Data: deliveryView{d, v.r.URL.RequestURI()},
	})
}

func (v *visit) redeliver() error {
	id := v.r.PathValue("delivery")
	target := Path + "/callbacks/" + url.PathEscape(id)
	if _, err := v.api.Redeliver(v.r.Context(), id); err != nil {
		return v.refused(target, err)
	}
	return v.done(target, "It is on the way once more.")
}

func (v *visit) redeliveries() error {
	l, err := newList[adminapi.Redelivery](v)
	if err != nil {
		return err
	}
	found, err := v.api.RedeliveriesPage(v.r.Context(), v.place())
	if err := l.take(v, found, err); err != nil {
		return err
	}
	return v.show(http.StatusOK, "redeliveries", page{Title: "Redeliveries", Section: "callbacks", Data: l})
}

// beginRedelivery redelivers everything that the filters of the list find.
func (v *visit) beginRedelivery() error {
	f := v.r.PostFormValue
	endpoint, _ := strconv.ParseInt(f("endpoint"), 10, 64) // what is no number is any
	back := url.Values{}
	for _, name := range deliveryFilters {
		if value := f(name); value != "" {
			back.Set(name, value)
		}
	}
	job, err := v.api.BeginRedelivery(v.r.Context(), adminapi.NewRedelivery{Filter: adminapi.DeliveryFilter{
		AppID: appNumber(f("app")), CallID: f("call"), EndpointID: endpoint, Event: f("event"), Status: f("status"), From: f("from"), Until: f("until"),
	}})
	if err != nil {
		return v.refused(Path+"/callbacks?"+back.Encode(), err)
	}
	http.Redirect(v.w, v.r, redeliveryPath(job.ID), http.StatusSeeOther)
	return nil
}

func redeliveryPath(id int64) string { return Path + "/redeliveries/" + strconv.FormatInt(id, 10) }

func (v *visit) redelivery() error {
	id, err := v.number("id")
	if err != nil {
		return err
	}
	job, err := v.api.Redelivery(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "redelivery", page{Title: "Redelivery " + strconv.FormatInt(id, 10), Section: "callbacks", Data: job})
}

func (v *visit) stopRedelivery() error {
	id, err := v.number("id")
	if err != nil {
		return err
	}
	if _, err := v.api.StopRedelivery(v.r.Context(), id); err != nil {
		return v.refused(redeliveryPath(id), err)
	}
	return v.done(redeliveryPath(id), "The job has been stopped. What it had made pending is still delivered.")
}

// number reads a number in the path; without one there is no such page.
func (v *visit) number(name string) (int64, error) {
	n, err := strconv.ParseInt(v.r.PathValue(name), 10, 64)
	if err != nil {
		return 0, errLost
	}
	return n, nil
}
