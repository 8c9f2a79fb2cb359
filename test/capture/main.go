// Command capture records golden frames of RocketMQ's remoting protocol: it starts a
// Java NameServer and broker, puts a proxy that splits frames before each, lets
// the Java client, mqadmin, client-go and itself talk through them, and writes
// one frame of each kind that passed to the test data of package protocol.
//
//	go run ./test/capture [-out refbroker/protocol/testdata/golden] [-log FILE]
//
// The jars come from where profile java-single has them. It needs Java 17
// or later. Everything runs on loopback: the broker
// listens on 127.0.0.1 and says 127.0.0.2, where the proxy is, so that clients
// that ask the NameServer for it come through the proxy too. It takes about
// five minutes.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"rmqbench/profiles"
)

func main() {
	log := flag.String("log", os.DevNull, "file for what the programs print")
	out := flag.String("out", "refbroker/protocol/testdata/golden", "folder that the frames go to; its old frames are removed")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := capture(ctx, *log, *out); err != nil {
		slog.Error("capture failed", "err", err)
		os.Exit(1)
	}
}

// capture runs one session with each header encoding of the Java side and
// writes what it recorded.
func capture(ctx context.Context, logFile, out string) error {
	peer, err := profiles.JavaPeer(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "capture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	rec := newRecorder(work)
	sessions := []session{
		{encoding: "JSON"},
		{encoding: "ROCKETMQ", settings: "enabledAppendPropCRC=true\nforceRegister=false\nuseServerSideResetOffset=false\n"},
	}
	for _, s := range sessions {
		s.peer, s.work, s.log, s.rec = peer, filepath.Join(work, s.encoding), log, rec
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("session with %s headers: %w", s.encoding, err)
		}
	}
	return rec.write(out)
}
