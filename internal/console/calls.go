package console

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// listLength is how many things a page of a list shows.
const listLength = 50

// list is a page of a list with its filters.
type list[T any] struct {
	Items   []T
	Next    string // URL of the next page; "": there is none
	First   string // URL of the first page, unless this is it
	Here    string // URL of this page
	Filters url.Values
	Narrow  bool // something is filtered
	Problem string
	Apps    []adminapi.App
}

// Filter is the value of a filter.
func (l *list[T]) Filter(name string) string { return l.Filters.Get(name) }

// newList reads the filters of a list from the URL.
func newList[T any](v *visit, filters ...string) (*list[T], error) {
	l := &list[T]{Filters: url.Values{}, Here: v.r.URL.RequestURI()}
	for _, name := range filters {
		if value := strings.TrimSpace(v.r.FormValue(name)); value != "" {
			l.Filters.Set(name, value)
			l.Narrow = true
		}
	}
	if v.r.Header.Get("HX-Trigger") == "filters" { // without the filters that are empty
		v.w.Header().Set("HX-Push-Url", strings.TrimSuffix(v.r.URL.Path+"?"+l.Filters.Encode(), "?"))
	}
	if v.r.FormValue("cursor") != "" {
		l.First = v.r.URL.Path + "?" + l.Filters.Encode()
	}
	var err error
	l.Apps, err = adminclient.Collect(v.api.Apps(v.r.Context()))
	return l, err
}

// take takes what the API gave.
func (l *list[T]) take(v *visit, page *adminapi.Page[T], err error) error {
	if refusal, ok := errors.AsType[*adminclient.Error](err); ok && refusal.Status < 500 {
		l.Problem = sentence(refusal.Detail)
		return nil
	}
	if err != nil {
		return err
	}
	l.Items = page.Items
	if page.Next != "" {
		next := url.Values{"cursor": {page.Next}}
		for name, values := range l.Filters {
			next[name] = values
		}
		l.Next = v.r.URL.Path + "?" + next.Encode()
	}
	return nil
}

// place is where the page that was asked for begins.
func (v *visit) place() adminclient.Place {
	return adminclient.Place{Cursor: v.r.FormValue("cursor"), Limit: listLength}
}

// appNumber reads the ID of an app; 0 is any, and what is no number is none.
func appNumber(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func (v *visit) calls() error {
	if id := strings.TrimSpace(v.r.FormValue("call")); id != "" {
		http.Redirect(v.w, v.r, Path+"/calls/"+url.PathEscape(id), http.StatusSeeOther)
		return nil
	}
	l, err := newList[adminapi.Call](v, "app", "user", "state", "outcome", "from", "until")
	if err != nil {
		return err
	}
	if l.Filter("user") != "" && l.Filter("app") == "" && len(l.Apps) == 1 {
		l.Filters.Set("app", strconv.FormatUint(uint64(l.Apps[0].ID), 10)) // there is no other
	}
	q := adminclient.CallQuery{
		App: appNumber(l.Filter("app")), User: l.Filter("user"), State: l.Filter("state"), Outcome: l.Filter("outcome"),
		From: l.Filter("from"), Until: l.Filter("until"),
	}
	page1, err := v.api.CallsPage(v.r.Context(), q, v.place())
	if err := l.take(v, page1, err); err != nil {
		return err
	}
	return v.show(http.StatusOK, "calls", page{Title: "Calls", Section: "calls", Data: l})
}

// callView is what the page of a call shows.
type callView struct {
	*adminapi.CallDetail
	Picture picture
	Users   []string
	Busy    bool // it lives, or callbacks are on their way
	Here    string
}

func (v *visit) call() error {
	detail, err := v.api.Call(v.r.Context(), v.r.PathValue("call"))
	if err != nil {
		return err
	}
	view := callView{CallDetail: detail, Picture: draw(detail), Busy: detail.State == "live", Here: v.r.URL.RequestURI()}
	for _, u := range detail.Call.Users {
		view.Users = append(view.Users, u.UserID)
	}
	for _, d := range detail.Deliveries {
		view.Busy = view.Busy || d.Status == "pending"
	}
	return v.show(http.StatusOK, "call", page{Title: "Call " + detail.CallID, Section: "calls", Data: view})
}

func (v *visit) redeliverCall() error {
	id := v.r.PathValue("call")
	target := Path + "/calls/" + url.PathEscape(id)
	made, err := v.api.RedeliverCall(v.r.Context(), id, 0)
	if err != nil {
		return v.refused(target, err)
	}
	return v.done(target, count(len(made), "callback is", "callbacks are")+" on the way once more.")
}

// jump finds what somebody typed: the ID of a call or a delivery, or a user.
func (v *visit) jump() error {
	text := strings.TrimSpace(v.r.FormValue("q"))
	to := func(target string) error {
		http.Redirect(v.w, v.r, target, http.StatusSeeOther)
		return nil
	}
	if text == "" {
		return to(Path + "/calls")
	}
	if strings.HasPrefix(text, "dlv_") {
		return to(Path + "/callbacks/" + url.PathEscape(text))
	}
	ctx := v.r.Context()
	if strings.Trim(text, "0123456789") == "" {
		if _, err := v.api.Call(ctx, text); err == nil {
			return to(Path + "/calls/" + text)
		}
	}
	apps, err := adminclient.Collect(v.api.Apps(ctx))
	if err != nil {
		return err
	}
	var found []foundUser
	for _, app := range apps[:min(len(apps), 50)] {
		users, err := v.api.UsersPage(ctx, app.ID, text, adminclient.Place{Limit: 10})
		if err != nil {
			return err
		}
		for _, u := range users.Items {
			found = append(found, foundUser{app.ID, u})
		}
	}
	if len(found) == 1 {
		return to(string(userLink(found[0].App, found[0].UserID)))
	}
	return v.show(http.StatusOK, "found", page{Title: "Search", Data: struct {
		Query string
		Users []foundUser
	}{text, found}})
}

// foundUser is a user with his app.
type foundUser struct {
	App uint32
	adminapi.User
}
