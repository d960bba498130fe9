package bench

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress writes a line now and then.
type progress struct {
	w        io.Writer // nil: nothing is written
	terminal bool      // each line takes the place of the one before
}

// every writes what line returns at an interval, until stop is called.
func (p *progress) every(interval time.Duration, line func() string) (stop func()) {
	if p.w == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				if p.terminal {
					fmt.Fprint(p.w, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				if p.terminal {
					fmt.Fprintf(p.w, "\r\x1b[K%s", line())
				} else {
					fmt.Fprintln(p.w, line())
				}
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}
