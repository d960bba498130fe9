package protocol

import (
	"crypto/hmac"
	"crypto/sha1" // the documented signature of the callback contract
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Callback events. An endpoint that names no events gets DocumentedCallbacks.
const (
	CallbackCreate  = "call_create"
	CallbackCancel  = "call_cancel"
	CallbackAccept  = "call_accept"
	CallbackReject  = "call_reject"
	CallbackTimeout = "call_timeout"
	CallbackInvite  = "call_invite"

	CallbackUserAction = "user_action"

	// Extensions of Ringback, sent only to endpoints that name them.
	CallbackReceived = "call_received"
	CallbackJoin     = "call_join"
	CallbackQuit     = "call_quit"
	CallbackEnd      = "call_end"
)

// DocumentedCallbacks are the events that an endpoint gets by default.
var DocumentedCallbacks = []string{
	CallbackCreate, CallbackCancel, CallbackAccept, CallbackReject, CallbackTimeout, CallbackInvite,
}

// Headers of a callback request.
const (
	HeaderWebhookID        = "webhook-id"
	HeaderWebhookTimestamp = "webhook-timestamp"
	HeaderWebhookSignature = "webhook-signature"
	HeaderAttempt          = "Ringback-Attempt"
	HeaderSequence         = "Ringback-Sequence"
	// HeaderTest is "true" on a synthetic delivery, which tells of nothing that
	// happened; absent on all others. No signature covers it.
	HeaderTest = "Ringback-Test"
)

// Reasons of a call_cancel callback.
const (
	CancelByCaller  = "caller_cancel"
	CancelByTimeout = "timeout_cancel"
)

// CallbackCommon are the fields with which every callback begins, in this
// order.
type CallbackCommon struct {
	AppID     string `json:"appid"` // decimal
	Event     string `json:"event"`
	Nonce     string `json:"nonce"`     // decimal digits
	Signature string `json:"signature"` // CallbackSignature
	Timestamp int64  `json:"timestamp"` // Unix seconds of this attempt
}

// CallCreate are the further fields of call_create.
type CallCreate struct {
	CallID     string   `json:"call_id"`
	UserIDs    []string `json:"user_ids"`    // those invited
	CreateTime int64    `json:"create_time"` // Unix seconds
	Payload    string   `json:"payload"`     // the extended data of the invitation
	Caller     string   `json:"caller"`
	Timeout    int      `json:"timeout"` // seconds
}

// CallCancel are the further fields of call_cancel.
type CallCancel struct {
	CallID  string   `json:"call_id"`
	UserIDs []string `json:"user_ids"` // those whom this transition cancels
	Reason  string   `json:"reason"`   // CancelByCaller or CancelByTimeout
	Payload string   `json:"payload"`  // the extended data of the cancel, or of the end
}

// CallAnswer are the further fields of call_accept and call_reject, and of
// the extensions call_received, call_join and call_quit.
type CallAnswer struct {
	CallID     string `json:"call_id"`
	UserID     string `json:"user_id"`
	ExtendData string `json:"extend_data"`
}

// CallTimeout are the further fields of call_timeout.
type CallTimeout struct {
	CallID  string   `json:"call_id"`
	UserIDs []string `json:"user_ids"` // those who did not answer
}

// CallInvite are the further fields of call_invite.
type CallInvite struct {
	CallID     string   `json:"call_id"`
	UserIDs    []string `json:"user_ids"` // those invited successfully
	Inviter    string   `json:"inviter"`
	InviteTime int64    `json:"invite_time"` // Unix milliseconds
}

// CallEnd are the further fields of the extension call_end.
type CallEnd struct {
	CallID     string `json:"call_id"`
	Reason     string `json:"reason"`   // as in Ended
	Operator   string `json:"operator"` // "" when nobody ended it
	Duration   int64  `json:"duration"` // seconds since the first accept
	ExtendData string `json:"extend_data"`
}

// Values of UserAction.Action.
const (
	UserOnline  = 0
	UserLogout  = 1
	UserOffline = 2
)

// UserAction are the further fields of user_action. Times are Unix seconds.
type UserAction struct {
	UserID       string `json:"user_id"`
	UserName     string `json:"user_name"`
	OS           string `json:"os"` // see Platforms
	Action       int    `json:"action"`
	SessionID    string `json:"session_id"`
	LoginTime    int64  `json:"login_time"`
	Relogin      string `json:"relogin"` // "1": the session was offline and is back
	LogoutTime   int64  `json:"logout_time,omitempty"`
	LogoutReason string `json:"logout_reason,omitempty"`
	OfflineTime  int64  `json:"offline_time,omitempty"`
}

// CallbackSignature is the documented signature of a callback: the callback
// secret, the timestamp (Unix seconds) and the nonce, sorted byte-wise and
// concatenated, SHA-1, lower-case hex. It does not cover the body.
func CallbackSignature(secret string, timestamp int64, nonce string) string {
	parts := []string{secret, strconv.FormatInt(timestamp, 10), nonce}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// WebhookSignature is one entry of the webhook-signature header of the
// Standard Webhooks specification: "v1," and the base64 HMAC-SHA256 over
// id.timestamp.body. The key is the bytes of the callback secret.
func WebhookSignature(secret, id string, timestamp int64, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + strconv.FormatInt(timestamp, 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// WebhookSecret is the callback secret in the form that the libraries of
// Standard Webhooks take: "whsec_" and the base64 of its bytes.
func WebhookSecret(secret string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))
}
