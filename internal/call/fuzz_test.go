package call_test

import "testing"

// taken is a chooser by the bytes of a fuzzed input; when they are used up it
// chooses the first.
type taken struct{ bytes []byte }

func (b *taken) choose(n int) int {
	if len(b.bytes) == 0 {
		return 0
	}
	first := int(b.bytes[0])
	b.bytes = b.bytes[1:]
	return first % n
}

// FuzzSequence reads the input as commands, in the grammar of the property
// tests: whatever they are, nothing panics, and what must be so of every call
// is so.
func FuzzSequence(f *testing.F) {
	f.Add([]byte(nil)) // the seeds in testdata/fuzz have calls that end in every way
	f.Fuzz(func(t *testing.T, input []byte) {
		const most = 2000 // bytes: enough for a hundred commands
		b := &taken{input[:min(len(input), most)]}
		s := &sequence{fatalf: t.Fatalf}
		s.begin(b)
		for len(b.bytes) > 0 {
			s.step(b)
		}
		s.runOut()
	})
}
