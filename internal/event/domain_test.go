// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRootDomain(t *testing.T) {
	for name, want := range map[string]string{
		"":                                "",
		".":                               "",
		"com":                             "",
		"co.uk":                           "",
		"localhost":                       "",
		"example.com":                     "example.com",
		"a.b.example.com":                 "example.com",
		"example.com.":                    "example.com",
		"www.Example.CO.UK":               "Example.CO.UK",
		"host.internal":                   "host.internal", // what is not listed has a suffix of one label
		"a.host.internal":                 "host.internal",
		"x..com":                          "",
		".com":                            "",
		strings.Repeat("a.", 4096):        "",
		strings.Repeat("a", 251) + ".com": strings.Repeat("a", 251) + ".com",
	} {
		assert.Equal(t, want, rootDomain(name), name)
		assert.Equal(t, want, rootDomain(name), name)
		assert.Zero(t, testing.AllocsPerRun(10, func() { rootDomain(name) }), name)
	}
	for i := range 3 * maxRootDomains {
		rootDomain(strconv.Itoa(i) + ".com")
	}
	assert.LessOrEqual(t, len(rootDomains.of), maxRootDomains)
}
