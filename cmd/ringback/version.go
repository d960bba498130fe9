package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by releases: -ldflags "-X main.version=v1.2.3".
var version string

// runVersion prints the version.
func runVersion(_ context.Context, args, _ []string, stdout, _ io.Writer) error {
	fs := newFlags("version", "", "Prints the version of this program, and of what it was built from and with.")
	if done, err := parse(fs, args, stdout); done || err != nil {
		return err
	}
	info, _ := debug.ReadBuildInfo()
	_, err := fmt.Fprintf(stdout, "ringback %s\n", describe(version, info))
	return err
}

// versionText is the version alone.
func versionText() string {
	info, _ := debug.ReadBuildInfo()
	name, _, _ := strings.Cut(describe(version, info), " ")
	return name
}

// describe returns the version of a release, or else that in the build
// information, which may be nil, and the commit, the Go version and the
// platform.
func describe(release string, info *debug.BuildInfo) string {
	if info == nil {
		info = new(debug.BuildInfo)
	}
	name := release
	if name == "" {
		name = info.Main.Version
	}
	if name == "" || name == "(devel)" {
		name = "devel"
	}
	var details []string
	setting := make(map[string]string)
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	if commit := setting["vcs.revision"]; commit != "" {
		commit = commit[:min(len(commit), 12)]
		if setting["vcs.modified"] == "true" {
			commit += " with changes"
		}
		details = append(details, "commit "+commit)
	}
	details = append(details, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return fmt.Sprintf("%s (%s)", name, strings.Join(details, ", "))
}
