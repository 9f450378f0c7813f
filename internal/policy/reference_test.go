// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// referenceFields lists every field of the rule language: its events, its name and its type. It lies beside the repository
// where Picket is developed.
const referenceFields = "../../../shared/reference/secl_fields.tsv"

type referenceField struct{ events, name, kind string }

func readReference(t *testing.T) []referenceField {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(referenceFields))
	if os.IsNotExist(err) {
		t.Skip("no list of the rule language's fields at " + referenceFields)
	}
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	require.True(t, strings.HasPrefix(lines[0], "event\tfield\ttype\t"), lines[0])
	fields := make([]referenceField, 0, len(lines)-1)
	for _, line := range lines[1:] {
		columns := strings.Split(line, "\t")
		require.Greater(t, len(columns), 2, line)
		fields = append(fields, referenceField{columns[0], columns[1], columns[2]})
	}
	return fields
}

// literals are a value to compare with for each type. Every other one is a mistake, but that a list compares with one value
// as well as with several.
var literals = map[string]string{
	"bool": "== true", "int": "== 7", "string": `== "/x"`, "IP": "== 192.0.2.1", "string[]": `in ["/x"]`, "int[]": "in [7]",
}

// anchors have for each event type that has fields a comparison with one of them: it makes a rule about a field that all events
// have a rule about that type.
func anchors() map[event.Type]string {
	m := map[event.Type]string{}
	for _, f := range event.Fields() {
		if f.Event != event.TypeAny && !f.Array && f.Iterator == "" {
			m[f.Event] = f.Name + " " + literals[f.Kind.String()]
		}
	}
	return m
}

// TestReferenceFields: a rule about any field of the rule language loads, as what the field is and as nothing else, or says
// which event type Picket does not make.
func TestReferenceFields(t *testing.T) {
	fields := readReference(t)
	assert.Len(t, fields, 2291)
	anchors := anchors()
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		switch typ {
		case event.TypeFork, event.TypeSymlink, event.TypeChroot, event.TypeUmount, event.TypeSyscalls: // the language has no fields of them
			assert.Empty(t, anchors[typ], typ)
		default:
			assert.NotEmpty(t, anchors[typ], typ)
		}
	}

	var policy strings.Builder
	policy.WriteString("rules:\n")
	rule := func(id, expression string) {
		fmt.Fprintf(&policy, "  - id: %s\n    expression: '%s'\n", id, expression)
	}
	for i, f := range fields {
		expression := f.name + " " + literals[f.kind]
		if f.events == "*" {
			expression += " && " + anchors[event.TypeOpen]
		}
		rule(fmt.Sprintf("r%d", i), expression)
	}
	set, report := loadDir(t, map[string]string{"a.policy": policy.String()})
	require.Len(t, report.Policies, 1)
	require.Len(t, report.Policies[0].Rules, len(fields))

	types := map[string][]event.Type{} // of the rules that came of an id
	for typ := range event.NumTypes {
		for _, r := range set.Rules(typ) {
			types[r.ID] = append(types[r.ID], typ)
		}
	}
	got := map[string]int{}
	for i, f := range fields {
		r := report.Policies[0].Rules[i]
		root, _, _ := strings.Cut(f.name, ".")
		switch {
		case event.IsUnproduced(f.events):
			got["of a type that is not made"]++
			assert.Equal(t, StatusError, r.Status, f.name)
			assert.Equal(t, fmt.Sprintf("field %q is of event type %s, which Picket does not produce yet", f.name, f.events), r.Message)
		case strings.HasSuffix(f.events, "(expansion)"):
			got["of several types"]++
			assert.Equal(t, StatusLoaded, r.Status, "%s: %s", f.name, r.Message)
			assert.Len(t, types[r.ID], strings.Count(f.events, "|")+1, f.name)
		case f.events == "*":
			got["of all types"]++
			assert.Equal(t, StatusLoaded, r.Status, "%s: %s", f.name, r.Message)
			assert.Equal(t, []event.Type{event.TypeOpen}, types[r.ID], f.name)
			for typ, anchor := range anchors {
				p, err := secl.Compile(f.name+" "+literals[f.kind]+" && "+anchor, &secl.Env{RequireEvent: true})
				if assert.NoError(t, err, "%s with %s", f.name, typ) {
					assert.Equal(t, typ, p.EventType())
				}
			}
		default:
			got["of one type"]++
			assert.Equal(t, StatusLoaded, r.Status, "%s: %s", f.name, r.Message)
			if assert.Len(t, types[r.ID], 1, f.name) {
				assert.Contains(t, strings.Split(f.events, "|"), types[r.ID][0].String(), f.name)
			}
			if root != "network" {
				assert.Equal(t, root, types[r.ID][0].String(), f.name)
			}
		}
		if r.Status != StatusLoaded || strings.HasPrefix(f.name, "fim.") {
			continue
		}
		for kind, literal := range literals {
			if strings.TrimSuffix(kind, "[]") == strings.TrimSuffix(f.kind, "[]") {
				continue
			}
			_, err := secl.Compile(f.name+" "+literal, nil)
			e, ok := secl.AsError(err)
			if assert.True(t, ok, "%s as %s", f.name, kind) {
				assert.Contains(t, []string{secl.ReasonType, secl.ReasonOperator}, e.Reason, "%s as %s: %s", f.name, kind, e.Message)
			}
		}
	}
	assert.Equal(t, map[string]int{"of all types": 341, "of one type": 1485, "of several types": 27, "of a type that is not made": 438}, got)
}

// TestReferenceLengths: the lengths that the language has are there, and a reference can have them.
func TestReferenceLengths(t *testing.T) {
	fields := readReference(t)
	names := map[string]bool{}
	for _, f := range fields {
		names[f.name] = true
	}
	lengths := 0
	for _, f := range fields {
		if have, ok := event.LookupField(f.name); ok {
			assert.Equal(t, names[f.name+".length"], have.HasLength, f.name)
			if have.HasLength {
				lengths++
			}
		}
	}
	assert.NotZero(t, lengths)
}

// TestLegacyNames: a rule may use the names of the first versions of the language.
func TestLegacyNames(t *testing.T) {
	for legacy, name := range maps.All(event.LegacyNames()) {
		f, ok := event.LookupField(name)
		require.True(t, ok, name)
		literal := literals[f.Kind.String()]
		want, err := secl.Compile(name+" "+literal, nil)
		require.NoError(t, err, name)
		got, err := secl.Compile(legacy+" "+literal, nil)
		require.NoError(t, err, legacy)
		assert.Equal(t, want.EventType(), got.EventType(), legacy)
		assert.Equal(t, want.Fields(), got.Fields(), legacy)
	}
}
