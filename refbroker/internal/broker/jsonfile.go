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
