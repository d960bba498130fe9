package call_test

import (
	"testing"

	"github.com/ringback/ringback/internal/call"
)

func TestOutcome(t *testing.T) {
	type step = []call.Command
	tests := []struct {
		name  string
		mode  call.Mode
		steps step
		want  call.Outcome
	}{
		{"it rings", call.General, nil, ""},
		{"somebody is in it", call.Advanced, step{accepts("bob-1")}, ""},
		{"accepted, then rejected", call.General, step{accepts("bob-1"), rejects("carol-1")}, call.OutcomeAccepted},
		{"accepted and timed out", call.General, step{accepts("bob-1"), call.Expire{}}, call.OutcomeAccepted},
		{"joined unasked, then ended", call.Advanced, step{joins("dave-1"), ends("alice-1")}, call.OutcomeAccepted},
		{"cancelled", call.General, step{cancels("alice-1", "")}, call.OutcomeCancelled},
		{"rejected, the rest cancelled", call.General, step{rejects("bob-1"), cancels("alice-1", "carol")}, call.OutcomeCancelled},
		{"the caller was gone", call.General, step{call.CallerGone{}}, call.OutcomeCallerLeft},
		{"ended while it rang", call.Advanced, step{ends("alice-1")}, call.OutcomeEnded},
		{"the caller quit while it rang", call.Advanced, step{quits("alice-1")}, call.OutcomeEnded},
		{"rang out", call.General, step{call.Expire{}}, call.OutcomeTimeout},
		{"one declined, one let it ring", call.General, step{rejects("bob-1"), call.Expire{}}, call.OutcomeTimeout},
		{"all declined", call.Advanced, step{rejects("bob-1"), rejects("carol-1")}, call.OutcomeRejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := begin(t, tt.mode, "bob carol").at(ringTime - 1)
			for _, cmd := range tt.steps {
				if _, ok := cmd.(call.Expire); ok {
					s.at(ringTime)
				}
				s.do(cmd)
			}
			if got := s.c.Outcome(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
