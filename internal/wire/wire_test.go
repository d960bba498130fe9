package wire

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

type part struct {
	A, B int
}

func (p *part) values(f *Form) {
	Int(f, &p.A)
	Int(f, &p.B)
}

// now is what a version of today sends.
type now struct {
	Name  string
	Count uint64
	Data  []byte
	Parts []part
	Texts []string
	Whole map[int64]int
	One   *part
	Set   bool
}

func (n *now) values(f *Form) {
	Text(f, &n.Name)
	Uint(f, &n.Count)
	Data(f, &n.Data)
	Objects(f, &n.Parts, (*part).values)
	List(f, &n.Texts, Text)
	Counts(f, &n.Whole)
	Object(f, &n.One, (*part).values)
	Flag(f, &n.Set)
}

// nextPart and next are those of the version that follows.
type nextPart struct {
	part
	C []string
}

func (p *nextPart) values(f *Form) {
	p.part.values(f)
	List(f, &p.C, Text)
}

type next struct {
	now
	Parts []nextPart
	New   *part
	More  []part
	Small uint32
	Count map[int64]int
}

func (n *next) values(f *Form) {
	Text(f, &n.Name)
	Uint(f, &n.now.Count)
	Data(f, &n.Data)
	Objects(f, &n.Parts, (*nextPart).values)
	List(f, &n.Texts, Text)
	Counts(f, &n.Whole)
	Object(f, &n.One, (*part).values)
	Flag(f, &n.Set)
	Object(f, &n.New, (*part).values)
	Objects(f, &n.More, (*part).values)
	Uint(f, &n.Small)
	Counts(f, &n.Count)
}

func today() now {
	return now{
		Name: "ringing 🔔", Count: math.MaxUint64, Data: []byte{0, 255}, Parts: []part{{1, math.MinInt64}, {math.MaxInt64, -1}},
		Texts: []string{"", strings.Repeat("x", 300)}, Whole: map[int64]int{-1: 2, 3: 0}, One: &part{}, Set: true,
	}
}

// TestNeighbours says that versions understand what both know.
func TestNeighbours(t *testing.T) {
	old := today()
	var read next
	data := Encode(&old, (*now).values)
	if err := Decode(data, &read, (*next).values); err != nil {
		t.Fatal(err)
	}
	clear(data) // nothing of it is kept
	want := next{now: old, Parts: []nextPart{{part: old.Parts[0]}, {part: old.Parts[1]}}}
	if want.now.Parts = nil; !reflect.DeepEqual(read, want) {
		t.Errorf("got %+v, want %+v", read, want)
	}
	read.Parts[0].C = []string{"c", "d"}
	read.New, read.More, read.Small, read.Count = &part{1, 2}, []part{{3, 4}}, 5, map[int64]int{6: 7}
	var back now
	if err := Decode(Encode(&read, (*next).values), &back, (*now).values); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, old) {
		t.Errorf("got %+v, want %+v", back, old)
	}
}

// TestMessagePack says that what is written is MessagePack.
func TestMessagePack(t *testing.T) {
	old := today()
	old.Whole = nil // the library reads no maps whose keys are numbers
	v, rest, err := msgp.ReadIntfBytes(Encode(&old, (*now).values))
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes are left, %v", len(rest), err)
	}
	if list, _ := v.([]any); len(list) != 8 || list[0] != old.Name || list[1] != old.Count || list[7] != true {
		t.Errorf("it is %v", v)
	}
}

// TestGarbage says that what is no message gives an error.
func TestGarbage(t *testing.T) {
	old := today()
	whole := Encode(&old, (*now).values)
	wide := msgp.AppendUint64(msgp.AppendArrayHeader(nil, 1), 1<<32)
	if err := Decode(wide, new(uint32), func(v *uint32, f *Form) { Uint(f, v) }); err == nil {
		t.Error("a number is cut off")
	}
	cases := map[string][]byte{
		"nothing":      nil,
		"with a tail":  append(bytes.Clone(whole), 0),
		"JSON":         []byte(`["x"]`),
		"another kind": msgp.AppendString(nil, "text"),
		"a map":        msgp.AppendMapHeader(nil, 0),
		"a number":     msgp.AppendInt(msgp.AppendArrayHeader(nil, 1), 1), // where text should be
		"endless":      bytes.Repeat([]byte{0x91}, 1000),
		"much":         {0xdd, 0xff, 0xff, 0xff, 0xff},
		"much in it":   append(bytes.Clone(whole[:bytes.Index(whole, []byte{0, 255})+2]), 0xdd, 0xff, 0xff, 0xff, 0xff),
	}
	for i := range whole {
		cases["cut off after "+string(whole[:i])] = whole[:i]
	}
	for name, data := range cases {
		var read now
		if err := Decode(data, &read, (*now).values); err == nil {
			t.Errorf("%q is read as %+v", name, read)
		}
	}
}

// FuzzDecode says that whatever comes gives a message or an error, and that
// such a message is written and read as it is.
func FuzzDecode(f *testing.F) {
	old := today()
	f.Add(Encode(&old, (*now).values))
	f.Add([]byte(`{"n":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var read, again now
		if Decode(data, &read, (*now).values) != nil {
			return
		}
		if err := Decode(Encode(&read, (*now).values), &again, (*now).values); err != nil || !reflect.DeepEqual(again, read) {
			t.Errorf("%+v is read as %+v, %v", read, again, err)
		}
	})
}
