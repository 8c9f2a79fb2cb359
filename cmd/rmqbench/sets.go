package main

import (
	"fmt"
	"strconv"
	"strings"

	"rmqbench/profiles"
)

// sets are the --set flags, by what they change.
type sets struct {
	workload []string          // path=value of the workload
	broker   map[string]string // settings of the brokers that are started
	target   map[string]string // keys of the profile: namesrv, maxProcs, java.heap, java.version
}

// splitSets tells the settings of the target from those of the workload.
func splitSets(all []string) (sets, error) {
	out := sets{broker: map[string]string{}, target: map[string]string{}}
	for _, s := range all {
		path, value, found := strings.Cut(s, "=")
		key, ofBroker := strings.CutPrefix(path, "broker.")
		ofTarget := path == "namesrv" || path == "maxProcs" || strings.HasPrefix(path, "java.")
		switch {
		case (ofBroker || ofTarget) && (!found || value == ""):
			return out, fmt.Errorf("--set %s: want path=value", s)
		case ofBroker:
			if err := profiles.CheckSetting(key); err != nil {
				return out, fmt.Errorf("--set %s: %w", s, err)
			}
			out.broker[key] = value
		case ofTarget:
			out.target[path] = value
		default:
			out.workload = append(out.workload, s)
		}
	}
	return out, nil
}

// profile loads a profile that is to be run, with the user's changes in it.
func (s sets) profile(name string) (*profiles.Profile, error) {
	p, err := s.named(name)
	if err != nil {
		return nil, err
	}
	if p.Kind == profiles.External && len(p.NameServers) == 0 {
		return nil, fmt.Errorf("profile %s needs the address of a NameServer: add --set namesrv=HOST:PORT", p.Name)
	}
	return p, nil
}

// named loads a profile and puts the user's changes into it.
func (s sets) named(name string) (*profiles.Profile, error) {
	p, err := profiles.Load(name)
	if err != nil {
		return nil, err
	}
	for key, value := range s.target {
		if err := changeProfile(p, key, value); err != nil {
			return nil, fmt.Errorf("--set %s=%s: %w", key, value, err)
		}
	}
	if p.Kind == profiles.External && len(s.broker) > 0 {
		return nil, fmt.Errorf("the settings of an external broker are not ours to change: leave --set broker.… out")
	}
	return p, nil
}

func changeProfile(p *profiles.Profile, key, value string) error {
	belongs := map[string]profiles.Kind{
		"namesrv": profiles.External, "maxProcs": p.Kind, "java.heap": profiles.Java, "java.version": profiles.Java,
	}
	kind, known := belongs[key]
	if !known {
		return fmt.Errorf("there is no %s; the settings of a target are namesrv, maxProcs, java.heap, java.version and broker.KEY", key)
	}
	if p.Kind != kind || key == "maxProcs" && kind == profiles.External {
		return fmt.Errorf("%s belongs to a target of kind %s, and profile %s is of kind %s", key, kind, p.Name, p.Kind)
	}
	switch key {
	case "namesrv":
		return setNameServers(p, value)
	case "maxProcs":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("want a whole number, 0 or more")
		}
		p.MaxProcs = n
	case "java.heap":
		return p.Java.SetHeap(value)
	case "java.version":
		return p.Java.SetVersion(value)
	}
	return nil
}

// setNameServers takes addresses joined by ; as RocketMQ's own tools do, or by commas.
func setNameServers(p *profiles.Profile, value string) error {
	p.NameServers = strings.FieldsFunc(value, func(r rune) bool { return r == ';' || r == ',' })
	for _, address := range p.NameServers {
		if err := profiles.CheckAddress(address); err != nil {
			return err
		}
	}
	return nil
}
