// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestParseArgs(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, tc := range []struct {
		name      string
		data      string
		truncated bool
		argv0     string
		args      []string
		cut       bool
	}{
		{name: "nothing"},
		{name: "nothing, truncated", truncated: true, cut: true},
		{name: "program only", data: "ls\x00", argv0: "ls"},
		{name: "arguments", data: "ls\x00-l\x00/tmp\x00", argv0: "ls", args: []string{"-l", "/tmp"}},
		{name: "no NUL at the end", data: "ls\x00-l", argv0: "ls", args: []string{"-l"}},
		{name: "empty arguments", data: "\x00\x00a\x00\x00", argv0: "", args: []string{"", "a", ""}},
		{name: "last one cut off", data: "ls\x00/tm", truncated: true, argv0: "ls", args: []string{"/tm..."}, cut: true},
		{name: "cut off between two", data: "ls\x00/tmp\x00", truncated: true, argv0: "ls", args: []string{"/tmp"}, cut: true},
		{name: "program cut off", data: "ls", truncated: true, argv0: "ls...", cut: true},
		{name: "cut off within a rune", data: "ls\x00h\xc3", truncated: true, argv0: "ls", args: []string{"h..."}, cut: true},
		{name: "longest", data: "x\x00" + long[:256] + "\x00", argv0: "x", args: []string{long[:256]}},
		{name: "too long", data: "x\x00" + long[:257] + "\x00y\x00", argv0: "x", args: []string{long[:253] + "...", "y"}, cut: true},
		{name: "long program", data: long + "\x00y\x00", argv0: long[:253] + "...", args: []string{"y"}, cut: true},
		{name: "rune at the limit", data: "x\x00" + long[:252] + "é" + long + "\x00", argv0: "x", args: []string{long[:252] + "..."}, cut: true},
		{name: "rune before the limit", data: "x\x00" + long[:251] + "é" + long + "\x00", argv0: "x", args: []string{long[:251] + "é..."}, cut: true},
		{name: "four bytes", data: "x\x00" + long[:250] + "😀" + long + "\x00", argv0: "x", args: []string{long[:250] + "..."}, cut: true},
		{name: "no UTF-8", data: "x\x00" + long[:252] + "\xff\xff" + long + "\x00", argv0: "x", args: []string{long[:252] + "\xff..."}, cut: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			argv0, args, cut := ParseArgs([]byte(tc.data), tc.truncated)
			assert.Equal(t, tc.argv0, argv0)
			assert.Equal(t, tc.args, args)
			assert.Equal(t, tc.cut, cut)
		})
	}
}

func TestParseArgsCount(t *testing.T) {
	_, args, cut := ParseArgs([]byte("x\x00"+strings.Repeat("a\x00", 256)), false)
	assert.Len(t, args, 256)
	assert.False(t, cut)
	_, args, cut = ParseArgs([]byte("x\x00"+strings.Repeat("a\x00", 257)), false)
	assert.Len(t, args, 256)
	assert.True(t, cut)
}

func TestEnvFilter(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, tc := range []struct {
		name      string
		data      string
		truncated bool
		envs      []string
		cut       bool
	}{
		{name: "nothing"},
		{name: "names", data: "HOME=/root\x00TOKEN=secret\x00", envs: []string{"HOME", "TOKEN"}},
		{name: "values of the list", data: "PATH=/bin\x00TOKEN=secret\x00LD_PRELOAD=/tmp/x.so", envs: []string{"PATH=/bin", "TOKEN", "LD_PRELOAD=/tmp/x.so"}},
		{name: "empty value", data: "PATH=\x00A=\x00", envs: []string{"PATH=", "A"}},
		{name: "another case", data: "path=/bin\x00", envs: []string{"path"}},
		{name: "no variable", data: "secret\x00=x\x00\x00A=b\x00", envs: []string{"A"}},
		{name: "name with equals sign", data: "=C:=x\x00", envs: []string{"=C:"}},
		{name: "cut off in a value", data: "A=b\x00PATH=/b", truncated: true, envs: []string{"A", "PATH=/b..."}, cut: true},
		{name: "cut off in a hidden value", data: "PATH=/bin\x00A=b", truncated: true, envs: []string{"PATH=/bin", "A"}, cut: true},
		{name: "cut off in a name", data: "PATH=/bin\x00SECR", truncated: true, envs: []string{"PATH=/bin"}, cut: true},
		{name: "long value", data: "PATH=" + long + "\x00", envs: []string{"PATH=" + long[:248] + "..."}, cut: true},
		{name: "long hidden value", data: "A=" + long + "\x00", envs: []string{"A"}},
		{name: "long name", data: long + "=x\x00", envs: []string{long[:253] + "..."}, cut: true},
		{name: "as many as kept", data: strings.Repeat("A=b\x00", 256), envs: strings.Split(strings.Repeat("A,", 255)+"A", ",")},
		{name: "more", data: strings.Repeat("A=b\x00", 257), envs: strings.Split(strings.Repeat("A,", 255)+"A", ","), cut: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			envs, cut := NewEnvFilter(DefaultEnvsWithValue).Parse([]byte(tc.data), tc.truncated)
			assert.Equal(t, tc.envs, envs)
			assert.Equal(t, tc.cut, cut)
		})
	}
	var none *EnvFilter
	envs, _ := none.Parse([]byte("PATH=/bin\x00"), false)
	assert.Equal(t, []string{"PATH"}, envs)
}

func FuzzParseArgs(f *testing.F) {
	for _, s := range []string{"", "ls\x00-l\x00", "\x00\x00", "x\x00\xff\xc3", strings.Repeat("é", 300), strings.Repeat("a\x00", 300)} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, truncated bool) {
		argv0, args, cut := ParseArgs(data, truncated)
		assert.LessOrEqual(t, len(args), MaxArgs)
		if truncated {
			assert.True(t, cut)
		}
		for _, a := range append([]string{argv0}, args...) {
			assert.LessOrEqual(t, len(a), MaxArgLen)
			assert.NotContains(t, a, "\x00")
			if utf8.Valid(data) {
				assert.True(t, utf8.ValidString(a), "%q", a)
			}
		}
		if !cut { // nothing is lost then
			var all []byte
			for _, a := range append([]string{argv0}, args...) {
				all = append(append(all, a...), 0)
			}
			assert.Equal(t, bytes.TrimRight(data, "\x00"), bytes.TrimRight(all, "\x00"))
		}
	})
}

func FuzzEnvFilter(f *testing.F) {
	for _, s := range []string{"", "A=b\x00PATH=/bin\x00", "secret", "=\x00==", "PATH=" + strings.Repeat("é", 300)} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	filter := NewEnvFilter([]string{"PATH"})
	f.Fuzz(func(t *testing.T, data []byte, truncated bool) {
		envs, _ := filter.Parse(data, truncated)
		assert.LessOrEqual(t, len(envs), MaxArgs)
		for _, e := range envs {
			assert.LessOrEqual(t, len(e), MaxArgLen)
			if i := strings.IndexByte(e[1:], '='); i >= 0 {
				assert.Equal(t, "PATH", e[:i+1])
			}
		}
	})
}

func BenchmarkParseArgs(b *testing.B) {
	data := []byte("/usr/bin/curl\x00-s\x00--header\x00Accept: application/json\x00https://example.com/v1/items\x00")
	b.ReportAllocs()
	for b.Loop() {
		ParseArgs(data, false)
	}
}
