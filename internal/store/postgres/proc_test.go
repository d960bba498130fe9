package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// procStat are the fields of a process in /proc, from the third on, which
// comes after the program's name; nil: there is none.
type procStat []string

// Places of fields.
const (
	parentProcess = 1
	ownTicks      = 11 // in the program and in the kernel
	childTicks    = 13 // the same of children that have ended
)

func statOf(pid int) procStat {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
}

// microseconds is the processor time at a place, to a hundredth of a second.
func (s procStat) microseconds(b *testing.B, place int) (us float64) {
	b.Helper()
	for _, text := range s[place : place+2] {
		ticks, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.Fatal(err)
		}
		us += ticks * 1e4
	}
	return us
}

// mustStat skips a benchmark whose server is on another machine.
func mustStat(b *testing.B, pid int) procStat {
	b.Helper()
	s := statOf(pid)
	if s == nil {
		b.Skip("the server runs elsewhere")
	}
	return s
}

// serverTime is the processor time in µs that all processes of a server have
// used, of which one is given.
func serverTime(b *testing.B, pid int) (us float64) {
	b.Helper()
	parent := mustStat(b, pid)[parentProcess]
	main, err := strconv.Atoi(parent)
	if err != nil {
		b.Fatal(err)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	all := mustStat(b, main)
	us = all.microseconds(b, ownTicks) + all.microseconds(b, childTicks)
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if s := statOf(pid); s != nil && s[parentProcess] == parent {
			us += s.microseconds(b, ownTicks)
		}
	}
	return us
}
