package console

import (
	"net/http"
	"strconv"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// usersView is the list of the users of an app.
type usersView struct {
	*list[adminapi.User]
	App uint32 // 0: there is no app
}

func (v *visit) users() error {
	l, err := newList[adminapi.User](v, "app", "prefix")
	if err != nil {
		return err
	}
	view := usersView{list: l, App: appNumber(l.Filter("app"))}
	if view.App == 0 && len(l.Apps) > 0 {
		view.App = l.Apps[0].ID
	}
	if view.App != 0 {
		l.Filters.Set("app", strconv.FormatUint(uint64(view.App), 10))
		found, err := v.api.UsersPage(v.r.Context(), view.App, l.Filter("prefix"), v.place())
		if err := l.take(v, found, err); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "users", page{Title: "Users", Section: "users", Data: view})
}

// userView is what the page of a user shows.
type userView struct {
	*adminapi.UserDetail
	App   uint32
	Calls []adminapi.Call
}

func (v *visit) user() error {
	app, id := appNumber(v.r.FormValue("app")), v.r.FormValue("user")
	if app == 0 || id == "" {
		return errLost
	}
	u, err := v.api.User(v.r.Context(), app, id)
	if err != nil {
		return err
	}
	calls, err := v.api.CallsPage(v.r.Context(), adminclient.CallQuery{App: app, User: id}, adminclient.Place{Limit: 10})
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "user", page{Title: "User " + visible(id), Section: "users", Data: userView{u, app, calls.Items}})
}

// kick ends a session of a user, or all.
func (v *visit) kick() error {
	app, id, session := appNumber(v.r.PostFormValue("app")), v.r.PostFormValue("user"), v.r.PostFormValue("session")
	target := string(userLink(app, id))
	if session != "" {
		if err := v.api.KickSession(v.r.Context(), app, id, session); err != nil {
			return v.refused(target, err)
		}
		return v.done(target, "The device has been told, and disconnected.")
	}
	n, err := v.api.KickUser(v.r.Context(), app, id)
	if err != nil {
		return v.refused(target, err)
	}
	return v.done(target, count(n, "device has", "devices have")+" been disconnected.")
}

func (v *visit) audit() error {
	l, err := newList[adminapi.Audit](v)
	if err != nil {
		return err
	}
	found, err := v.api.AuditPage(v.r.Context(), v.place())
	if err := l.take(v, found, err); err != nil {
		return err
	}
	return v.show(http.StatusOK, "audit", page{Title: "Audit log", Section: "audit", Data: l})
}
