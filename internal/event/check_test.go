// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckBody(t *testing.T) {
	for _, typ := range []Type{TypeOpen, TypeExec, TypeConnect, TypeSignal} {
		require.NoError(t, CheckBody(string(testEvent(typ, 3).AppendJSON(nil))), typ)
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":{"title":1,"agent":[]}`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for body, want := range map[string]string{
		"{}": "", " {\n}\t": "", many(maxRootMembers): "", `{"file":{"path":"\ud800\"é"},"title ":1}`: "",
		"": "the body is no JSON", "null": "the body is no JSON object", `[{}]`: "the body is no JSON object", `"{}"`: "the body is no JSON object",
		`{"usr":<<<not json>>>}`: "the body is no JSON", `{"usr":{},}`: "the body is no JSON", `{}{}`: "the body is no JSON", `{"a":01}`: "the body is no JSON",
		"{\"a\":\"\n\"}": "the body is no JSON", `{"a":"\x"}`: "the body is no JSON", `{"a":tru}`: "the body is no JSON", `{"a":[}`: "the body is no JSON",
		"{\"a\":\"\xff\"}":     "the body is not UTF-8",
		`{"evt":{},"title":1}`: "the body has the member title, as a detection", `{"\u0061gent":1}`: "the body has the member agent, as a detection",
		`{"file":{},"evt":{},"file":{}}`: `the body has the member "file" twice`,
		many(maxRootMembers + 1):         "the body has more than 64 members",
	} {
		if err := CheckBody(body); want == "" {
			require.NoError(t, err, body)
		} else {
			require.EqualError(t, err, want, body)
		}
	}
}

// What CheckBody lets pass is JSON for encoding/json too, and a detection made of it is one object.
func FuzzCheckBody(f *testing.F) {
	f.Add(`{"evt":{"name":"open"},"file":{"path":"/a","flags":["O_RDONLY"]},"n":-1.5e3}`)
	f.Add(" {\"a\":[true,false,null,{\"b\":\"\\u00e9\"}]}\n")
	f.Fuzz(func(t *testing.T, body string) {
		if CheckBody(body) != nil {
			return
		}
		assert.True(t, json.Valid([]byte(body)), "%q", body)
		detection := appendDetection(nil, strings.TrimLeft(body, " \t\r\n"), "t", &Agent{RuleID: "r"})
		var v map[string]any
		require.NoError(t, json.Unmarshal(detection, &v), "%q", detection)
		assert.Equal(t, "t", v["title"])
	})
}
