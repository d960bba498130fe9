package natsbus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/ringback/ringback/internal/bus/bustest"
)

// issuer is a certificate and its key, in files and in memory.
type issuer struct {
	cert, key string
	parsed    *x509.Certificate
	private   *ecdsa.PrivateKey
}

// issue makes a certificate for 127.0.0.1; by is nil for one that may make
// others.
func issue(t *testing.T, dir, name string, by *issuer) *issuer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: by == nil, BasicConstraintsValid: true,
	}
	made := &issuer{cert: filepath.Join(dir, name+".pem"), key: filepath.Join(dir, name+".key"), private: private}
	if by == nil {
		by = &issuer{parsed: template, private: private}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.parsed, private.Public(), by.private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err == nil {
		made.parsed, err = x509.ParseCertificate(der)
	}
	err = errors.Join(err,
		os.WriteFile(made.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(made.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestTLS joins a server by its own authority, which asks for a certificate,
// too, and joins it again after all certificates were renewed.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := issue(t, dir, "authority", nil)
	node := issue(t, dir, "node", authority)
	config := func(a *issuer) *tls.Config {
		pair, err := tls.LoadX509KeyPair(a.cert, a.key)
		if err != nil {
			t.Fatal(err)
		}
		trusted := x509.NewCertPool()
		trusted.AddCert(a.parsed)
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}
	}
	port := 0
	start := func(a *issuer) (*server.Server, string) {
		return serve(t, func(o *server.Options) {
			o.TLSConfig, o.TLSVerify, o.TLSTimeout = config(a), true, 5
			if port != 0 {
				o.Port = port
			}
		})
	}
	s, to := start(authority)
	port = s.Addr().(*net.TCPAddr).Port
	to = strings.Replace(to, "tls:", "nats:", 1) // the files say enough
	quiet := slog.New(slog.DiscardHandler)
	for name, c := range map[string]struct {
		opts Options
		want string
	}{
		"an authority that nobody knows": {Options{Cert: node.cert, Key: node.key}, "not trusted"},
		"no certificate":                 {Options{CA: authority.cert}, "or asks for one"},
		"the certificate of another":     {Options{CA: authority.cert, Cert: authority.cert, Key: node.key}, "check the files"},
		"no file":                        {Options{CA: filepath.Join(dir, "none.pem")}, "none.pem"},
	} {
		c.opts.URL, c.opts.Logger = to, quiet
		// A server that does not get a certificate ends the connection, now and
		// then before the reason was read.
		bustest.Until(t, name+" is the reason", func() bool {
			_, err := Join(t.Context(), c.opts, 1, nobody{})
			if err == nil {
				t.Fatalf("joined in spite of %s", name)
			}
			return strings.Contains(err.Error(), c.want)
		})
	}
	b := join(t, Options{URL: to, CA: authority.cert, Cert: node.cert, Key: node.key, Logger: quiet}, 1, nobody{})
	if err := b.Connected(); err != nil {
		t.Error(err)
	}
	renewed := issue(t, dir, "authority", nil)
	issue(t, dir, "node", renewed)
	s.Shutdown()
	s.WaitForShutdown()
	start(renewed)
	bustest.Until(t, "it is connected by the new certificates", func() bool { return b.Connected() == nil })
}

// TestCredentials joins a server that knows its users by what its operator has
// signed.
func TestCredentials(t *testing.T) {
	t.Parallel()
	pair := func(make func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := make()
		if err != nil {
			t.Fatal(err)
		}
		public, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return k, public
	}
	operator, operatorID := pair(nkeys.CreateOperator)
	account, accountID := pair(nkeys.CreateAccount)
	user, userID := pair(nkeys.CreateUser)
	signed, err := jwt.NewAccountClaims(accountID).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	accounts := new(server.MemAccResolver)
	if err := accounts.Store(accountID, signed); err != nil {
		t.Fatal(err)
	}
	_, to := serve(t, func(o *server.Options) {
		o.TrustedKeys, o.AccountResolver = []string{operatorID}, accounts
	})
	token, err := jwt.NewUserClaims(userID).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "node.creds"), filepath.Join(dir, "bad.creds")
	if err := errors.Join(os.WriteFile(good, text, 0o600), os.WriteFile(bad, []byte("nonsense"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var seen logs
	b := join(t, Options{URL: to, Credentials: good, Logger: seen.logger()}, 1, nobody{})
	if err := b.Connected(); err != nil {
		t.Error(err)
	}
	for file, want := range map[string]string{"": "refuses this node", bad: "check the files"} {
		_, err := Join(t.Context(), Options{URL: to, Credentials: file, Logger: seen.logger()}, 2, nobody{})
		if err == nil {
			t.Fatalf("joined with %q", file)
		}
		hasAll(t, err.Error(), want)
	}
	for _, secret := range []string{string(seed), token} {
		if strings.Contains(seen.text(), secret) {
			t.Error("a secret is in the log")
		}
	}
}
