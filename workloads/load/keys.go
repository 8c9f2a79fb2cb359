package load

import (
	"strconv"

	"rmqbench/workloads"
)

// keys chooses the keys of messages.
type keys struct {
	workloads.Keys
	zipf zipf
}

func newKeys(k workloads.Keys) keys {
	out := keys{Keys: k}
	if k.Kind == workloads.KeyZipf {
		out.zipf = newZipf(max(1, k.Count), k.S)
	}
	return out
}

// random reports whether keys are drawn; others follow from the index.
func (k *keys) random() bool { return k.Kind == workloads.KeyUniform || k.Kind == workloads.KeyZipf }

// append appends the key of message index, nothing when messages have none.
func (k *keys) append(b []byte, s *stream, index int64) []byte {
	var number uint64
	switch k.Kind {
	case workloads.KeyUniform:
		number = s.below(uint64(max(1, k.Count)))
	case workloads.KeyZipf:
		number = k.zipf.draw(s)
	case workloads.KeySequential:
		number = uint64(index)
	case workloads.KeyFlow:
		steps := int64(max(1, len(k.Steps)))
		number = uint64(index/steps + (steps-1-index%steps)*int64(k.Open))
	default:
		return b
	}
	return strconv.AppendUint(append(b, k.Prefix...), number, 10)
}

// step returns the name of the step that message index is in the life of its key.
func (k *keys) step(index int64) string {
	if k.Kind != workloads.KeyFlow || len(k.Steps) == 0 {
		return ""
	}
	return k.Steps[index%int64(len(k.Steps))]
}
