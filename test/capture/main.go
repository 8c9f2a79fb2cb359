// Capture records golden frames of RocketMQ's remoting protocol: it starts a
// Java NameServer and broker, puts a proxy that splits frames before each, lets
// the Java client, mqadmin, client-go and itself talk through them, and writes
// one frame of each kind that passed to the test data of package protocol.
//
//	go run ./test/capture -lib DIR [-out refbroker/protocol/testdata/golden]
//
// DIR holds the jars of rocketmq-namesrv, -broker, -tools and -client 5.3.3 with
// all that they need, as mvn dependency:copy-dependencies leaves them. Java 17
// or later has to be on the PATH. Everything runs on loopback: the broker
// listens on 127.0.0.1 and says 127.0.0.2, where the proxy is, so that clients
// that ask the NameServer for it come through the proxy too. It takes about
// three minutes; what the programs print goes to DIR/../capture.log.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	lib := flag.String("lib", "", "folder with the jars of RocketMQ")
	out := flag.String("out", "refbroker/protocol/testdata/golden", "folder that the frames go to; its old frames are removed")
	flag.Parse()
	if *lib == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := capture(ctx, *lib, *out); err != nil {
		slog.Error("capture failed", "err", err)
		os.Exit(1)
	}
}

// capture runs one session with each header encoding of the Java side and
// writes what it recorded.
func capture(ctx context.Context, lib, out string) error {
	lib, err := filepath.Abs(lib)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "capture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	log, err := os.Create(filepath.Join(filepath.Dir(lib), "capture.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	rec := newRecorder(work)
	for _, encoding := range []string{"JSON", "ROCKETMQ"} {
		s := session{lib: lib, work: filepath.Join(work, encoding), encoding: encoding, log: log, rec: rec}
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("session with %s headers: %w", encoding, err)
		}
	}
	return rec.write(out)
}
