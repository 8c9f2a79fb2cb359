package broker

import (
	"bytes"
	"encoding/json"
	"fmt"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// saveJSON writes a file of the folder config, indented with tabs as Java
// does. Numeric keys are quoted, which Java reads too.
func saveJSON(fs vfs.FS, path string, v any) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, protocol.Marshal(v), "", "\t"); err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return store.SaveJSON(fs, path, pretty.Bytes())
}

// loadJSON reads a file of the folder config that we or Java wrote, or its
// backup, and gives it to take. Neither being there is no error.
func loadJSON[T any](fs vfs.FS, path string, take func(*T)) error {
	return store.LoadJSON(fs, path, func(text []byte) error {
		var file T
		if err := protocol.Unmarshal(text, &file); err != nil {
			return err
		}
		take(&file)
		return nil
	})
}
