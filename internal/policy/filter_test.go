// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func testMachine() *Machine {
	return &Machine{
		OS:            "linux",
		OSRelease:     map[string]string{"ID": "debian", "VERSION_ID": "12"},
		KernelRelease: "6.1.0-18-cloud-amd64",
		KernelBTF:     true,
		Hostname:      "web-1",
		Envs:          []string{"DD_ENV=prod", "HOME=/root"},
		Origin:        "ebpf",
	}
}

func TestFilter(t *testing.T) {
	fields := testMachine().filterFields()
	tests := map[string]bool{
		`os == "linux"`:                                         true,
		`os != "linux"`:                                         false,
		`os == "windows" || os == "linux"`:                      true,
		`os == "linux" and kernel.version.major >= 5`:           true,
		`kernel.version.major == 6 && kernel.version.minor < 1`: false,
		`kernel.version.patch == 0`:                             true,
		`kernel.version.abi == "18"`:                            true,
		`kernel.version.flavor == "cloud-amd64"`:                true,
		`kernel.version.flavor =~ "*-amd64"`:                    true,
		`kernel.version.flavor !~ "*-amd64"`:                    false,
		`kernel.version.flavor in [~"*-arm64", r"^cloud"]`:      true,
		`kernel.core.enabled`:                                   true,
		`!kernel.core.enabled`:                                  false,
		`not os.is_rhel`:                                        true,
		`os.is_debian && !(os.is_sles || os.is_sles12)`:         true,
		`os.id not in ["ubuntu", "fedora"]`:                     true,
		`os.version_id == "12"`:                                 true,
		`kernel.version.major in [4, 5]`:                        false,
		`"DD_ENV=prod" in envs`:                                 true,
		`envs == "DD_ENV=staging"`:                              false,
		`envs in [~"DD_ENV=*"]`:                                 true,
		`hostname == "web-1" && origin == "ebpf"`:               true,
		// As in rules, && and || bind equally, and to the right.
		`os == "x" && os == "x" || os == "linux"`:   false,
		`(os == "x" && os == "x") || os == "linux"`: true,
		`true`: true,
	}
	for expr, want := range tests {
		got, err := evalFilter(expr, fields)
		require.NoError(t, err, expr)
		assert.Equal(t, want, got, expr)
	}
}

func TestFilterErrors(t *testing.T) {
	fields := testMachine().filterFields()
	tests := map[string]struct {
		offset  int
		message string
	}{
		`os.idd == "x"`:             {0, `filter field "os.idd" does not exist; did you mean "os.id"?`},
		`os == `:                    {6, `unexpected end of the filter`},
		`os == "linux" os`:          {14, `unexpected "os"`},
		`os`:                        {0, `a filter must be true or false, this is a text`},
		`os == 3`:                   {6, `cannot compare a text == an integer`},
		`os < "x"`:                  {5, `cannot compare a text < a text`},
		`os == "a`:                  {6, "unexpected character '\"'"},
		`os in os.id`:               {6, `"os.id" is not a list`},
		`os in ["a"`:                {10, `expected "]", found end of the filter`},
		`os && true`:                {0, `expected true or false, found a text`},
		`os =~ r"("`:                {6, "regular expression: error parsing regexp: missing closing ): `(`"},
		`99999999999999999999 == 1`: {0, `integer 99999999999999999999 is out of range`},
		`os == "é" ?`:               {11, `unexpected character '?'`},
		``:                          {0, `unexpected end of the filter`},
		`1 in envs`:                 {0, `expected a text, found an integer`},
	}
	for expr, want := range tests {
		_, err := evalFilter(expr, fields)
		var fe *filterError
		require.ErrorAs(t, err, &fe, expr)
		assert.Equal(t, want.message, fe.message, expr)
		assert.Equal(t, want.offset, fe.offset, expr)
	}
	for _, deep := range []string{strings.Repeat("(", 10_000), strings.Repeat("!", 10_000), strings.Repeat("true && ", 10_000)} {
		_, err := evalFilter(deep, fields)
		require.ErrorContains(t, err, "deep")
	}
}

func TestKernelReleases(t *testing.T) {
	tests := map[string][5]any{
		"5.15.0-1058-aws":       {int64(5), int64(15), int64(0), "1058", "aws"},
		"5.10.0":                {int64(5), int64(10), int64(0), "", ""},
		"6.12.3-arch1-1":        {int64(6), int64(12), int64(3), "", "arch1-1"},
		"4.18.0-477.el8.x86_64": {int64(4), int64(18), int64(0), "477", "el8.x86_64"},
		"":                      {int64(0), int64(0), int64(0), "", ""},
		"unknown":               {int64(0), int64(0), int64(0), "", ""},
		"6.1-rc1":               {int64(6), int64(1), int64(0), "", "rc1"},
	}
	for release, want := range tests {
		f := (&Machine{KernelRelease: release}).filterFields()
		got := [5]any{}
		for i, part := range []string{"major", "minor", "patch", "abi", "flavor"} {
			got[i] = f["kernel.version."+part]
		}
		assert.Equal(t, want, got, release)
	}
}

func TestParseOSRelease(t *testing.T) {
	got := parseOSRelease(strings.NewReader("# c\nID=ubuntu\nVERSION_ID=\"22.04\"\nNAME='Ubu ntu'\nbroken\n"))
	assert.Equal(t, map[string]string{"ID": "ubuntu", "VERSION_ID": "22.04", "NAME": "Ubu ntu"}, got)
}

func TestVersionHolds(t *testing.T) {
	v, err := ParseAgentVersion("7.66.1-rc.3")
	require.NoError(t, err)
	assert.Equal(t, "7.66.1", v.String())
	for constraint, want := range map[string]bool{
		">= 7.65 < 7.70": true, ">= 7.65, < 7.70": true, "< 7.66": false, ">= 7.66.1": true, "7.x": true, "< 7.27 || > 7.60": true,
	} {
		got, err := versionHolds(constraint, v)
		require.NoError(t, err, constraint)
		assert.Equal(t, want, got, constraint)
	}
	for _, bad := range []string{"seven", ">= ", strings.Repeat("9", 1000)} {
		_, err := versionHolds(bad, v)
		require.Error(t, err, bad)
	}
	_, err = ParseAgentVersion("latest")
	require.ErrorContains(t, err, `agent version "latest"`)
}
