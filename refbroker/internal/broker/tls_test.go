package broker

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// TestTLSSettings: the keys tls.server.* reach the listener.
func TestTLSSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode       string
		encrypted  bool
		wantServed bool
	}{
		{"permissive", true, true},
		{"enforcing", true, true},
		{"disabled", true, false},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, func(cfg *Config) { cfg.Mode = c.mode })
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", p.b.Addr(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a self-signed certificate is what is tested
			if err == nil {
				conn.Close() //nolint:errcheck // only the handshake counts
			}
			if served := err == nil; served != c.wantServed {
				t.Errorf("TLS handshake in mode %s: %v, want served %v", c.mode, err, c.wantServed)
			}
		})
	}
}

func TestTLSSettingsThatNameNoCertificate(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.SelfSigned = false
	cfg.CertPath = "no-such-file.pem"
	if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), "tls.server.certPath") {
		t.Errorf("New: %v, want an error that names tls.server.certPath", err)
	}
}
