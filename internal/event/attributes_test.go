// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// attributeOf finds the row of an attribute.
func attributeOf(key string) (a Attribute, ok bool) {
	for _, a := range Attributes {
		if a.Key == key {
			return a, true
		}
	}
	return a, false
}

// typeOfValue is what the table calls the type of a value.
func typeOfValue(v pcommon.Value) string {
	switch v.Type() {
	case pcommon.ValueTypeBool:
		return typeBool
	case pcommon.ValueTypeInt:
		return typeInt
	case pcommon.ValueTypeStr:
		return typeString
	case pcommon.ValueTypeSlice:
		if v.Slice().Len() > 0 {
			return typeOfValue(v.Slice().At(0)) + "[]"
		}
	}
	return v.Type().String()
}

// fullest makes an event of a type that has all that one of the type can have beside its own members: the facts that the
// table gives to it.
func fullest(typ Type) *Event {
	e := testEvent(typ, 1)
	e.Facts.AncestorIDs = []uint64{e.Facts.ParentID}
	if e.File != nil {
		e.File.Name = "a.b"
	}
	can := func(key string) bool {
		a, _ := attributeOf(key)
		return a.Types.Has(typ)
	}
	f := &e.Facts
	for key, set := range map[string]func(){
		AttrRetval:          func() { f.Retval = 1 },
		AttrFlags:           func() { f.Flags = 1 },
		AttrSyscallPath:     func() { f.SyscallPath = "a" },
		AttrSyscallMode:     func() { f.SyscallMode = 1 },
		AttrSyscallDestPath: func() { f.SyscallDestinationPath = "b" },
		AttrSyscallFSType:   func() { f.SyscallFSType = "ext4" },
		AttrMountDetached:   func() { f.MountDetached = true },
		AttrSocketPath:      func() { f.SocketPath = "/run/x" },
		AttrTargetID:        func() { f.TargetID = 9 },
	} {
		if can(key) {
			set()
		}
	}
	return e
}

// TestAttributeTable: what records of every type and kind have is what the table says that they can have, with its type. So
// is nothing in the table that no record has.
func TestAttributeTable(t *testing.T) {
	type place struct {
		key string
		on  Presence
		typ Type
	}
	seen := map[place]bool{}
	look := func(attrs pcommon.Map, on Presence, typ Type) {
		for k, v := range attrs.All() {
			seen[place{k, on, typ}] = true
			a, ok := attributeOf(k)
			if assert.True(t, ok, "%s of %s is not in the table", k, typ) {
				assert.Equal(t, a.Type, typeOfValue(v), k)
			}
		}
	}
	agent := Agent{RuleID: "r"}
	for typ := TypeExec; typ < NumTypes; typ++ {
		for _, e := range []*Event{testEvent(typ, 2), fullest(typ)} {
			src, dst := record(e), plog.NewLogRecord()
			look(src.Attributes(), OnEvent, typ)
			rule := testRule
			rule.Actions = []ActionReport{{Type: "kill", Status: ActionPerformed}}
			EncodeDetection(dst, src, &testHost, &rule, "7.83.0")
			look(dst.Attributes(), OnDetection, typ)
		}
	}
	for _, name := range reportNames {
		lr := plog.NewLogRecord()
		EncodeReport(lr, &testHost, name, 1, testTime, []byte("{}"))
		look(lr.Attributes(), OnReport, TypeAny)
	}
	lr := plog.NewLogRecord()
	EncodeProcessReport(lr, &testHost, RecordIOUringUsed, "T", &agent, processReport())
	look(lr.Attributes(), OnProcessReport, TypeAny)
	r := pcommon.NewResource()
	testHost.ToResource(r)
	look(r.Attributes(), OnResource, TypeAny)

	want := map[place]bool{}
	for _, a := range Attributes {
		for _, on := range []Presence{OnEvent, OnDetection, OnReport, OnProcessReport, OnResource} {
			switch {
			case a.On&on == 0:
			case on&(OnEvent|OnDetection) == 0:
				want[place{a.Key, on, TypeAny}] = true
			default:
				for typ := TypeExec; typ < NumTypes; typ++ {
					if a.Types.Has(typ) {
						want[place{a.Key, on, typ}] = true
					}
				}
			}
		}
		assert.Equal(t, a.On&(OnEvent|OnDetection) != 0, a.Types != 0, a.Key)
	}
	for p := range want {
		assert.True(t, seen[p], "no record has %s (%d, %s)", p.key, p.on, p.typ)
	}
	for p := range seen {
		assert.True(t, want[p], "the table does not say that %s is on %d of %s", p.key, p.on, p.typ)
	}
}

// TestTypicalAttributes: the attributes of no event that happens often are moved because there was no room for them.
func TestTypicalAttributes(t *testing.T) {
	for typ := TypeExec; typ < NumTypes; typ++ {
		e := testEvent(typ, 1)
		e.Facts.AncestorIDs = []uint64{1}
		assert.LessOrEqual(t, record(e).Attributes().Len(), typicalAttributes, typ)
	}
}

// convention is what the package of the semantic conventions says of an attribute.
type convention struct{ typ, stability string }

var conventionComment = regexp.MustCompile(`(?s)\nType: (\S+)\n.*\nStability: (\S+)\n`)

// conventions reads the package of the semantic conventions that the records follow.
func conventions(t *testing.T) map[string]convention {
	t.Helper()
	const path = "go.opentelemetry.io/otel/semconv/v1.43.0"
	pkg, err := build.Import(path, ".", build.FindOnly)
	if err != nil {
		t.Skipf("needs the source of %s: %v", path, err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, "attribute_group.go"), nil, parser.ParseComments)
	require.NoError(t, err)
	// The type in Go is that of the argument of the function that makes the attribute; an enum has none, but values.
	goTypes := map[string]string{}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || len(fn.Type.Params.List) != 1 {
			continue
		}
		switch p := fn.Type.Params.List[0].Type.(type) {
		case *ast.Ident:
			goTypes[fn.Name.Name] = p.Name
		case *ast.Ellipsis:
			goTypes[fn.Name.Name] = p.Elt.(*ast.Ident).Name + "[]"
		}
	}
	out := map[string]convention{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			call, ok := v.Values[0].(*ast.CallExpr)
			if !ok {
				continue
			}
			key, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			m := conventionComment.FindStringSubmatch(v.Doc.Text())
			require.NotNil(t, m, "comment of %s", key)
			c := convention{typ: goTypes[strings.TrimSuffix(v.Names[0].Name, "Key")], stability: strings.ToLower(strings.ReplaceAll(m[2], "_", " "))}
			if c.typ == "" && m[1] == "Enum" {
				c.typ = typeString
			}
			out[key] = c
		}
	}
	require.Greater(t, len(out), 500)
	return out
}

// TestConventions: a name that the table calls one of the semantic conventions is one, with that type and stability, and a
// name of Picket's own is none. The names of UnwrittenNames are such names too, and no record has them.
func TestConventions(t *testing.T) {
	semconv := conventions(t)
	keys := map[string]bool{}
	for _, a := range Attributes {
		assert.False(t, keys[a.Key], "%s is there twice", a.Key)
		keys[a.Key] = true
		c, ok := semconv[a.Key]
		assert.Equal(t, a.Status == StatusOwn, !ok, a.Key)
		assert.Equal(t, a.Status == StatusOwn, strings.HasPrefix(a.Key, "picket."), a.Key)
		if ok {
			assert.Equal(t, convention{a.Type, a.Status}, c, a.Key)
		}
	}
	for _, u := range UnwrittenNames {
		for _, k := range u.Keys {
			assert.Contains(t, semconv, k)
			assert.False(t, keys[k], "%s is written", k)
		}
	}
}

// TestSourceMembers: the members that the table names are members of the schema, or of a detection's own.
func TestSourceMembers(t *testing.T) {
	known := map[string]bool{"title": true}
	for _, k := range []string{"rule_id", "original_rule_id", "rule_version", "policy_name", "policy_version", "rule_actions", "arch", "os", "distribution", "kernel_version"} {
		known["agent."+k] = true
	}
	for prefix, table := range map[string][]Member{"": append(CommonMembers[:len(CommonMembers):len(CommonMembers)], EventMembers...), "file.": FileMembers, "process.": ProcessMembers} {
		for _, m := range table {
			known[prefix+strings.TrimSuffix(m.Path, "[]")] = true
		}
	}
	member := regexp.MustCompile(`[a-z0-9_]+(\.[a-z0-9_]+)+|title`)
	for _, a := range Attributes {
		if a.Member == "" {
			continue
		}
		found := member.FindAllString(a.Member, -1)
		require.NotEmpty(t, found, a.Key)
		for _, m := range found {
			// Of an address and of a file that runs the tables have the whole.
			for _, whole := range []string{"network.source", "network.destination", "bind.addr", "process.executable"} {
				if strings.HasPrefix(m, whole+".") {
					m = whole
				}
			}
			assert.True(t, known[m], "%s: there is no member %s", a.Key, m)
		}
	}
}
