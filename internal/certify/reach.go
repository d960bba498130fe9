package certify

import (
	"fmt"
	"net/http"
)

// reach finds out whether there is anything to be tested.
func (r *run) reach() {
	r.check("reach", "there is an answer", func(c *Check) {
		cb, sequence := r.basic(newCall())
		ex := r.send(c, r.message(cb, sequence), "a "+cb.Name)
		switch {
		case ex.Error == "":
		case ex.timedOut:
			c.judge(Fail, ex.Error, "the attempt counts as failed and is made again, and meanwhile later callbacks of the call wait for its end",
				"take the callback, answer at once, and work on it afterwards; if nothing arrives there, look for a firewall")
		default:
			c.judge(Fail, ex.Error, "no callback can arrive", "check host, port and path of the URL, that the receiver runs, and its certificate")
		}
		if c.Result == Fail {
			r.stopped = "the receiver could not be reached"
		}
	})
	r.check("redirect", "the URL leads to the receiver without a redirect", func(c *Check) {
		cb, sequence := r.basic(newCall())
		ex := r.send(c, r.message(cb, sequence), "a "+cb.Name)
		if ex.Error == "" && ex.Status/100 == 3 {
			c.judge(Fail, "it was answered with: "+ex.outcome(), "redirects are not followed: the attempt counts as failed",
				"configure the URL to which it leads as that of the endpoint")
			r.stopped = "the receiver redirects"
		}
	})
}

// http makes the checks that are about requests as such.
func (r *run) http() {
	r.check("http/method", "what is not a POST is refused", func(c *Check) {
		ex := r.post(c, http.MethodGet, http.Header{"User-Agent": {"Ringback/" + r.cfg.Version}}, nil, "a GET without anything")
		c.mustBeRefused(ex, Warn, "callbacks are POSTs: a receiver that takes others may take what a link in a browser sends for a callback",
			"answer 405 to other methods")
	})
	r.check("http/keep-alive", "connections stay open for the next callback", func(c *Check) {
		for _, what := range []string{"a callback", "another one, after the answer to the first"} {
			cb, sequence := r.basic(newCall())
			if ex := r.send(c, r.message(cb, sequence), what); ex.Error != "" {
				c.judge(Fail, ex.Error, "the attempt counts as failed", "find out why the receiver did not answer")
				return
			}
		}
		if !c.Exchanges[1].reused {
			c.judge(Warn, "it took a new connection", "connecting anew for each callback, above all with TLS, costs both sides time and under load ports",
				"do not answer with Connection: close; leave idle connections open for 30 s or longer; answer with at most 64 KiB")
		}
	})
	r.check("http/time", fmt.Sprintf("answers come within %v", slowAfter), func(c *Check) {
		took := r.slowest
		const why = "callbacks of a call come one after the other, so a slow answer delays all that follow; after the timeout it is an attempt that failed"
		const fix = "store the callback, answer, and work on it afterwards"
		switch {
		case took >= r.cfg.Timeout:
			c.judge(Fail, fmt.Sprintf("%s had no complete answer within %v", r.slow, r.cfg.Timeout), why, fix)
		case took > slowAfter:
			c.judge(Warn, fmt.Sprintf("%s was answered after %.1f s", r.slow, took.Seconds()), why, fix)
		}
	})
}
