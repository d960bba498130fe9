// Package callback is for the business server: it receives the callbacks by
// which Ringback says what became of each call.
//
//	h, err := callback.NewHandler(callback.Options{
//		Secrets: []string{os.Getenv("CALLBACK_SECRET")},
//		OnCallCreate: func(ctx context.Context, m callback.Meta, c *protocol.CallCreate) error {
//			return calls.Started(ctx, c.CallID, c.Caller, c.UserIDs)
//		},
//		OnCallAccept: func(ctx context.Context, m callback.Meta, a *protocol.CallAnswer) error {
//			return calls.Answered(ctx, a.CallID, a.UserID)
//		},
//		OnError: func(r *http.Request, err error) { slog.Warn("callback", "err", err) },
//	})
//	…
//	http.Handle("/callbacks", h)
//
// A [Handler] checks who sent a callback and when, reads it, leaves out what
// was handled before, and calls the handler of its event. JSON and form
// bodies are the same to it. It asks for no configuration beyond the secret,
// and its defaults are the safe ones.
//
// # Answers
//
//	204  handled, now or before; or nobody asked for this event
//	400  the body or a header cannot be read
//	401  not signed, wrongly signed, or not fresh
//	405  not a POST
//	409  the same callback is being handled
//	413  the body is too large
//	415  neither JSON nor a form
//	425  an earlier callback of the call is missing (only under Options.Ordered)
//	500  a handler or the store gave an error
//
// The text of an answer says what to do, and holds neither secrets nor what a
// handler's error says. The server repeats whatever is not 2xx, after 2, 4, 8,
// 16 and 32 s by default, and keeps a delivery that failed for good, so that
// it can be sent again by hand. When a handler panics the callback counts as
// not handled; the panic goes on to net/http.
//
// # Signatures
//
// Each callback carries two signatures. That of Standard Webhooks, in the
// header, covers everything that is acted upon and is required. The SHA-1 one
// of the documented contract, in the body, does not cover the body; it is
// looked at only if [Require] says so. All comparisons take constant time.
// Times more than five minutes from now are refused, so a clock that is kept
// right is needed; an attempt that comes late is signed anew and is fresh.
//
// Those who have a router or a queue of their own use [Verifier] instead of a
// Handler. What Ringback puts into other headers (attempt, sequence, test) no
// signature covers: use TLS.
//
// # Once
//
// Callbacks come at least once: again when an answer was lost, or when
// somebody sends one again by hand. The [Store] remembers, by the webhook-id,
// which were handled, and a repeated one is answered with 204 without calling
// anybody. The default one is in memory. With several processes, or when a
// restart must not lead to a repetition, give one that is backed by a
// database, as in the example.
//
// This leaves one gap: a process that dies, or a store that fails, between
// the handler's success and its being noted. Where a repetition would do harm,
// let the handler write the webhook-id (Meta.ID, under a unique key) in the
// same transaction as its effect, and give nil when it is there already.
//
// # In order
//
// By default handlers are called as callbacks arrive. The server first
// attempts the callbacks of a call in order, but once an attempt has failed,
// the next callback comes before the repetition. A receiver that cannot bear
// that has two ways.
//
// The better one is the setting "ordering: strict" of the endpoint: the
// server then holds the next callback back until the one before it is
// delivered or given up. It survives restarts and serves any number of
// receiver processes.
//
// The other is Options.Ordered, for those who cannot change the endpoint. The
// sequence numbers of a call have no gaps, so the Handler knows what is
// missing. A callback whose predecessor is missing waits a second, then is
// answered with 425, which makes the server repeat it; so nothing is held for
// long, but attempts are used up. A predecessor may never come: it was given
// up, or its handler fails each time. So after 25 s (OrderPatience) the
// callback is let through, and if the missing one comes after all, its
// handler is called with Meta.Late. Callbacks are never lost for the sake of
// order. What that does not do:
//
//   - The numbers that were handled are known in memory. After a restart the
//     next callback of a call that was under way looks as if its predecessors
//     were missing, and is put off for up to 25 s and the pause of its next
//     repetition. Likewise beyond 65,536 calls at a time, when the one that was
//     quiet for longest is forgotten.
//   - It needs all callbacks of a call to come to one process.
//   - The numbers are those of one endpoint. With two endpoints at one Handler
//     they do not fit together.
//   - With a shorter list of repetitions than the default, OrderPatience must
//     be less than their sum, or callbacks behind a gap are given up.
//   - Under overload, with more than 10,000 callbacks ahead of their turn, they
//     are let through.
package callback
