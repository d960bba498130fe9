// Package wire is the form of what nodes tell each other: MessagePack, in
// arrays of values whose place says what they are. So that nodes of
// neighbouring versions understand what both know, a new value takes the last
// place, and one that is no longer used keeps its own: what a reader does not
// know is passed over, what the writer did not know stays zero.
//
// A type has one function that goes through its values in their order, for
// writing and for reading.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/tinylib/msgp/msgp"
)

const (
	// sizeHint is the room in bytes that a message begins with; most need no
	// more.
	sizeHint = 768
	// arrayHeader begins an array with a size of 16 bits, the array 16 of the
	// MessagePack specification.
	arrayHeader = 0xdc
)

// Form is a message that is being written or read.
type Form struct {
	reading bool
	data    []byte // written, or still to be read
	values  int    // of the array passed through: written, or still to be read
	err     error  // of reading; then nothing is left to be read
}

// Encode writes what v points to.
func Encode[T any](v *T, values func(*T, *Form)) []byte {
	f := Form{data: make([]byte, 0, sizeHint)}
	write(&f, v, values)
	return f.data
}

// Decode reads into what v points to, which must be zero. The data may be
// anything; nothing of it is kept.
func Decode[T any](data []byte, v *T, values func(*T, *Form)) error {
	f := Form{reading: true, data: data}
	read(&f, v, values)
	if f.err == nil && len(f.data) > 0 {
		f.err = fmt.Errorf("%d bytes too many", len(f.data))
	}
	if f.err != nil {
		return fmt.Errorf("message of another node: %w", f.err)
	}
	return nil
}

// Reading reports whether values are set to what is read, not written.
func (f *Form) Reading() bool { return f.reading }

// Text is a value of text.
func Text[T ~string](f *Form, v *T) {
	if f.next() {
		text, rest, err := msgp.ReadStringBytes(f.data)
		*v = T(text)
		f.took(rest, err)
	} else if !f.reading {
		f.data = msgp.AppendString(f.data, string(*v))
	}
}

// Int is a whole number.
func Int[T ~int | ~int64](f *Form, v *T) {
	if f.next() {
		n, rest, err := msgp.ReadInt64Bytes(f.data)
		*v = T(n)
		f.took(rest, err)
	} else if !f.reading {
		f.data = msgp.AppendInt64(f.data, int64(*v))
	}
}

// Uint is a whole number that is never negative.
func Uint[T ~uint32 | ~uint64](f *Form, v *T) {
	if f.next() {
		n, rest, err := msgp.ReadUint64Bytes(f.data)
		if *v = T(n); err == nil && uint64(*v) != n {
			err = msgp.UintOverflow{Value: n, FailedBitsize: 32}
		}
		f.took(rest, err)
	} else if !f.reading {
		f.data = msgp.AppendUint64(f.data, uint64(*v))
	}
}

// Flag is true or false.
func Flag(f *Form, v *bool) {
	if f.next() {
		flag, rest, err := msgp.ReadBoolBytes(f.data)
		*v = flag
		f.took(rest, err)
	} else if !f.reading {
		f.data = msgp.AppendBool(f.data, *v)
	}
}

// Data is a value of bytes.
func Data(f *Form, v *[]byte) {
	if f.next() {
		data, rest, err := msgp.ReadBytesBytes(f.data, nil)
		if len(data) > 0 {
			*v = data
		}
		f.took(rest, err)
	} else if !f.reading {
		f.data = msgp.AppendBytes(f.data, *v)
	}
}

// Object has values of its own, unless it is nil.
func Object[T any](f *Form, v **T, values func(*T, *Form)) {
	switch {
	case f.next():
		if msgp.IsNil(f.data) {
			f.took(f.data[1:], nil)
			return
		}
		*v = new(T)
		read(f, *v, values)
	case f.reading:
	case *v == nil:
		f.data = msgp.AppendNil(f.data)
	default:
		write(f, *v, values)
	}
}

// List is a list of values of one kind, such as Text.
func List[T any](f *Form, v *[]T, item func(*Form, *T)) {
	if f.next() {
		outer := f.values
		f.values = f.size(msgp.ReadArrayHeaderBytes(f.data))
		if f.values > 0 {
			*v = make([]T, f.values)
		}
		for i := range *v {
			item(f, &(*v)[i])
		}
		f.leave(outer)
	} else if !f.reading {
		outer := f.values
		f.data = msgp.AppendArrayHeader(f.data, uint32(len(*v)))
		for i := range *v {
			item(f, &(*v)[i])
		}
		f.values = outer
	}
}

// Objects is a list of what has values of its own.
func Objects[T any](f *Form, v *[]T, values func(*T, *Form)) {
	List(f, v, func(f *Form, v *T) {
		if f.next() {
			read(f, v, values)
		} else if !f.reading {
			write(f, v, values)
		}
	})
}

// Counts is a number for each of several keys.
func Counts[K ~int64](f *Form, v *map[K]int) {
	if f.next() {
		outer := f.values
		n := f.size(msgp.ReadMapHeaderBytes(f.data))
		if f.values = 2 * n; n > 0 {
			*v = make(map[K]int, n)
		}
		for range n {
			var key K
			var count int
			Int(f, &key)
			Int(f, &count)
			(*v)[key] = count
		}
		f.leave(outer)
	} else if !f.reading {
		f.data = msgp.AppendMapHeader(f.data, uint32(len(*v)))
		for key, count := range *v {
			f.data = msgp.AppendInt64(f.data, int64(key))
			f.data = msgp.AppendInt(f.data, count)
		}
	}
}

// next reports whether a value is to be read; otherwise it is to be written,
// if this is not reading.
func (f *Form) next() bool {
	if !f.reading {
		f.values++
		return false
	}
	if f.values == 0 {
		return false
	}
	f.values--
	return true
}

// took goes on after what was read.
func (f *Form) took(rest []byte, err error) {
	if f.data = rest; err != nil {
		f.err, f.values = err, 0
	}
}

// size takes how many values follow; 0 when it cannot be.
func (f *Form) size(n uint32, rest []byte, err error) int {
	if err == nil && int64(n) > int64(len(rest)) {
		err = io.ErrUnexpectedEOF // each has a byte at least
	}
	if f.took(rest, err); err != nil {
		return 0
	}
	return int(n)
}

// leave goes back to the array around one that was read, past what is not known
// here.
func (f *Form) leave(outer int) {
	for f.values > 0 {
		f.values--
		f.took(msgp.Skip(f.data))
	}
	if f.err == nil {
		f.values = outer
	}
}

func write[T any](f *Form, v *T, values func(*T, *Form)) {
	outer, at := f.values, len(f.data)
	f.values, f.data = 0, append(f.data, arrayHeader, 0, 0)
	values(v, f)
	if f.values > math.MaxUint16 {
		panic("wire: too many values")
	}
	binary.BigEndian.PutUint16(f.data[at+1:], uint16(f.values))
	f.values = outer
}

func read[T any](f *Form, v *T, values func(*T, *Form)) {
	outer := f.values
	f.values = f.size(msgp.ReadArrayHeaderBytes(f.data))
	values(v, f)
	f.leave(outer)
}
