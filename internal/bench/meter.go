package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// meter says what a server process has used so far: its CPU time, and its
// memory in bytes.
type meter func() (cpu time.Duration, rss int64, err error)

// metersOf makes the meters of the servers: by their process IDs where they
// are given, else by what the servers say of themselves.
func metersOf(cfg *Config) []meter {
	var out []meter
	for _, pid := range cfg.PIDs {
		out = append(out, func() (time.Duration, int64, error) {
			cpu, err1 := cpuTime(pid)
			rss, err2 := residentSize(pid)
			return cpu, rss, errors.Join(err1, err2)
		})
	}
	if len(out) > 0 {
		return out
	}
	for _, url := range cfg.URLs {
		out = append(out, func() (time.Duration, int64, error) { return scrape(url) })
	}
	return out
}

// scrapeTimeout bounds a look at the metrics of a server.
const scrapeTimeout = 5 * time.Second

// scrape reads the metrics of a server's process. The URL is that for clients;
// the metrics are at the same host.
func scrape(url string) (cpu time.Duration, rss int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	if rest, ok := strings.CutPrefix(url, "ws"); ok {
		url = "http" + rest
	}
	target := strings.TrimRight(url, "/") + "/metrics"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s: %s", target, resp.Status)
	}
	values := map[string]float64{"process_cpu_seconds_total": -1, "process_resident_memory_bytes": -1}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if _, wanted := values[name]; wanted {
			if values[name], err = strconv.ParseFloat(text, 64); err != nil {
				return 0, 0, fmt.Errorf("%s: %s: %w", target, name, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", target, err)
	}
	for name, v := range values {
		if v < 0 {
			return 0, 0, fmt.Errorf("%s does not say %s", target, name)
		}
	}
	return time.Duration(values["process_cpu_seconds_total"] * float64(time.Second)), int64(values["process_resident_memory_bytes"]), nil
}

// reading is what all servers have used, in sum.
type reading struct {
	cpu time.Duration
	rss int64
}

// read reads the meters. When one fails the servers are not measured, from
// then on, and the report says why.
func (b *run) read() reading {
	b.metering.Lock()
	defer b.metering.Unlock()
	var sum reading
	for _, m := range b.meters {
		cpu, rss, err := m()
		if err != nil {
			b.meters, b.unmetered = nil, err
			return reading{}
		}
		sum.cpu += cpu
		sum.rss += rss
	}
	return sum
}
