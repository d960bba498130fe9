package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// TestNeighbours says that versions understand what both know.
func TestNeighbours(t *testing.T) {
	type one struct {
		Name  string              `cbor:"n"`
		Count uint64              `cbor:"c,omitempty"`
		Data  []byte              `cbor:"d,omitempty"`
		Parts map[int64]int       `cbor:"p,omitempty"`
		Old   *struct{ A, B int } `cbor:"o,omitempty"`
	}
	type next struct {
		Name  string               `cbor:"n"`
		Count uint64               `cbor:"c,omitempty"`
		Data  []byte               `cbor:"d,omitempty"`
		Parts map[int64]int        `cbor:"p,omitempty"`
		New   []struct{ C string } `cbor:"w,omitempty"`
	}
	old := one{Name: "ringing 🔔", Count: 1<<64 - 1, Data: []byte{0, 255}, Parts: map[int64]int{-1: 2}, Old: &struct{ A, B int }{1, 2}}
	var read next
	if err := Decode(Encode(old), &read); err != nil {
		t.Fatal(err)
	}
	want := next{Name: old.Name, Count: old.Count, Data: old.Data, Parts: old.Parts}
	if !reflect.DeepEqual(read, want) {
		t.Errorf("got %+v, want %+v", read, want)
	}
	read.New = []struct{ C string }{{"c"}}
	var back one
	if err := Decode(Encode(read), &back); err != nil {
		t.Fatal(err)
	}
	if old.Old = nil; !reflect.DeepEqual(back, old) {
		t.Errorf("got %+v, want %+v", back, old)
	}
}

// TestGarbage says that what is no message gives an error.
func TestGarbage(t *testing.T) {
	whole := Encode(map[string]string{"n": strings.Repeat("x", 100)})
	for name, data := range map[string][]byte{
		"nothing":      nil,
		"cut off":      whole[:50],
		"with a tail":  append(bytes.Clone(whole), 0),
		"JSON":         []byte(`{"n":"x"}`),
		"another kind": Encode("text"),
		"endless":      bytes.Repeat([]byte{0x9f}, 1000),
	} {
		var read struct {
			Name string `cbor:"n"`
		}
		if err := Decode(data, &read); err == nil {
			t.Errorf("%s is read as %+v", name, read)
		}
	}
}
