package profiles

// missing names, by kind of target, what it does not offer yet and why.
var missing = map[Kind]map[string]string{
	Go: {
		"pop consumers": "the Go broker does not hand out messages by POP yet: use push consumers, or the profile java-single",
	},
	External: {
		"faults": "the nodes of an external target were not started by this program, which cannot restart, kill or freeze them: use a profile whose nodes it starts",
	},
}

// Misses says in one sentence why a target of this profile cannot serve a
// feature, named as the workload language does ("pop consumers", "faults"), and
// what to use instead. It is empty for what the target offers.
func (p *Profile) Misses(feature string) string { return missing[p.Kind][feature] }
