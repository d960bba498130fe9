package serverapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSignatureVectors(t *testing.T) {
	for _, v := range []struct{ app, nonce, secret, timestamp, want string }{
		{"12345", "4fd24687296dd9f3", "9193cc662a4c0ec135ec71fb57194b38", "1615186943", "43e5cfcca828314675f91b001390566a"},
		{"1", "a", "0123456789abcdef0123456789abcdef", "1", "c45a0f23ee1e40e6d941cd59913f86d4"},
	} {
		if got := Signature(v.app, v.nonce, v.secret, v.timestamp); got != v.want {
			t.Errorf("%v gives %s", v, got)
		}
	}
}

// TestCommonParameters mends a request that has every fault, one by one, in
// the documented order of checks.
func TestCommonParameters(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	q := url.Values{"AppId": {"app"}}
	for _, step := range []struct {
		code Code
		mend func()
	}{
		{CodeAppIDFormat, func() { q.Set("AppId", "4711") }},
		{CodeTimestampEmpty, func() { q.Set("Timestamp", "yesterday") }},
		{CodeTimestampFormat, func() { q.Set("Timestamp", "1615186943") }},
		{CodeActionEmpty, func() { q.Set("Action", "CallWaiting") }},
		{CodeNonceEmpty, func() { q.Set("SignatureNonce", "4fd24687296dd9f3") }},
		{CodeSignatureEmpty, func() { q.Set("Signature", "43e5cfcca828314675f91b001390566a") }},
		{CodeSignatureVerEmpty, func() { q.Set("SignatureVersion", "1.0") }},
		{CodeSignatureVerWanted, func() { q.Set("SignatureVersion", "2.0") }},
		{CodeExpired, func() { q.Set("Timestamp", strconv.FormatInt(time.Now().Unix(), 10)) }},
		{CodeAppUnknown, func() { q.Set("AppId", "12345") }},
		{CodeSignature, func() { sign(q, secret) }},
		{CodeActionUnknown, func() { q.Set("Action", "UserRegister"); q.Set("SignatureNonce", "5"); sign(q, secret) }},
		{CodeInput, nil}, // a GET
	} {
		r := b.send(http.MethodGet, q.Encode(), "")
		if b.want(r, step.code); step.mend != nil {
			step.mend()
		}
	}
	if got, want := b.seen[len(b.seen)-2], fmt.Sprintf(" %d", CodeActionUnknown); got != want {
		t.Errorf("an unknown action was observed as %q", got)
	}
}

func TestCommonParameterFaults(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	for _, tt := range []struct {
		name   string
		change func(url.Values)
		want   Code
	}{
		{"right", func(url.Values) {}, 0},
		{"extra parameter", set("action", "Nonsense"), 0},
		{"signed with an older secret", func(q url.Values) { sign(q, oldSecret) }, 0},
		{"no AppId", set("AppId", ""), CodeAppIDFormat},
		{"negative AppId", set("AppId", "-1"), CodeAppIDFormat},
		{"AppId 0", set("AppId", "0"), CodeAppIDFormat},
		{"AppId over 32 bits", set("AppId", "4294967296"), CodeAppIDFormat},
		{"Timestamp with a sign", set("Timestamp", "+1615186943"), CodeTimestampFormat},
		{"Timestamp in milliseconds", set("Timestamp", strconv.FormatInt(time.Now().UnixMilli(), 10)), CodeTimestampFormat},
		{"name of another case", func(q url.Values) { q.Set("appid", q.Get("AppId")); q.Del("AppId") }, CodeAppIDFormat},
		{"secret of another", func(q url.Values) { sign(q, strings.Repeat("x", 32)) }, CodeSignature},
		{"upper-case signature", func(q url.Values) { q.Set("Signature", "F"+q.Get("Signature")[1:]) }, CodeSignature},
		{"signature cut short", func(q url.Values) { q.Set("Signature", q.Get("Signature")[:31]) }, CodeSignature},
		{"another timestamp", func(q url.Values) { q.Set("Timestamp", strconv.FormatInt(time.Now().Unix()-1, 10)) }, CodeSignature},
		{"long nonce", set("SignatureNonce", strings.Repeat("x", maxNonce+1)), CodeInput},
		{"nonce with a NUL", set("SignatureNonce", "a\x00"), CodeInput},
		{"not UTF-8", set("X", "\xff"), CodeInput},
		{"long query", set("X", strings.Repeat("x", maxQuery)), CodeInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			q := b.query("QueryUserOnlineState", "UserId[]", "alice")
			tt.change(q)
			b.want(b.send(http.MethodGet, q.Encode(), ""), tt.want)
		})
	}
	b.t = t
	b.want(b.send(http.MethodGet, "AppId=%zz", ""), CodeInput)
	b.want(b.send(http.MethodGet, "", ""), CodeAppIDFormat)
	if log := b.log.String(); strings.Contains(log, "Signature") || strings.Contains(log, secret) {
		t.Errorf("the log has what it must not have: %s", log)
	}
}

func TestReplay(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	q := b.query("QueryUserOnlineState", "UserId[]", "alice")
	wrong := url.Values{}
	for name, values := range q {
		wrong[name] = values
	}
	wrong.Set("Signature", strings.Repeat("0", 32))
	b.want(b.send(http.MethodGet, wrong.Encode(), ""), CodeSignature)
	if len(b.store.nonces) != 0 || len(b.server.limits.buckets) != 0 {
		t.Error("a request with a wrong signature left something behind")
	}
	b.want(b.send(http.MethodGet, q.Encode(), ""), CodeSuccess)
	b.want(b.send(http.MethodGet, q.Encode(), ""), CodeSignature)
	b.server = New(b.server.Options) // a restart over the same store
	defer b.server.Close()
	r := b.send(http.MethodGet, q.Encode(), "")
	if b.want(r, CodeSignature); !strings.Contains(r.text("Message"), "used before") {
		t.Errorf("the replay was refused for another reason: %v", r)
	}
	q.Set("AppId", "12346") // of which the nonce is not
	sign(q, secret)
	b.want(b.send(http.MethodGet, q.Encode(), ""), CodeSuccess)
}

func TestTimestampWindow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		offset int64         // of the timestamp, seconds
		later  time.Duration // when it is sent
		want   Code
	}{
		{"as old as it may be", -600, 0, CodeSuccess},
		{"a moment older", -600, time.Millisecond, CodeExpired},
		{"as far ahead as it may be", 600, 0, CodeSuccess},
		{"further ahead", 601, 0, CodeExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(t)
				defer b.close()
				q := b.query("QueryUserOnlineState", "UserId[]", "alice")
				q.Set("Timestamp", strconv.FormatInt(time.Now().Unix()+tt.offset, 10))
				sign(q, secret)
				time.Sleep(tt.later)
				b.want(b.send(http.MethodGet, q.Encode(), ""), tt.want)
			})
		})
	}
}

// TestNonceOutlivesItsTimestamp: as long as a timestamp is accepted, its nonce
// is remembered.
func TestNonceOutlivesItsTimestamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		q := b.query("QueryUserOnlineState", "UserId[]", "alice")
		q.Set("Timestamp", strconv.FormatInt(time.Now().Unix()+600, 10))
		sign(q, secret)
		b.want(b.send(http.MethodGet, q.Encode(), ""), CodeSuccess)
		time.Sleep(20 * time.Minute)
		b.want(b.send(http.MethodGet, q.Encode(), ""), CodeSignature)
		time.Sleep(time.Millisecond)
		b.want(b.send(http.MethodGet, q.Encode(), ""), CodeExpired)
		q.Set("Timestamp", strconv.FormatInt(time.Now().Unix(), 10))
		sign(q, secret)
		b.want(b.send(http.MethodGet, q.Encode(), ""), CodeSuccess)
	})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, func(o *Options) { o.RequestsPerSecond = 20 })
		defer b.close()
		for range 20 {
			b.want(b.get("QueryUserOnlineState", "UserId[]", "alice"), CodeSuccess)
			b.want(b.post("UserRegister", `{}`), CodeParameter)
		}
		b.want(b.get("QueryUserOnlineState", "UserId[]", "alice"), CodeTooManyRequests)
		b.want(b.post("UserRegister", `{}`), CodeRegistrations)
		b.want(b.get("QueryCall", "CallId", "1"), CodeNoSuchCall)
		other := b.query("QueryUserOnlineState", "UserId[]", "alice")
		other.Set("AppId", "12346")
		sign(other, secret)
		b.want(b.send(http.MethodGet, other.Encode(), ""), CodeSuccess)
		time.Sleep(time.Second / 20)
		b.want(b.get("QueryUserOnlineState", "UserId[]", "alice"), CodeSuccess)
		b.want(b.get("QueryUserOnlineState", "UserId[]", "alice"), CodeTooManyRequests)
	})
}

func TestAsked(t *testing.T) {
	for query, want := range map[string]bool{
		"": false, "x=1": false, "action=1": false, "utm_source=Action": false,
		"Action=CallInvite": true, "x=1&AppId=": true, "Signature": true,
	} {
		if Asked(query) != want {
			t.Errorf("Asked(%q) is %v", query, !want)
		}
	}
}
