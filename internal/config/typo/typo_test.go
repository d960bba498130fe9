package typo

import "testing"

func TestClosest(t *testing.T) {
	commands := []string{"serve", "dev", "token", "check", "bench", "version"}
	tests := []struct{ word, want string }{
		{"tokn", "token"},
		{"tkoen", "token"},
		{"servers", "serve"},
		{"verison", "version"},
		{"de", "dev"},
		{"chekc", "check"},
		{"x", ""},
		{"", ""},
		{"migrate", ""},
	}
	for _, tt := range tests {
		if got := Closest(tt.word, commands); got != tt.want {
			t.Errorf("Closest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"abc", "xabc", 1},
		{"kitten", "sitting", 3},
	}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
