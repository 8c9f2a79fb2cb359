package remoting

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSSettings are Java's settings of a server's TLS, under their Java names,
// for a configuration struct to embed.
type TLSSettings struct {
	Mode       string `conf:"tls.server.mode" oneof:"disabled|permissive|enforcing"`
	SelfSigned bool   `conf:"tls.test.mode.enable"` // a certificate made up at start; the paths do not count
	CertPath   string `conf:"tls.server.certPath"`
	KeyPath    string `conf:"tls.server.keyPath"` // PEM, not encrypted
	ClientAuth string `conf:"tls.server.need.client.auth" oneof:"none|optional|require"`
	TrustPath  string `conf:"tls.server.trustCertPath"` // who signs the certificates of clients
}

// DefaultTLSSettings are Java's: TLS for those who ask for it, with a
// certificate that nobody can verify.
func DefaultTLSSettings() TLSSettings {
	return TLSSettings{Mode: "permissive", SelfSigned: true, ClientAuth: "none"}
}

// Set puts the settings into o. It fails when a file that they name cannot be used.
func (s TLSSettings) Set(o *ServerOptions) error {
	o.TLS = map[string]TLSMode{"disabled": TLSDisabled, "enforcing": TLSEnforcing}[s.Mode]
	if o.TLS == TLSDisabled || s.SelfSigned {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(s.CertPath, s.KeyPath)
	if err != nil {
		return fmt.Errorf("tls.server.certPath %q and tls.server.keyPath %q: %w", s.CertPath, s.KeyPath, err)
	}
	o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return s.setClientAuth(o.TLSConfig)
}

func (s TLSSettings) setClientAuth(c *tls.Config) error {
	c.ClientAuth = map[string]tls.ClientAuthType{
		"optional": tls.VerifyClientCertIfGiven, "require": tls.RequireAndVerifyClientCert,
	}[s.ClientAuth]
	if c.ClientAuth == tls.NoClientCert {
		return nil
	}
	pem, err := os.ReadFile(s.TrustPath)
	if err != nil {
		return fmt.Errorf("tls.server.trustCertPath: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return errors.New("tls.server.trustCertPath " + s.TrustPath + " holds no certificate in PEM")
	}
	return nil
}
