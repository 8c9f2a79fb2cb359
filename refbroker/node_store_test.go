package refbroker

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStoreCommands runs the commands over the store of a broker that has run.
func TestStoreCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "broker.conf")
	text := "storePathRootDir=" + dir + "/store\nlistenPort=0\nbrokerIP1=127.0.0.1\nmappedFileSizeCommitLog=65536\nmaxHashSlotNum=100\nmaxIndexNum=1000\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "broker", "-c", file)
	if code := n.stop(); code != exitFine {
		t.Fatal(code, n.stderr)
	}
	for _, c := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"store verify -c " + file, exitFine, "sound: 0 errors", ""},
		{"store verify " + dir + "/store -c " + file + " --json", exitFine, `"sound": true`, ""},
		{"store stats -c " + file, exitFine, "closed in order", ""},
		{"store dump checkpoint -c " + file, exitFine, "physicMsgTimestamp", ""},
		{"store dump records -c " + file, exitFine, "", ""},
		{"store dump queue -c " + file, exitUsage, "", "which queue is not said: give --topic and --queue"},
		{"store dump queue --topic T --queue 0 -c " + file, exitFailed, "", "topic T has no queue 0"},
		{"store dump records --limit -5 -c " + file, exitUsage, "", "--limit is -5"},
		{"store dump index --key k -c " + file, exitUsage, "", "a key is TOPIC#KEY"},
		{"store verify", exitUsage, "", "no store is named"},
		{"store verify " + dir, exitUsage, "", "no message store in"},
		{"store verify " + file, exitUsage, "", "is a file"},
		{"store verify a b", exitUsage, "", "one folder is enough"},
		{"store verify -c " + dir + "/none", exitUsage, "", "cannot be read"},
		{"store forget", exitUsage, "", "unknown command or argument"},
	} {
		var out, errs bytes.Buffer
		code := RunNode(context.Background(), strings.Fields(c.args), &out, &errs)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("%s: exit code %d, want %d\n%s%s", c.args, code, c.code, &out, &errs)
		}
	}
	damage(t, dir+"/store/config/topics.json")
	var out, errs bytes.Buffer
	if code := RunNode(context.Background(), []string{"store", "verify", "-c", file}, &out, &errs); code != exitFailed {
		t.Errorf("damaged: exit code %d\n%s%s", code, &out, &errs)
	}
}

// damage makes a JSON file and its backup unreadable.
func damage(t *testing.T, path string) {
	t.Helper()
	for _, p := range []string{path, path + ".bak"} {
		if err := os.WriteFile(p, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
