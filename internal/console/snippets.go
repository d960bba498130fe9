package console

import (
	"embed"
	"strconv"
	"strings"
)

//go:embed snippets
var snippetFiles embed.FS

// snippets is code to copy in a language.
type snippets struct{ Name, Token, Receiver string }

var languages = []struct{ name, extension string }{{"Go", "go"}, {"Node.js", "mjs"}, {"Python", "py"}, {"PHP", "php"}}

// snippetsFor gives code for an app. No secret is in it.
func snippetsFor(app uint32) []snippets {
	read := func(name string) string {
		text, err := snippetFiles.ReadFile("snippets/" + name + ".txt")
		if err != nil {
			panic("console: " + err.Error()) // the files are in the program
		}
		return strings.ReplaceAll(string(text), "APP_ID", strconv.FormatUint(uint64(app), 10))
	}
	var list []snippets
	for _, l := range languages {
		list = append(list, snippets{l.name, read("token." + l.extension), read("receiver." + l.extension)})
	}
	return list
}
