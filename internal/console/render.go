package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ringback/ringback/internal/adminclient"
	"github.com/ringback/ringback/internal/demo/static"
)

//go:embed templates static
var files embed.FS

// contentTypes are the types of the embedded files. The table of the system
// is not asked: some have another idea of .js, which a browser then refuses.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8",
}

// version changes when an embedded file does, and is part of their URLs.
var version = func() string {
	sum := sha256.New()
	for _, list := range []fs.FS{files, static.Files} {
		err := fs.WalkDir(list, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(list, name)
			sum.Write(data)
			return err
		})
		if err != nil {
			panic("console: " + err.Error()) // the files are in the program
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}()

func serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kind, known := contentTypes[path.Ext(name)]
	if _, err := fs.Stat(files, "static/"+name); err != nil || !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	keep(w, r.URL.Query().Get("v"))
	http.ServeFileFS(w, r, files, "static/"+name)
}

// keep says for how long a browser may keep a file of a version.
func keep(w http.ResponseWriter, asked string) {
	w.Header().Set("Cache-Control", "no-cache")
	if asked == version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
}

// phonesPath is where the program of the phones is. The version is part of the
// path, so that the parts that it imports are of the same one.
var phonesPath = Path + "/phones/" + version

func servePhones(w http.ResponseWriter, r *http.Request) {
	keep(w, r.PathValue("version"))
	static.ServeAsset(w, r, static.Files, r.PathValue("file"))
}

// templates are the pages by name, each with the layout and the parts.
var templates = func() map[string]*template.Template {
	base := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	pages := make(map[string]*template.Template)
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic("console: " + err.Error()) // the pattern is right
	}
	for _, name := range names {
		short := strings.TrimSuffix(path.Base(name), ".html")
		if short != "layout" && short != "parts" {
			pages[short] = template.Must(template.Must(base.Clone()).ParseFS(files, name))
		}
	}
	return pages
}()

// page is what the layout needs to know.
type page struct {
	Title   string
	Section string // of the navigation
	Data    any

	// The rest is filled in.
	Theme, Back, Version string
	SignedIn, Open       bool
	Notices              []notice
}

// render writes a page.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	p.Theme, p.Version, p.Open = theme(r), version, c.API.Open
	p.Back = Path + "/"
	if r.Method == http.MethodGet {
		p.Back = r.URL.RequestURI()
	}
	var b bytes.Buffer
	if err := templates[name].ExecuteTemplate(&b, "layout.html", p); err != nil {
		c.Logger.Error("a page of the console cannot be shown", "page", name, "error", err)
		http.Error(w, "This page cannot be shown. The server's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // a broken connection is not our business
}

// fragment renders a part of a page.
func fragment(name, part string, data any) (string, error) {
	var b strings.Builder
	err := templates[name].ExecuteTemplate(&b, part, data)
	return b.String(), err
}

// show writes a page for who has signed in.
func (v *visit) show(status int, name string, p page) error {
	p.SignedIn, p.Notices = true, v.session.told()
	v.render(v.w, v.r, status, name, p)
	return nil
}

// done goes on to another page, which says what was done.
func (v *visit) done(target, text string, secrets ...shownSecret) error {
	v.session.tell(notice{Good: true, Text: text, Secrets: secrets})
	http.Redirect(v.w, v.r, target, http.StatusSeeOther)
	return nil
}

// refused goes back to a page, which says why the API refused; other errors
// stay.
func (v *visit) refused(target string, err error) error {
	refusal, ok := errors.AsType[*adminclient.Error](err)
	if !ok || refusal.Status >= 500 {
		return err
	}
	v.session.tell(notice{Text: sentence(refusal.Detail)})
	http.Redirect(v.w, v.r, target, http.StatusSeeOther)
	return nil
}

// failure is the data of the page of an error.
type failure struct {
	Status int
	Text   string
}

// errLost is that there is no such page.
var errLost = &adminclient.Error{Status: http.StatusNotFound, Detail: "there is no such page"}

func (v *visit) lost() error { return errLost }

// fail shows what went wrong.
func (v *visit) fail(err error) {
	f := failure{http.StatusInternalServerError, "The server could not do it. Its log says why."}
	var refusal *adminclient.Error
	var large *http.MaxBytesError
	switch {
	case v.r.Context().Err() != nil:
		return // nobody waits for an answer
	case errors.As(err, &refusal):
		f = failure{refusal.Status, sentence(refusal.Detail)}
	case errors.As(err, &large):
		f = failure{http.StatusRequestEntityTooLarge, "That is more than a form may hold."}
	case v.r.Form == nil || errors.As(err, new(url.EscapeError)):
		f = failure{http.StatusBadRequest, "The request cannot be read."}
	default:
		v.Logger.Error("a page of the console failed", "path", v.r.URL.Path, "error", err)
	}
	title := http.StatusText(f.Status)
	if title == "" {
		title = "Error"
	}
	v.show(f.Status, "failure", page{Title: title, Data: f}) // render has dealt with its errors
}

// inBody is how the API names a field of a body.
var inBody = regexp.MustCompile(`\bbody\.(\w)`)

// sentence makes a sentence of what the API says. Where in a body something is
// wrong the form shows by its names.
func sentence(text string) string {
	text = inBody.ReplaceAllString(text, "$1")
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}
