// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A word that names no command is wrong use at every level, as a script that has mistyped it must see.
func TestUnknownCommands(t *testing.T) {
	for args, want := range map[string]string{
		"bogus":                 `unknown command "bogus" for "picketctl"`,
		"rule check":            `unknown command "rule" for "picketctl"; did you mean "rules"?`,
		"rules chek a.policy":   `unknown command "chek" for "picketctl rules"; did you mean "check"?`,
		"completion tcsh":       `unknown command "tcsh" for "picketctl completion"`,
		"completion bash extra": `unexpected argument "extra"`,
		"help nope":             `unknown command "nope" for "picketctl"`,
		"help rules nope":       `unknown command "nope" for "picketctl rules"`,
		"version extra":         `unexpected argument "extra"`,
		"logs a b":              `unexpected argument "b"`,
		"rules eval extra":      `unexpected argument "extra"`,
		"rules --nope":          `unknown flag: --nope`,
	} {
		stdout, stderr, code := picketctl(t, "", strings.Fields(args)...)
		assert.Equal(t, 2, code, args)
		assert.Empty(t, stdout, args)
		assert.Contains(t, stderr, "picketctl: "+want, args)
		assert.Contains(t, stderr, "--help')", args)
	}
	for args, want := range map[string]string{
		"": "Usage:", "rules": "Available Commands:", "completion": "Available Commands:", "help": "Usage:", "help rules check": "picketctl rules check", "completion bash": "bash completion",
		"rules --help": "Available Commands:", "version": "picketctl ", "--version": "picketctl ",
	} {
		stdout, stderr, code := picketctl(t, "", strings.Fields(args)...)
		assert.Zero(t, code, args)
		assert.Empty(t, stderr, args)
		assert.Contains(t, stdout, want, args)
	}
}
