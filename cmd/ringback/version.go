package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is set by releases: -ldflags "-X main.version=v1.2.3".
var version string

// versionReport is what version prints as JSON.
type versionReport struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // "" when it is not known
	Modified bool   `json:"modified"` // there were changes beside the commit
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// newVersionCommand prints the version.
func newVersionCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "print the version",
		Long:    "Prints the version of this program, and of what it was built from and with.",
		Example: "  ringback version\n  ringback version --json",
		Args:    flagsOnly,
	}
	out := newOutput(e, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		info := buildInfo()
		commit, modified := revision(info)
		report := versionReport{versionText(), commit, modified, runtime.Version(), runtime.GOOS, runtime.GOARCH}
		return out.print(report, func(p *printer) error {
			return p.printf("ringback %s\n", describe(version, info))
		})
	}
	return cmd
}

// buildInfo is what the program knows of its build.
func buildInfo() *debug.BuildInfo {
	info, _ := debug.ReadBuildInfo()
	return info
}

// revision is the commit that was built, "" when it is not known, and whether
// there were changes beside it.
func revision(info *debug.BuildInfo) (commit string, modified bool) {
	if info == nil {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}

// versionText is the version alone.
func versionText() string {
	name, _, _ := strings.Cut(describe(version, buildInfo()), " ")
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
	if commit, modified := revision(info); commit != "" {
		commit = commit[:min(len(commit), 12)]
		if modified {
			commit += " with changes"
		}
		details = append(details, "commit "+commit)
	}
	details = append(details, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return fmt.Sprintf("%s (%s)", name, strings.Join(details, ", "))
}
