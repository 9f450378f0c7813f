// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEscape(t *testing.T) {
	tests := map[string]struct{ bytes, text string }{
		"nothing to do":              {"/etc/pässwd\n", "/etc/pässwd\n"},
		"invalid byte":               {"a\xffb", `a\xffb`},
		"cut rune":                   {"\xe2\x82", `\xe2\x82`},
		"surrogate":                  {"\xed\xa0\x80", `\xed\xa0\x80`},
		"U+FFFD itself":              {"\ufffd", "\ufffd"},
		"looks escaped":              {`\x41`, `\x5cx41`},
		"looks escaped, upper case":  {`\xFF`, `\x5cxFF`},
		"looks escaped twice":        {`\x5cx41`, `\x5cx5cx41`},
		"backslash of another kind":  {`C:\new\x1`, `C:\new\x1`},
		"backslash, then a bad byte": {"\\\xfe", `\\xfe`},
		"half an escape, bad byte":   {"\\x4\xfe", `\x4\xfe`},
		"empty":                      {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.text, Escape(test.bytes))
			assert.Equal(t, test.bytes, Unescape(test.text))
		})
	}
}

// FuzzEscape: any bytes become valid UTF-8, as attribute and as JSON alike, and come back the same.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "/etc/shadow", "é€😀", "\xff\xfe", "\xe2\x82", `\x41`, `\\x41`, "\\\xff", "\\x4\xff", "\x00\x1f\x7f\"\\/", "\u2028\ufffd", `\x5cx41`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := Escape(s)
		if !utf8.ValidString(text) {
			t.Fatalf("%q: %q is no UTF-8", s, text)
		}
		if got := Unescape(text); got != s {
			t.Fatalf("%q came back as %q", s, got)
		}
		quoted := appendString(nil, s)
		var read string
		if err := json.Unmarshal(quoted, &read); err != nil || read != text {
			t.Fatalf("%q: %s reads as %q, %v", s, quoted, read, err)
		}
		var own string
		sc := scanner{text: string(quoted)}
		if sc.str(&own); sc.err != nil || own != s || sc.pos != len(quoted) {
			t.Fatalf("%q: %s decodes as %q, %v", s, quoted, own, sc.err)
		}
	})
}

// FuzzDecode: no body does harm, and what was read can be written, is of the schema, and reads the same again.
func FuzzDecode(f *testing.F) {
	for t := TypeExec; t < NumTypes; t++ {
		e := testEvent(t, 2)
		f.Add(e.AppendJSON(nil))
		e.Extended = true
		f.Add(e.AppendJSON(nil))
	}
	full := fullEvent(CredentialsCapset).AppendJSON(nil)
	f.Add(full)
	f.Add(AppendDetection(nil, full, "a title", &Agent{RuleID: "r"}))
	for _, s := range []string{
		``, `{`, `{}`, `[]`, `null`, ` { "evt" : { "name" : "open" } } `, `{"evt":null,"file":null,"process":null}`, `{"process":{"ancestors":[{},null,{"is_thread":true}]}}`,
		`{"process":{"is_thread":true,"parent":{"is_thread":true},"ancestors":[{"is_thread":true},{"args":["a"]}]}}`, `{"file":{"path":"\ud83d\ude00\ud800 \\xff"}}`,
		`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, `{"date":"2024-05-02T09:31:44.120553184+02:00"}`, `{"file":{"uid":-1,"gid":1e3}}`,
	} {
		f.Add([]byte(s))
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		var d Decoder // a new one each time: what it keeps would make the same input take other paths
		var e Event
		for need := NeedFile; need < NeedAll; need <<= 1 {
			_ = d.Decode(body, need, &e)
		}
		if d.Decode(body, NeedAll, &e) != nil {
			return
		}
		once := e.AppendJSON(nil)
		if !e.Extended {
			validate(t, schema, once)
		}
		var again Event
		require.NoError(t, d.Decode(once, NeedAll, &again), "%s", once)
		require.Equal(t, string(once), string(again.AppendJSON(nil)))
	})
}
