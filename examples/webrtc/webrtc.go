// Package webrtc is an example: a page on which two people ring each other by
// Ringback and then talk from browser to browser. It holds the files of the
// page, which ringback dev serves; its README says how it works.
package webrtc

import "embed"

// Files are index.html, its style and its scripts. They expect the web SDK
// beside them, as ringback.js.
//
//go:embed *.html *.css *.js *.svg
var Files embed.FS
