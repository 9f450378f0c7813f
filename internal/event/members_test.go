// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// schemaLeaves lists the members of the schema; of Files and ProcessContexts only where they are.
func schemaLeaves(t *testing.T) (body, file, process []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/csm_threats.schema.json")
	require.NoError(t, err)
	var schema struct {
		Defs       map[string]map[string]any `json:"$defs"`
		Properties map[string]any            `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(data, &schema))
	var leaves []string
	var walk func(path string, node map[string]any)
	walk = func(path string, node map[string]any) {
		if items, ok := node["items"].(map[string]any); ok && items["$ref"] != nil {
			walk(path+"[]", items)
			return
		}
		if ref, ok := node["$ref"].(string); ok {
			name := ref[strings.LastIndexByte(ref, '/')+1:]
			switch name {
			case "File", "FileEvent", "Process", "ProcessContext", "MatchedRule", "IPPort", "IPPortFamily", "UserSessionContext":
				leaves = append(leaves, path)
				return
			}
			node = schema.Defs[name]
		}
		properties, ok := node["properties"].(map[string]any)
		if !ok {
			leaves = append(leaves, path)
			return
		}
		for name, member := range properties {
			walk(strings.TrimPrefix(path+"."+name, "."), member.(map[string]any))
		}
	}
	collect := func(node map[string]any) []string {
		leaves = nil
		walk("", node)
		slices.Sort(leaves)
		return leaves
	}
	body = collect(map[string]any{"properties": schema.Properties})
	file = collect(map[string]any{"properties": schema.Defs["FileEvent"]["properties"]})
	process = collect(map[string]any{"properties": schema.Defs["ProcessContext"]["properties"]})
	return body, file, process
}

func pathsOf(tables ...[]Member) (paths []string) {
	for _, m := range slices.Concat(tables...) {
		paths = append(paths, m.Path)
	}
	slices.Sort(paths)
	return paths
}

// Every member of the schema is in the tables, once, and no other.
func TestMembersAreTheSchemas(t *testing.T) {
	body, file, process := schemaLeaves(t)
	assert.Equal(t, body, pathsOf(CommonMembers, EventMembers))
	assert.Equal(t, file, pathsOf(FileMembers))
	assert.Equal(t, process, pathsOf(ProcessMembers))
	for _, m := range slices.Concat(CommonMembers, EventMembers, FileMembers, ProcessMembers) {
		assert.Equal(t, m.Source == FromNowhere, m.Types == 0, m.Path)
		assert.False(t, m.Source == FromNowhere && m.Note == "", "%s: say why", m.Path)
	}
}

// What an event of a type has beside the common members is what the table says that it can have.
func TestMembersOfTypes(t *testing.T) {
	for _, typ := range Types[1:] {
		var body map[string]any
		require.NoError(t, json.Unmarshal(testEvent(typ.Type, 1).AppendJSON(nil), &body))
		can, has := map[string]bool{}, map[string]bool{}
		for _, m := range slices.Concat(CommonMembers, EventMembers) {
			if m.Types.Has(typ.Type) {
				name, _, _ := strings.Cut(m.Path, ".")
				can[name] = true
			}
		}
		for name := range body {
			has[name] = true
			assert.True(t, can[name], "%s: %s", typ.Name, name)
		}
		for name := range can {
			assert.True(t, has[name] || name == "container", "%s: no %s", typ.Name, name)
		}
	}
}
