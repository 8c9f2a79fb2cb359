//go:build race

package test

// buildFlags make the program under test what the tests are.
var buildFlags = []string{"-race"}
