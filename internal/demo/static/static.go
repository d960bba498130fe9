// Package static holds the phones: programs for browsers on the web SDK, and
// the pages of `ringback dev` around them. The console serves the phones too.
package static

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
)

// files has the web SDK too, as the file that its build gives.
//
//go:generate cp ../../../sdk/web/dist/ringback.js ringback.js
//go:embed *.css *.html *.js *.svg
var files embed.FS

// Files are all of them, in one directory.
var Files fs.FS = files

// contentTypes are those of the files that pages are made of. The table of the
// system is not asked: some have another idea of .js, which a browser then
// refuses.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// ServeAsset answers with a script, style or picture of a directory, such as
// Files; pages are none of them.
func ServeAsset(w http.ResponseWriter, r *http.Request, files fs.FS, name string) {
	kind, ok := contentTypes[path.Ext(name)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	http.ServeFileFS(w, r, files, name)
}
