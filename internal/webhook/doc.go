// Package webhook brings callbacks to the customer's business servers: in
// order, durably and signed.
//
// [Callbacks] says which callbacks a transition of a call gives. The engine
// stores them in the transaction of the transition, with one delivery for
// each subscribed endpoint, and after the commit hands them to a [Deliverer],
// which makes the requests and writes down what came of them. What has not
// been written down is repeated after a restart, so a delivery is made at
// least once; webhook-id tells a receiver which are repetitions. What is
// delivered or given up can be delivered again, singly by
// [Deliverer.Redeliver] or in bulk by a [Redeliverer], without delay for what
// happens meanwhile; and each request can be shown as it was, by
// [ShownRequest].
package webhook
