// Package wire is the form of what nodes tell each other: CBOR (RFC 8949), in
// which fields have names, so that nodes of neighbouring versions understand
// what both know and pass over the rest. It is read in a tenth of the time that
// JSON takes, and written in half of it.
package wire

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Encode writes a value of a type that always can be written: no functions,
// channels or cycles. Others make it panic.
func Encode(v any) []byte {
	data, err := cbor.Marshal(v)
	if err != nil {
		panic("wire: " + err.Error())
	}
	return data
}

// Decode reads into what v points to. The data may be anything; nothing of it
// is kept.
func Decode(data []byte, v any) error {
	if err := cbor.Unmarshal(data, v); err != nil {
		return fmt.Errorf("message of another node: %w", err)
	}
	return nil
}
