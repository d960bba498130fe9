// Package history holds the record of a fault test, and the checker that says
// in what the record shows the promises of Ringback broken.
//
// The record has what every device sent and was told, what the receiver of
// callbacks got, which faults there were, and what the store held when the
// dust had settled. Whoever drives the load writes it, see [Log]; [Check] reads
// it. The checker knows the public contract alone: it shares no code with the
// server, and has its own small model of what may become of a call.
package history
