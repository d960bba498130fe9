package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ringback/ringback/internal/adminapi"
)

const themeCookie = "ringback_theme"

// askToSignIn sends who has not signed in to where that is done.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request) {
	target := Path + "/sign-in"
	if r.Method == http.MethodGet && r.URL.Path != Path+"/live" {
		target += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	if r.Header.Get("HX-Request") != "" || r.URL.Path == Path+"/live" { // a redirect would be followed unseen
		if current, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil && current.Path != "" {
			target = Path + "/sign-in?next=" + url.QueryEscape(current.RequestURI())
		}
		w.Header().Set("HX-Redirect", target)
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// local gives a path within the console; what is none becomes its first page.
func local(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, Path+"/") || strings.ContainsAny(target, "\\\r\n") {
		return Path + "/"
	}
	return u.RequestURI()
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	next := local(r.FormValue("next"))
	if c.API.Open || c.sessions.of(r) != nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	c.render(w, r, http.StatusOK, "sign-in", page{Title: "Sign in", Data: signInData{Next: next}})
}

type signInData struct{ Next, Problem string }

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	next := local(r.FormValue("next"))
	err := c.API.Admit(r, r.PostFormValue("token"))
	if refused, ok := errors.AsType[*adminapi.RefusedError](err); ok {
		problem := "That is not the admin token of this server."
		if refused.Status == http.StatusTooManyRequests {
			problem = "Too many wrong tokens came from your address. Wait a minute, then try again."
			w.Header().Set("Retry-After", "60")
		}
		c.render(w, r, refused.Status, "sign-in", page{Title: "Sign in", Data: signInData{Next: next, Problem: problem}})
		return
	}
	if s := c.sessions.of(r); s != nil {
		c.sessions.end(s)
	}
	c.sessions.begin(w, r)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (v *visit) signOut() error {
	v.sessions.end(v.session)
	http.SetCookie(v.w, &http.Cookie{Name: sessionCookie, Path: Path + "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	v.w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(v.w, v.r, Path+"/sign-in", http.StatusSeeOther)
	return nil
}

// setTheme keeps how the pages are to look.
func setTheme(w http.ResponseWriter, r *http.Request) {
	theme := r.PostFormValue("theme")
	cookie := &http.Cookie{Name: themeCookie, Value: theme, Path: Path + "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: overTLS(r)}
	if theme != "light" && theme != "dark" {
		cookie.Value, cookie.MaxAge = "", -1
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, local(r.PostFormValue("back")), http.StatusSeeOther)
}

// theme is what a request's cookie says of how the pages are to look; "": as
// the system does.
func theme(r *http.Request) string {
	cookie, err := r.Cookie(themeCookie)
	if err != nil || cookie.Value != "light" && cookie.Value != "dark" {
		return ""
	}
	return cookie.Value
}
