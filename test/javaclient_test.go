package test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The Java clients on the Go cluster: producers, push, pull and lite pull
// consumers, retries and dead letters, queries and admin calls, with both
// encodings and through TLS.
func TestJavaClientsOnGo(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	source, err := filepath.Abs("testdata/Clients.java")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		flags []string
	}{
		{"json", nil},
		{"binary over TLS", []string{"-Drocketmq.serialize.type=ROCKETMQ", "-Dtls.enable=true"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := goCluster(t)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			args := append([]string{"-XX:TieredStopAtLevel=1", "-Duser.home=" + t.TempDir(), "-Drocketmq.client.logUseSlf4j=true"}, tc.flags...)
			args = append(args, "-cp", peer.Classpath, source, c.NameServers()[0])
			out, err := exec.CommandContext(ctx, peer.Java, args...).CombinedOutput()
			if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
