package remoting

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// certificate writes a certificate and its key as files and returns their
// paths, and the pair.
func certificate(t *testing.T) (cert, key string, pair tls.Certificate) {
	t.Helper()
	config, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	pair = config.Certificates[0]
	der, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, pair
}

func TestTLSSettings(t *testing.T) {
	t.Parallel()
	cert, key, pair := certificate(t)
	own := TLSSettings{Mode: "enforcing", CertPath: cert, KeyPath: key}
	trusted := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	trusted.AddCert(leaf)
	verify := &tls.Config{RootCAs: trusted, ServerName: "localhost"}
	plain := DefaultTLSSettings()
	plain.Mode = "disabled"
	for _, tc := range []struct {
		name     string
		settings TLSSettings
		client   *tls.Config
		want     bool
	}{
		{"default, plain", DefaultTLSSettings(), nil, true},
		{"default, made up certificate", DefaultTLSSettings(), &tls.Config{InsecureSkipVerify: true}, true},
		{"default, a client that verifies", DefaultTLSSettings(), verify, false},
		{"disabled", plain, &tls.Config{InsecureSkipVerify: true}, false},
		{"own certificate", own, verify, true},
		{"enforced", own, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var o ServerOptions
			if err := tc.settings.Set(&o); err != nil {
				t.Fatal(err)
			}
			g := start(t, o, ClientOptions{TLS: tc.client}, nil)
			if _, err := g.invoke(codeEcho, "x"); (err == nil) != tc.want {
				t.Errorf("%v, want success %v", err, tc.want)
			}
		})
	}
}

func TestTLSClientAuth(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	settings := TLSSettings{Mode: "enforcing", CertPath: cert, KeyPath: key, ClientAuth: "require", TrustPath: cert}
	var o ServerOptions
	if err := settings.Set(&o); err != nil {
		t.Fatal(err)
	}
	g := start(t, o, ClientOptions{TLS: &tls.Config{InsecureSkipVerify: true}}, nil)
	if _, err := g.invoke(codeEcho, "x"); err == nil {
		t.Error("served a client without a certificate")
	}
}

func TestTLSSettingsRefuse(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	for _, tc := range []struct {
		settings TLSSettings
		want     string
	}{
		{TLSSettings{CertPath: "/none.pem", KeyPath: key}, "/none.pem"},
		{TLSSettings{CertPath: cert, KeyPath: cert}, "tls.server.keyPath"},
		{TLSSettings{CertPath: cert, KeyPath: key, ClientAuth: "require"}, "tls.server.trustCertPath"},
		{TLSSettings{CertPath: cert, KeyPath: key, ClientAuth: "optional", TrustPath: key}, "holds no certificate"},
	} {
		if err := tc.settings.Set(&ServerOptions{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc.settings, err)
		}
	}
}
