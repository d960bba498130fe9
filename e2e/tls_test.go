//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/protocol"
)

// certificate makes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ringback test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(certFile, "CERTIFICATE", der)
	write(keyFile, "PRIVATE KEY", keyDER)
	pool = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

// The server speaks TLS by itself, to devices and to endpoints.
func TestTLS(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	callbacks := make(chan string, 10)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		callbacks <- r.Header.Get(protocol.HeaderSequence)
	}))
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	receiver.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	receiver.StartTLS()
	defer receiver.Close()
	if !strings.HasPrefix(receiver.URL, "https://127.0.0.1:") {
		t.Fatalf("the receiver is at %s", receiver.URL)
	}

	address := freeAddress(t)
	config := configure(t, address, filepath.Join(t.TempDir(), "data"), receiver.URL)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "tls: {cert: "+certFile+", key: "+keyFile+"}\n"...)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", certFile) // what the server trusts when it calls back
	p := start(t, "serve", "--config", config)
	p.await(`msg=serving`)
	login := func(user string) *client.Client {
		c, err := client.Dial(t.Context(), "https://"+address, client.Options{
			AppID: appID, UserID: user, Token: token(t, user), TLSConfig: &tls.Config{RootCAs: pool},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, bob := login("alice"), login("bob")
	defer alice.Close()
	defer bob.Close()
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Accept(t.Context(), protocol.CallAction{CallID: made.CallID}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "2"} {
		select {
		case got := <-callbacks:
			if got != want {
				t.Errorf("callback %s came, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("callback %s does not come", want)
		}
	}
	p.terminate()
}
