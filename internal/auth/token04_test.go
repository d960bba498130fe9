package auth

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/binary"
	"testing"
	"time"
)

// packed04 is the binary part of a valid token.
func packed04(t testing.TB, token string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(token[len(prefix04):])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func token04Of(raw []byte) string { return prefix04 + base64.StdEncoding.EncodeToString(raw) }

// TestHeaderOnlyShortens: the expiry of the header is not authenticated.
func TestHeaderOnlyShortens(t *testing.T) {
	tests := []struct {
		header int64
		want   error
	}{
		{1700003600 + 1<<40, nil},
		{1<<63 - 1, nil},
		{1700000040, nil},
		{1700000010, ErrTooShort},
		{1700000000, ErrExpired},
		{0, ErrExpired},
		{-1 << 63, ErrExpired},
	}
	for _, token := range []string{foreignCBC, foreignGCM} {
		for _, tt := range tests {
			raw := packed04(t, token)
			binary.BigEndian.PutUint64(raw, uint64(tt.header))
			expires, err := Verify(token04Of(raw), 1, "alice", testSecret, testNow)
			if err != tt.want {
				t.Errorf("header %d: %v, want %v", tt.header, err, tt.want)
			}
			if want := min(tt.header, 1700003600); err == nil && expires.Unix() != want {
				t.Errorf("header %d: expires %d, want %d", tt.header, expires.Unix(), want)
			}
		}
	}
}

// TestSpoiled flips each bit behind the header of valid tokens, and cuts them
// at each length.
func TestSpoiled(t *testing.T) {
	for name, token := range map[string]string{"CBC": foreignCBC, "GCM": foreignGCM} {
		raw := packed04(t, token)
		for i := 8; i < len(raw); i++ {
			for bit := range 8 {
				spoiled := bytes.Clone(raw)
				spoiled[i] ^= 1 << bit
				if _, err := Verify(token04Of(spoiled), 1, "alice", testSecret, testNow); err != ErrInvalid {
					t.Errorf("%s: bit %d of byte %d flipped: %v, want the very ErrInvalid", name, bit, i, err)
				}
			}
		}
		for n := range len(raw) {
			if _, err := Verify(token04Of(raw[:n]), 1, "alice", testSecret, testNow); err != ErrInvalid {
				t.Errorf("%s: cut to %d bytes: %v, want ErrInvalid", name, n, err)
			}
		}
		for _, tail := range []string{"\x00\x00", "\x01\x00", "\x02", "\xff"} {
			if _, err := Verify(token04Of(append(bytes.Clone(raw), tail...)), 1, "alice", testSecret, testNow); err != ErrInvalid {
				t.Errorf("%s with tail %q: %v, want ErrInvalid", name, tail, err)
			}
		}
	}
	if _, err := Verify(token04Of(append(packed04(t, foreignCBC), modeCBC)), 1, "alice", testSecret, testNow); err != nil {
		t.Errorf("CBC with its mode written: %v", err)
	}
}

func TestUnpad(t *testing.T) {
	text := bytes.Repeat([]byte{'x'}, 2*aes.BlockSize)
	for pad := range 256 {
		padded := bytes.Clone(text)
		for i := range min(pad, aes.BlockSize) {
			padded[len(padded)-1-i] = byte(pad)
		}
		if pad == 0 {
			padded[len(padded)-1] = 0
		}
		plain, good := unpad(padded)
		want, wantLen := 0, len(text)-1
		if 1 <= pad && pad <= aes.BlockSize {
			want, wantLen = 1, len(text)-pad
		}
		if good != want || len(plain) != wantLen {
			t.Errorf("padding of %d: good %d, %d bytes left; want %d, %d", pad, good, len(plain), want, wantLen)
		}
		if want == 1 && pad > 1 {
			padded[len(padded)-pad] ^= 1
			if _, good := unpad(padded); good != 0 {
				t.Errorf("padding of %d with a wrong first byte taken", pad)
			}
		}
	}
}

func TestTokensDiffer(t *testing.T) {
	first, err := NewToken04(1, "alice", testSecret, testNow, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewToken04(1, "alice", testSecret, testNow, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("two tokens have the same IV")
	}
}

// BenchmarkRefuse shows that wrong padding and wrong JSON take the same time.
func BenchmarkRefuse(b *testing.B) {
	badJSON, err := sealText04(bytes.Repeat([]byte{0xa5}, 110), 1700003600, testSecret, [16]byte{})
	if err != nil {
		b.Fatal(err)
	}
	raw := packed04(b, badJSON)
	raw[len(raw)-17] ^= 0x40 // changes the last byte of the padding
	for _, bm := range []struct{ name, token string }{{"json", badJSON}, {"padding", token04Of(raw)}} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Verify(bm.token, 1, "alice", testSecret, testNow); err != ErrInvalid {
					b.Fatal(err)
				}
			}
		})
	}
}
