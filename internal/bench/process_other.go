//go:build !linux

package bench

import (
	"errors"
	"os/exec"
	"time"
)

var errNotLinux = errors.New("processes are only measured on Linux")

func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }

func residentSize(int) (int64, error) { return 0, errNotLinux }

func tether(*exec.Cmd) {}

func inMemory(string) bool { return false }

func alarmClock() (release func()) { return func() {} }

func sleep(d time.Duration) { time.Sleep(d) }
