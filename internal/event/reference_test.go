// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// referenceFields lists every field of the rule language. It lies beside the repository where Picket is developed.
const referenceFields = "../../../shared/reference/secl_fields.tsv"

// withoutField says of which fields there is none here, and why, though Picket produces their events. The key is the
// beginning of the name.
var withoutField = map[string]string{
	"fim.write.": "a rule with them becomes one rule per event type before it is compiled",
}

// TestReferenceFields: every field of the rule language is there with its type, unless Picket has no such event.
func TestReferenceFields(t *testing.T) {
	file, err := os.Open(referenceFields)
	if os.IsNotExist(err) {
		t.Skip("no list of the rule language's fields at " + referenceFields)
	}
	require.NoError(t, err)
	defer file.Close()
	got := map[string]int{}
	lines := bufio.NewScanner(file)
	require.True(t, lines.Scan()) // the head
rows:
	for lines.Scan() {
		columns := strings.Split(lines.Text(), "\t")
		require.Greater(t, len(columns), 2, lines.Text())
		types, name, kind := columns[0], columns[1], columns[2]
		for prefix := range withoutField {
			if strings.HasPrefix(name, prefix) {
				got["without"]++
				continue rows
			}
		}
		if IsUnproduced(types) {
			got["unproduced"]++
			continue
		}
		f, ok := LookupField(name)
		if !assert.True(t, ok, "%s of %s events", name, types) {
			continue
		}
		have := f.Kind.String()
		if f.Array {
			have += "[]"
		}
		assert.Equal(t, kind, have, name)
		if types == "*" {
			assert.Equal(t, TypeAny, f.Event, name)
		} else {
			assert.Contains(t, strings.Split(types, "|"), f.Event.String(), name)
		}
		got[f.Source.String()]++
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 27, got["without"])
	assert.Equal(t, 438, got["unproduced"])
	t.Log(got)
}
