// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAppendEscaped(t *testing.T) {
	tests := []struct{ in, want string }{
		{``, ``},
		{`plain`, `plain`},
		{`{"a":"b\\c"}`, `{\"a\":\"b\\\\c\"}`},
		{"\x00\x1f\b\f\n\r\t", `\u0000\u001f\b\f\n\r\t`},
		{"</script>&\x7f", "</script>&\x7f"}, // nothing more than JSON asks for
		{"ä→🔒\u2028", "ä→🔒\u2028"},
		{"a\xffb\"", "a\ufffdb\\\""},
		{"\xed\xa0\x80\n", "\ufffd\ufffd\ufffd\\n"},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, string(appendEscaped(nil, tt.in)), "%q", tt.in)
	}
}

func FuzzAppendEscaped(f *testing.F) {
	for _, s := range []string{"", `{"a":"\\x41"}`, "\x00\xff\"\\", "\u2028\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := append(appendEscaped([]byte{'"'}, s), '"')
		var got string
		if err := json.Unmarshal(quoted, &got); err != nil {
			t.Fatalf("%q becomes %q: %v", s, quoted, err)
		}
		// encoding/json replaces bytes that are not UTF-8 in the same way.
		var want string
		b, _ := json.Marshal(s)
		_ = json.Unmarshal(b, &want)
		if got != want {
			t.Fatalf("%q reads back as %q", s, got)
		}
		if strings.ContainsFunc(string(quoted), func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q has raw control bytes", quoted)
		}
	})
}
