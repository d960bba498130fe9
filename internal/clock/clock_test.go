package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check := func(name string, c *Clock, now, machine time.Duration) {
			t.Helper()
			if got := time.Until(c.Now()); got != now {
				t.Errorf("%s: Now is off by %v, want %v", name, got, now)
			}
			if got := time.Until(c.Machine()); got != machine {
				t.Errorf("%s: Machine is off by %v, want %v", name, got, machine)
			}
			if got := c.Until(time.Now().Add(time.Minute)); got != time.Minute-now {
				t.Errorf("%s: Until gives %v, want %v", name, got, time.Minute-now)
			}
			if got := c.Offset(); got != now-machine {
				t.Errorf("%s: Offset is %v, want %v", name, got, now-machine)
			}
		}
		check("nil", nil, 0, 0)
		c := new(Clock)
		check("zero", c, 0, 0)
		c.Adjust(-time.Second)
		check("adjusted", c, -time.Second, 0)
		time.Sleep(time.Hour)
		check("later", c, -time.Second, 0)
		c = Wrong(time.Hour)
		check("wrong", c, time.Hour, time.Hour)
		c.Adjust(-time.Hour)
		check("wrong, adjusted", c, 0, time.Hour)
	})
}
