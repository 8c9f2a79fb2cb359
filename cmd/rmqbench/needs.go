package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rmqbench/profiles"
	"rmqbench/workloads"
	"rmqbench/workloads/driver/clientgo"
)

// strangers says of each fault of a plan whose node the target has not.
func strangers(plan *workloads.Plan, p *profiles.Profile) error {
	if p.Kind == profiles.External { // what it offers is known, its nodes are not
		return nil
	}
	var names, all []string
	for _, n := range p.Nodes {
		names = append(names, n.Name)
	}
	for _, ph := range plan.Phases {
		for _, ev := range ph.Events {
			if f := ev.Fault; f != nil && !slices.Contains(names, f.Target) {
				all = append(all, fmt.Sprintf("phase %s is to %s %s, and the target %s has no such node; it has %s", ph.Name, f.Action, f.Target, p.Name, strings.Join(names, ", ")))
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return wrong(errors.New(strings.Join(all, "\n")))
}

// offer is what a driver or a target has not: misses gives the reason for a
// feature that is missing, and "" for one that is there.
type offer struct {
	who    string // "the driver client-go"
	misses func(feature string) string
}

// driverMisses are the features that a driver has not, with the reason; one that
// is not named misses nothing.
var driverMisses = map[string]map[string]string{clientgo.Name: clientgo.Misses}

// offers are those of a driver and a profile.
func offers(driverName string, profile *profiles.Profile) []offer {
	return []offer{driverOffer(driverName), targetOffer(profile)}
}

func driverOffer(name string) offer {
	return offer{"the driver " + name, func(feature string) string { return driverMisses[name][feature] }}
}

func targetOffer(p *profiles.Profile) offer { return offer{"the target " + p.Name, p.Misses} }

// unmet says in a sentence each what a plan needs and driver or target have not.
func unmet(needs []workloads.Need, by []offer) error {
	var all []string
	for _, n := range needs {
		for _, o := range by {
			if why := o.misses(string(n.Feature)); why != "" {
				all = append(all, fmt.Sprintf("%s needs %s, which %s does not offer: %s", n.Who, n.Feature, o.who, strings.TrimSuffix(why, ".")))
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return wrong(errors.New(strings.Join(all, "\n")))
}
