package store

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

const damageRounds = 25 // of each store

// damageable is a store and what is in it.
type damageable struct {
	name   string
	dir    string
	cfg    func(string) Config
	bodies map[queueKey][]string
	keys   map[[2]string]string // body by topic and unique key

	loose bool // the index is not checked
}

// damageables are stores of Go and of Java, after a stop and after a kill.
func damageables(t *testing.T) []damageable {
	var all []damageable
	for _, abort := range []bool{true, false} {
		d := damageable{name: fmt.Sprint("go abort=", abort), dir: damagedStore(t, abort).cfg.StorePathRootDir, cfg: tailConfig, loose: abort}
		for i := range tailMessages {
			d.expect(t, "T", tailMessage(i))
		}
		all = append(all, d)
	}
	for _, how := range []string{"write", "crash"} {
		d := damageable{name: "java " + how, dir: unpack(t, "testdata/java-"+how+".tar.zst"), cfg: smallConfig, loose: true}
		for _, m := range oracleMessages(oracleCount) {
			d.expect(t, m.Topic, m)
		}
		all = append(all, d)
	}
	return all
}

func (d *damageable) expect(t *testing.T, topic string, m *protocol.Message) {
	if d.bodies == nil {
		d.bodies, d.keys = map[queueKey][]string{}, map[[2]string]string{}
	}
	key := queueKey{topic, m.QueueID}
	d.bodies[key] = append(d.bodies[key], string(m.Body))
	uniq, ok := protocol.Property(m.Properties, protocol.PropUniqKey)
	if !ok {
		t.Fatal("message without a unique key")
	}
	d.keys[[2]string{topic, uniq}] = string(m.Body)
}

// TestDamageAnywhere changes bytes of any file of a store and opens it: it must
// open, serve nothing but its messages, and say so if it cannot serve them all.
func TestDamageAnywhere(t *testing.T) {
	t.Parallel()
	rounds := damageRounds
	if raceEnabled {
		rounds /= 4
	}
	for _, d := range damageables(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			for round := range rounds {
				d.round(t, round, random)
			}
		})
	}
}

func (d *damageable) round(t *testing.T, round int, random *rand.Rand) {
	dir := tempDir(t)
	if err := os.CopyFS(dir, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	what := garble(t, dir, random)
	log, text := logged()
	defer func() {
		if t.Failed() {
			t.Logf("round %d, %s\n%s", round, what, text.String())
			t.FailNow()
		}
	}()
	for range 2 { // and a second time: what was mended stays so
		s, err := tryOpen(t, d.cfg(dir), Options{Log: log})
		if err != nil {
			t.Errorf("does not open: %v", err)
			return
		}
		bodies, keys := d.missing(s)
		if said := strings.Contains(text.String(), "level=ERROR") || strings.Contains(text.String(), "were cut off"); !said && (len(bodies) > d.unguardedBodies(what) || len(keys) > d.unguarded(what)) {
			t.Errorf("%v and the keys %v are missing, and nobody says so", bodies, keys)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// unguarded is how many keys may be lost without a word: no checksum guards the
// properties of a record, and only the newest file of the index is held against
// its slots, after a clean stop.
func (d *damageable) unguarded(what string) int {
	switch {
	case strings.Contains(what, "/commitlog/"):
		return 2
	case strings.Contains(what, "/index/") && d.loose:
		return 2 * oracleCount / 100 * 4 // the chain of a slot or two
	}
	return 0
}

// unguardedBodies is how many messages may go elsewhere: nothing guards topic,
// queue and offset of a record from which the queues are made again.
func (d *damageable) unguardedBodies(what string) int {
	if strings.Contains(what, "/commitlog/") && d.loose {
		return 1
	}
	return 0
}

// mostGarbled is how many bytes are changed at once.
const mostGarbled = 64

// garble changes a bit, a byte or some bytes of one file.
func garble(t *testing.T, dir string, random *rand.Rand) string {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if info, _ := e.Info(); err == nil && !e.IsDir() && info.Size() > 0 {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path := paths[random.IntN(len(paths))]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := random.IntN(len(b))
	if random.IntN(2) == 0 { // where something is
		at = random.IntN(max(len(bytes.TrimRight(b, "\x00")), 1))
	}
	old := slices.Clone(b)
	to := min(at+1+random.IntN(mostGarbled), len(b))
	switch how := random.IntN(4); {
	case how == 0 && len(bytes.Trim(b[to:], "\x00")) > 0: // a lost end looks like a shorter file
		clear(b[at:to])
	case how == 1:
		for i := at; i < to; i++ {
			b[i] = byte(random.Uint32())
		}
	default:
		b[at] ^= 1 << random.IntN(8)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	from := firstDifference(b, old)
	return fmt.Sprintf("%s byte %d: % x instead of % x", path, from, b[from:min(from+64, len(b))], old[from:min(from+64, len(old))])
}

// missing reads everything and returns what is not there; what is there must be right.
func (d *damageable) missing(s *testStore) (bodies, keys []string) {
	var res GetResult
	defer res.Release()
	for key, want := range d.bodies {
		got := map[string]bool{}
		for at := s.MinOffset(key.topic, key.id); at < s.MaxOffset(key.topic, key.id); at = max(res.Next, at+1) {
			s.Get(GetQuery{Topic: key.topic, Queue: key.id, Offset: at, MaxMessages: 1}, &res)
			for _, segment := range res.Segments {
				var m protocol.Message
				n, err := protocol.DecodeMessage(segment, &m)
				if err != nil || n != len(segment) || !slices.Contains(want, string(m.Body)) || m.Topic != key.topic {
					s.t.Errorf("%v at %d: garbage %q, %v", key, at, segment, err)
				}
				if got[string(m.Body)] {
					s.t.Errorf("%v at %d: %q a second time", key, at, m.Body)
				}
				got[string(m.Body)] = true
			}
		}
		for i, body := range want {
			if !got[body] {
				bodies = append(bodies, fmt.Sprint(key, " ", i))
			}
		}
	}
	for key, body := range d.keys {
		if found := s.byKey(key[0], key[1]); !slices.Contains(found, body) {
			keys = append(keys, fmt.Sprint(key))
		}
	}
	return bodies, keys
}
