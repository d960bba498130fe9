package adminapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// encodeCursor makes the cursor of a list from its place; the zero place, the
// end, gives "".
func encodeCursor[P comparable](list string, place P) string {
	var end P
	if place == end {
		return ""
	}
	data, err := json.Marshal(place)
	if err != nil {
		panic("adminapi: " + err.Error()) // places are numbers and strings
	}
	return list + "_" + base64.RawURLEncoding.EncodeToString(data)
}

// decodeCursor reads a cursor of that list; "" is the beginning.
func decodeCursor[P comparable](list, cursor string) (place P, err error) {
	if cursor == "" {
		return place, nil
	}
	text, ok := strings.CutPrefix(cursor, list+"_")
	if data, err := base64.RawURLEncoding.DecodeString(text); ok && err == nil && json.Unmarshal(data, &place) == nil {
		return place, nil
	}
	return place, huma.Error400BadRequest("the cursor is not one of this list: begin again without one")
}

// parseTime reads a point in time: Unix milliseconds, RFC 3339, or a duration
// before now. "" is the zero Instant.
func (a *API) parseTime(name, text string) (call.Instant, error) {
	if text == "" {
		return 0, nil
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 {
		return call.Instant(ms), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return call.At(at), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return call.At(a.Clock.Now().Add(-d)), nil
	}
	return 0, huma.Error400BadRequest(fmt.Sprintf(
		"%s is %.40q; it must be Unix milliseconds, a time such as 2026-01-31T12:00:00Z, or a duration before now such as 2h", name, text))
}

func parseCall(text string) (call.ID, error) {
	id, err := call.ParseID(text)
	if err != nil {
		return 0, huma.Error400BadRequest(fmt.Sprintf("call %.30q: %v", text, err))
	}
	return id, nil
}

// deliveryID is how a delivery is known outside.
func deliveryID(event store.EventID, endpoint store.EndpointID) string {
	return fmt.Sprintf("dlv_%d_%d", int64(event), int64(endpoint))
}

func parseDeliveryID(text string) (store.EventID, store.EndpointID, error) {
	event, endpoint, ok := strings.Cut(strings.TrimPrefix(text, "dlv_"), "_")
	e, err1 := strconv.ParseInt(event, 10, 64)
	p, err2 := strconv.ParseInt(endpoint, 10, 64)
	if !ok || !strings.HasPrefix(text, "dlv_") || errors.Join(err1, err2) != nil {
		return 0, 0, huma.Error400BadRequest(fmt.Sprintf("%.60q is not the ID of a delivery, such as dlv_93364000000000_3", text))
	}
	return store.EventID(e), store.EndpointID(p), nil
}

var deliveryStates = map[store.DeliveryState]string{
	store.Pending: "pending", store.Delivered: "delivered", store.Failed: "failed",
}

func parseStatus(text string) []store.DeliveryState {
	for state, name := range deliveryStates {
		if name == text {
			return []store.DeliveryState{state}
		}
	}
	return nil
}
