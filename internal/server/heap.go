package server

import (
	"os"
	"runtime"
	"runtime/debug"
	rtmetrics "runtime/metrics"
)

// heapFloor is the size, in bytes, to which the heap may grow before it is
// collected. A server with few connections has a live heap of a few MiB; to
// collect whenever that has doubled, as is the default, would be to collect
// many times a second under load, for memory that nobody misses.
const heapFloor = 32 << 20

// maxPercent is where the collector's own least heap, 4 MiB for 100 %, reaches
// heapFloor.
const maxPercent = heapFloor / (4 << 20) * 100

// raiseHeapFloor has the collector let the heap grow to heapFloor, and beyond
// that to twice what is live, as usual. It leaves a GOGC of the operator alone.
func raiseHeapFloor() {
	if os.Getenv("GOGC") != "" {
		return
	}
	current := debug.SetGCPercent(100)
	live := []rtmetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var adjust func(struct{})
	adjust = func(struct{}) {
		rtmetrics.Read(live)
		percent := 100
		if n := int(live[0].Value.Uint64()); n > 0 && n < heapFloor/2 {
			percent = min((heapFloor-n)*100/n, maxPercent)
		}
		if percent*10 > current*12 || percent*12 < current*10 { // it stops the world, so not for a trifle
			current = percent
			debug.SetGCPercent(percent)
		}
		// The next collection takes this object, and so adjusts again.
		runtime.AddCleanup(new([16]byte), adjust, struct{}{})
	}
	adjust(struct{}{})
}
