package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

func appPath(id uint32) string { return Path + "/apps/" + strconv.FormatUint(uint64(id), 10) }

// appOf reads the app that the path names.
func (v *visit) appOf() (*adminapi.App, error) {
	id, err := v.number("app")
	if err != nil || id < 1 || id > 1<<32-1 {
		return nil, errLost
	}
	return v.api.App(v.r.Context(), uint32(id))
}

func (v *visit) apps() error {
	apps, err := adminclient.Collect(v.api.Apps(v.r.Context()))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "apps", page{Title: "Apps", Section: "apps", Data: apps})
}

func (v *visit) app() error {
	app, err := v.appOf()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "app", page{Title: appTitle(app), Section: "apps", Data: app})
}

func appTitle(app *adminapi.App) string {
	title := "App " + strconv.FormatUint(uint64(app.ID), 10)
	if app.Name != "" {
		title += ", " + visible(app.Name)
	}
	return title
}

// appForm is a new app as a form has it.
type appForm struct{ ID, Name, LoginPolicy, JoinPolicy, Problem string }

func (v *visit) newApp() error {
	return v.showNewApp(http.StatusOK, appForm{LoginPolicy: "single", JoinPolicy: "anyone"})
}

func (v *visit) showNewApp(status int, f appForm) error {
	return v.show(status, "app-new", page{Title: "New app", Section: "apps", Data: f})
}

func (v *visit) createApp() error {
	f := v.r.PostFormValue
	form := appForm{ID: strings.TrimSpace(f("id")), Name: strings.TrimSpace(f("name")), LoginPolicy: f("login_policy"), JoinPolicy: f("join_policy")}
	if form.ID != "" && appNumber(form.ID) == 0 {
		form.Problem = "The ID must be a number from 1 to 4294967295, or be left out."
		return v.showNewApp(http.StatusUnprocessableEntity, form)
	}
	made, err := v.api.CreateApp(v.r.Context(), adminapi.NewApp{
		ID: appNumber(form.ID), Name: form.Name, LoginPolicy: form.LoginPolicy, JoinPolicy: form.JoinPolicy,
	})
	if refusal, ok := errors.AsType[*adminclient.Error](err); ok && refusal.Status < 500 {
		form.Problem = sentence(refusal.Detail)
		return v.showNewApp(http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return v.done(appPath(made.ID), "The app has been made. Keep its secrets now: they are not shown again.",
		shownSecret{"App secret", "Makes login tokens and signs the server API.", made.Secret},
		shownSecret{"Callback secret", "Signs callbacks; your receiver verifies by it.", made.CallbackSecret})
}

func (v *visit) updateApp() error {
	app, err := v.appOf()
	if err != nil {
		return err
	}
	name, login, join := strings.TrimSpace(v.r.PostFormValue("name")), v.r.PostFormValue("login_policy"), v.r.PostFormValue("join_policy")
	if _, err := v.api.UpdateApp(v.r.Context(), app.ID, adminapi.AppChange{Name: &name, LoginPolicy: &login, JoinPolicy: &join}); err != nil {
		return v.refused(appPath(app.ID), err)
	}
	return v.done(appPath(app.ID), "The app has been changed.")
}

func (v *visit) rotate() error {
	app, err := v.appOf()
	if err != nil {
		return err
	}
	which := v.r.PostFormValue("secret")
	made, err := v.api.Rotate(v.r.Context(), app.ID, adminapi.Rotation{Secret: which, Overlap: v.r.PostFormValue("overlap")})
	if err != nil {
		return v.refused(appPath(app.ID), err)
	}
	name := "App secret"
	if which == "callback" {
		name = "Callback secret"
	}
	note := "The one before does not count any more."
	if made.OverlapUntilMS != 0 {
		note = "The one before counts too, for a while: put this one into place until then."
	}
	return v.done(appPath(app.ID), "There is a new secret. Keep it now: it is not shown again.", shownSecret{name, note, made.Secret})
}

// codeView is what the page with code to copy shows.
type codeView struct {
	*adminapi.App
	Languages []snippets
}

func (v *visit) code() error {
	app, err := v.appOf()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "code", page{Title: "Code for " + strings.ToLower(appTitle(app)[:1]) + appTitle(app)[1:], Section: "apps", Data: codeView{app, snippetsFor(app.ID)}})
}
