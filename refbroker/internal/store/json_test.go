package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rmqbench/refbroker/internal/vfs"
)

func TestLoadJSON(t *testing.T) {
	t.Parallel()
	const missing = "\x00"
	for _, row := range []struct {
		name, file, bak, want string
		fails                 bool
	}{
		{"both there", "new", "old", "new", false},
		{"only the file", "new", missing, "new", false},
		{"file missing", missing, "old", "old", false},
		{"file empty", "", "old", "old", false},
		{"file not decodable", "bad", "old", "old", false},
		{"both missing", missing, missing, "", false},
		{"file empty, no bak", "", missing, "", false},
		{"file missing, bak not decodable", missing, "bad", "", true},
		{"both not decodable", "bad", "bad", "", true},
		{"file not decodable, no bak", "bad", missing, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(tempDir(t), "topics.json")
			for name, content := range map[string]string{path: row.file, path + ".bak": row.bak} {
				if content != missing {
					os.WriteFile(name, []byte(content), 0o644)
				}
			}
			got := ""
			err := LoadJSON(vfs.OS, path, func(b []byte) error {
				if string(b) == "bad" {
					return errors.New("not JSON")
				}
				got = string(b)
				return nil
			})
			if got != row.want || (err != nil) != row.fails {
				t.Errorf("loaded %q, %v", got, err)
			}
			if row.fails && (!strings.Contains(err.Error(), "topics.json") || !strings.Contains(err.Error(), "remove") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("not one sentence that says what to do: %v", err)
			}
			aside, _ := os.ReadFile(path + ".broken")
			if kept := string(aside) == "bad"; kept != (row.file == "bad" && !row.fails) {
				t.Errorf("kept aside: %q", aside)
			}
			if bak, err := os.ReadFile(path + ".bak"); err == nil && string(bak) != row.bak {
				t.Errorf("the .bak became %q", bak)
			}
		})
	}
}

func TestSaveJSONKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "topics.json")
	for _, content := range []string{"one", "two", "three"} {
		if err := SaveJSON(vfs.OS, path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{path: "three", path + ".bak": "two"} {
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s has %q, %v", name, b, err)
		}
	}
	for _, failing := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpRename} {
		bad := vfs.Inject(vfs.OS, func(op vfs.Op, _ string) error {
			if op == failing {
				return errBroken
			}
			return nil
		})
		if err := SaveJSON(bad, path, []byte("four")); !errors.Is(err, errBroken) {
			t.Errorf("%v fails: %v", failing, err)
		}
		if b, _ := os.ReadFile(path); string(b) != "three" {
			t.Errorf("%v fails: file has %q", failing, b)
		}
		os.Remove(path + ".bak.tmp")
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(c *Config)
		ok     bool
	}{
		{"defaults", func(c *Config) {}, true},
		{"no root", func(c *Config) { c.StorePathRootDir = "" }, false},
		{"comma in the root", func(c *Config) { c.StorePathRootDir = "/some,where" }, false},
		{"comma in the root, log elsewhere", func(c *Config) { c.StorePathRootDir, c.StorePathCommitLog = "/some,where", "/log" }, true},
		{"unknown flush", func(c *Config) { c.FlushDiskType = "LAZY" }, false},
		{"tiny log file", func(c *Config) { c.MappedFileSizeCommitLog = 100 }, false},
		{"no queue file", func(c *Config) { c.MappedFileSizeConsumeQueue = 0 }, false},
		{"no slots", func(c *Config) { c.MaxHashSlotNum = 0 }, false},
		{"no entries", func(c *Config) { c.MaxIndexNum = 1 }, false},
		{"no interval", func(c *Config) { c.FlushIntervalCommitLog = 0 }, false},
		{"bad delay", func(c *Config) { c.MessageDelayLevel = "1s 5x" }, false},
		{"delay without number", func(c *Config) { c.MessageDelayLevel = "s" }, false},
	} {
		c := DefaultConfig()
		c.StorePathRootDir = "/somewhere"
		row.change(&c)
		if err := c.check(); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	c := DefaultConfig()
	c.StorePathRootDir, c.MappedFileSizeConsumeQueue = "/a", 61
	if err := c.check(); err != nil || c.MappedFileSizeConsumeQueue != 80 || c.StorePathCommitLog != "/a/commitlog" {
		t.Errorf("%+v %v", c, err)
	}
}
