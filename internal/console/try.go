package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// What the page with phones lists of its app.
const (
	tryCalls      = 5
	tryDeliveries = 8
)

// tryView is what the page with phones shows.
type tryView struct {
	Apps       []adminapi.App
	App        *adminapi.App // nil: none is chosen
	Calls      []adminapi.Call
	Deliveries []adminapi.Delivery
	Here       string
	Assets     string // path of the program of the phones
	Dev        bool   // there is the page of dev, too
}

// try shows phones that are logged in to an app, once one is chosen: who only
// comes by logs nobody in.
func (v *visit) try() error {
	apps, err := adminclient.Collect(v.api.Apps(v.r.Context()))
	if err != nil {
		return err
	}
	view := tryView{Apps: apps, Here: v.r.URL.RequestURI(), Assets: phonesPath, Dev: v.Phones}
	if v.r.FormValue("app") != "" {
		if view.App, err = v.appAsked(); err != nil {
			return err
		}
		calls, err := v.api.CallsPage(v.r.Context(), adminclient.CallQuery{App: view.App.ID}, adminclient.Place{Limit: tryCalls})
		if err != nil {
			return err
		}
		deliveries, err := v.api.DeliveriesPage(v.r.Context(), adminclient.DeliveryQuery{App: view.App.ID}, adminclient.Place{Limit: tryDeliveries})
		if err != nil {
			return err
		}
		view.Calls, view.Deliveries = calls.Items, deliveries.Items
	}
	return v.show(http.StatusOK, "try", page{Title: "Try it", Section: "try", Data: view})
}

// appAsked reads the app that a form names.
func (v *visit) appAsked() (*adminapi.App, error) {
	id := appNumber(v.r.FormValue("app"))
	if id == 0 {
		return nil, &adminclient.Error{Status: http.StatusNotFound, Detail: "there is no such app"}
	}
	return v.api.App(v.r.Context(), id)
}

// phoneView is what the page of one phone shows.
type phoneView struct {
	*adminapi.App
	User, Name, Assets string
}

// phone is the page of one phone, for a window or a device of its own.
func (v *visit) phone() error {
	app, err := v.appAsked()
	if err != nil {
		return err
	}
	view := phoneView{app, v.r.FormValue("user"), v.r.FormValue("name"), phonesPath}
	if view.User == "" {
		http.Redirect(v.w, v.r, tryPath(app.ID), http.StatusSeeOther)
		return nil
	}
	v.render(v.w, v.r, http.StatusOK, "phone", page{Title: visible(view.User), Data: view})
	return nil
}

func tryPath(app uint32) string { return Path + "/try?app=" + strconv.FormatUint(uint64(app), 10) }

// mintToken makes a login token for a phone. It answers a program, so what is
// wrong is a line of text.
func (v *visit) mintToken() error {
	made, err := v.api.CreateToken(v.r.Context(), appNumber(v.r.PostFormValue("app")), v.r.PostFormValue("user"))
	if refusal, ok := errors.AsType[*adminclient.Error](err); ok {
		http.Error(v.w, sentence(refusal.Detail), refusal.Status)
		return nil
	}
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(v.w).Encode(made) // a broken connection is not our business
	return nil
}
