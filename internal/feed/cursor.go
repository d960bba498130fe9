package feed

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/ringback/ringback/internal/store"
)

// cursorVersion begins every cursor of the form that this version writes:
// base64url of the app and the event ID, big-endian, and the CRC-32 of both.
const cursorVersion = "c1_"

// EncodeCursor gives the place after an event, among those of an app (0: of
// all apps), as text. Readers keep it and give it back; what it says is none
// of their business. ID 0 is the place before the first event.
func EncodeCursor(app uint32, after store.EventID) string {
	b := binary.BigEndian.AppendUint32(nil, app)
	b = binary.BigEndian.AppendUint64(b, uint64(after))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return cursorVersion + base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCursor reads a cursor that was made for the app. It gives a
// *CursorError for any other text.
func DecodeCursor(app uint32, cursor string) (store.EventID, error) {
	text, ok := strings.CutPrefix(cursor, cursorVersion)
	if !ok {
		return 0, &CursorError{"is not of a form that this server knows"}
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 16 || crc32.ChecksumIEEE(b[:12]) != binary.BigEndian.Uint32(b[12:]) {
		return 0, &CursorError{"is damaged or not complete"}
	}
	if of := binary.BigEndian.Uint32(b); of != app {
		return 0, &CursorError{"belongs to " + appName(of) + ", not to " + appName(app)}
	}
	id := store.EventID(binary.BigEndian.Uint64(b[4:]))
	if id < 0 {
		return 0, &CursorError{"is damaged or not complete"}
	}
	return id, nil
}

func appName(app uint32) string {
	if app == 0 {
		return "all apps"
	}
	return fmt.Sprintf("app %d", app)
}

// CursorError is a cursor that leads nowhere.
type CursorError struct{ problem string }

// Error says what is wrong and how to begin again.
func (e *CursorError) Error() string {
	return "the cursor " + e.problem +
		": begin again without one, at the oldest event that is kept, or with \"latest\", at this moment"
}
