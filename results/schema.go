package results

import _ "embed"

// RunSchema is the JSON Schema (draft 2020-12) of run.json, for other programs.
//
//go:embed run.schema.json
var RunSchema []byte
