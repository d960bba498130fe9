package server

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/serverapi"
)

// TestPagingUnderWrites: what was there at the beginning comes exactly once,
// whatever is written between pages.
func TestPagingUnderWrites(t *testing.T) {
	a := serveAdmin(t, nil)
	c := newCaller(t, a.url)
	n := 0
	write := func() {
		n++
		user := func(prefix string) string { return fmt.Sprintf("%s%03d", prefix, n) }
		c.post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: user("a")}, {UserID: user("z")}}})
		c.post(0, "CallInvite", serverapi.CallInvite{FromUserID: user("a"), UserIDs: []string{user("z")}})
		a.do(http.StatusAccepted, "POST", "/apps/1/trigger", nil)
		a.do(http.StatusCreated, "POST", "/apps", `{}`)
		a.do(http.StatusAccepted, "POST", "/redeliveries", `{"filter":{"call":"7"}}`)
	}
	for range 12 {
		write()
	}
	page[adminapi.App](a, "/apps", write, func(x adminapi.App) any { return x.ID })
	page[adminapi.Delivery](a, "/deliveries", write, func(x adminapi.Delivery) any { return x.ID })
	page[adminapi.Delivery](a, "/deliveries?event=call_create&app=1", write, func(x adminapi.Delivery) any { return x.ID })
	page[adminapi.Call](a, "/calls", write, func(x adminapi.Call) any { return x.CallID })
	page[adminapi.User](a, "/apps/1/users", write, func(x adminapi.User) any { return x.UserID })
	page[adminapi.User](a, "/apps/1/users?prefix=z", write, func(x adminapi.User) any { return x.UserID })
	page[adminapi.Redelivery](a, "/redeliveries", write, func(x adminapi.Redelivery) any { return x.ID })
	page[adminapi.Audit](a, "/audit", write, func(x adminapi.Audit) any { return x.ID })
}

func page[T any](a *admin, path string, write func(), id func(T) any) {
	a.t.Helper()
	join := "?"
	for _, r := range path {
		if r == '?' {
			join = "&"
		}
	}
	there := get[adminapi.Page[T]](a, path+join+"limit=500").Items
	seen := make(map[any]int)
	cursor, pages := "", 0
	for {
		p := get[adminapi.Page[T]](a, path+join+"limit=5&cursor="+cursor)
		if len(p.Items) > 5 {
			a.t.Fatalf("a page of 5 has %d", len(p.Items))
		}
		for _, item := range p.Items {
			seen[id(item)]++
		}
		if pages++; pages < 4 {
			write()
		}
		if cursor = p.Next; cursor == "" {
			break
		}
		if pages > 100 {
			a.t.Fatalf("%s does not end", path)
		}
	}
	for _, item := range there {
		if seen[id(item)] != 1 {
			a.t.Errorf("%s: %v came %d times", path, id(item), seen[id(item)])
		}
	}
	if len(there) < 12 {
		a.t.Errorf("%s has only %d", path, len(there))
	}
}

// TestCursorsOfOtherLists: each list takes its own only.
func TestCursorsOfOtherLists(t *testing.T) {
	a := serveAdmin(t, nil)
	c := newCaller(t, a.url)
	c.post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: "a"}, {UserID: "b"}}})
	for range 2 {
		c.post(0, "CallInvite", serverapi.CallInvite{FromUserID: "a", UserIDs: []string{"b"}})
		a.do(http.StatusCreated, "POST", "/apps", `{}`)
		a.do(http.StatusAccepted, "POST", "/redeliveries", `{"filter":{"call":"7"}}`)
	}
	lists := []string{"/apps", "/deliveries", "/calls", "/apps/1/users", "/redeliveries", "/audit"}
	cursors := make(map[string]string)
	for _, list := range lists {
		cursors[list] = get[adminapi.Page[map[string]any]](a, list+"?limit=1").Next
		if cursors[list] == "" {
			t.Errorf("%s has no second page", list)
		}
	}
	cursors["nobody"], cursors["the feed"] = "x_MQ", get[adminapi.EventPage](a, "/events?limit=1").Cursor
	for _, list := range lists {
		for of, cursor := range cursors {
			if of == list {
				a.do(http.StatusOK, "GET", list+"?limit=1&cursor="+cursor, nil)
				a.refused(http.StatusBadRequest, "GET", list+"?cursor="+cursor+"!", nil, "begin again without one")
				continue
			}
			a.refused(http.StatusBadRequest, "GET", list+"?cursor="+cursor, nil, "the cursor is not one of this list: begin again without one")
		}
	}
}
