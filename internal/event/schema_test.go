// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const schemaFile = "testdata/csm_threats.schema.json"

// schemaNode is a part of the schema: a definition, or a member of one.
type schemaNode struct {
	Type       string                 `json:"type,omitempty"`
	Format     string                 `json:"format,omitempty"`
	Ref        string                 `json:"$ref,omitempty"`
	Items      *schemaNode            `json:"items,omitempty"`
	Required   []string               `json:"required,omitempty"`
	Properties map[string]*schemaNode `json:"properties,omitempty"`
	Additional json.RawMessage        `json:"additionalProperties,omitempty"`
	Defs       map[string]*schemaNode `json:"$defs,omitempty"`
}

func readSchema(t *testing.T) *schemaNode {
	t.Helper()
	data, err := os.ReadFile(schemaFile)
	require.NoError(t, err)
	s := &schemaNode{}
	require.NoError(t, json.Unmarshal(data, s))
	return s
}

// TestSchemaIsTheSharedOne: the fixture is the project's schema without its prose.
func TestSchemaIsTheSharedOne(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "schema", filepath.Base(schemaFile)))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the shared schema is not beside the repository")
	}
	require.NoError(t, err)
	var want, got any
	require.NoError(t, json.Unmarshal(data, &want))
	data, err = os.ReadFile(schemaFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, withoutProse(want), got)
}

func withoutProse(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["description"].(string); ok {
			delete(v, "description")
		}
		for k, x := range v {
			v[k] = withoutProse(x)
		}
	case []any:
		for i, x := range v {
			v[i] = withoutProse(x)
		}
	}
	return v
}

// describe writes the schema of a Go type: its name → its definition. It returns the schema of a member of that type.
func describe(t *testing.T, typ reflect.Type, defs map[string]*schemaNode) *schemaNode {
	t.Helper()
	switch typ {
	case reflect.TypeFor[Time]():
		return &schemaNode{Type: "string", Format: "date-time"}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[Outcome]():
		return &schemaNode{Type: "string"}
	case reflect.TypeFor[CapSet]():
		return &schemaNode{Type: "array", Items: &schemaNode{Type: "string"}}
	case reflect.TypeFor[*CredentialsDestination]():
		return &schemaNode{} // anything: it has three forms
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return describe(t, typ.Elem(), defs)
	case reflect.String:
		return &schemaNode{Type: "string"}
	case reflect.Bool:
		return &schemaNode{Type: "boolean"}
	case reflect.Int64, reflect.Uint64, reflect.Uint32, reflect.Uint16:
		return &schemaNode{Type: "integer"}
	case reflect.Slice:
		return &schemaNode{Type: "array", Items: describe(t, typ.Elem(), defs)}
	case reflect.Map:
		items, err := json.Marshal(describe(t, typ.Elem(), defs))
		require.NoError(t, err)
		return &schemaNode{Type: "object", Additional: items}
	case reflect.Struct:
		if _, ok := defs[typ.Name()]; !ok {
			def := &schemaNode{Type: "object", Additional: json.RawMessage("false"), Properties: map[string]*schemaNode{}}
			defs[typ.Name()] = def
			describeMembers(t, typ, def, defs)
		}
		return &schemaNode{Ref: "#/$defs/" + typ.Name()}
	}
	require.Failf(t, "no schema", "of type %s", typ)
	return nil
}

func describeMembers(t *testing.T, typ reflect.Type, def *schemaNode, defs map[string]*schemaNode) {
	t.Helper()
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case options == "inline":
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			describeMembers(t, embedded, def, defs)
		default:
			require.NotEmpty(t, name, "%s.%s has no tag", typ, f.Name)
			def.Properties[name] = describe(t, f.Type, defs)
			if options != "omitempty" {
				def.Required = append(def.Required, name)
			}
		}
	}
	slices.Sort(def.Required)
}

// TestTypesAreTheSchema compares the types of the model with the schema, in both directions: names of the definitions,
// members, their types, and which are required.
func TestTypesAreTheSchema(t *testing.T) {
	defs := map[string]*schemaNode{}
	describe(t, reflect.TypeFor[Event](), defs)
	schema := readSchema(t)
	for _, d := range schema.Defs {
		slices.Sort(d.Required)
		for _, m := range d.Properties {
			if m.Additional != nil {
				var compact any
				require.NoError(t, json.Unmarshal(m.Additional, &compact))
				m.Additional, _ = json.Marshal(compact)
				items := &schemaNode{}
				require.NoError(t, json.Unmarshal(m.Additional, items))
				m.Additional, _ = json.Marshal(items)
			}
		}
	}
	root := defs["Event"]
	delete(defs, "Event")
	assert.Len(t, schema.Defs, 35)
	assert.Equal(t, slices.Sorted(maps.Keys(schema.Defs)), slices.Sorted(maps.Keys(defs)))
	for name, want := range schema.Defs {
		assert.Equal(t, want, defs[name], name)
	}
	assert.Len(t, schema.Properties, 22)
	assert.Equal(t, schema.Properties, root.Properties)
	assert.Empty(t, root.Required)
}

func compileSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(schemaFile)
	require.NoError(tb, err)
	return s
}

// validate checks a body against the schema and returns it as encoding/json reads it.
func validate(tb testing.TB, s *jsonschema.Schema, body []byte) map[string]any {
	tb.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
	require.NoError(tb, err, "%s", body)
	require.NoError(tb, s.Validate(v), "%s", body)
	return v.(map[string]any)
}

// filler gives every member of a struct a value of its own.
type filler struct{ n int }

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch v.Interface().(type) {
	case Time:
		v.SetInt(1_700_000_000_000_000_000 + int64(f.n)*1_000_000_001)
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, byte(f.n >> 8), byte(f.n)})))
		return
	case Outcome:
		v.SetUint(uint64(OutcomeRefused))
		return
	case FileHas:
		v.SetUint(uint64(HasInode | HasMode | HasMountID | HasOwner | HasUpperLayer))
		return
	case CapSet:
		v.SetUint(uint64(1<<(f.n%40)) | 1<<50 | 1<<51)
		return
	case CredentialsKind:
		v.SetUint(uint64(CredentialsSetUID))
		return
	case Type, Facts, ProcessContext, *ProcessContext, *ConnectEvent, *AcceptEvent:
		return // given by hand
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + string(rune('a'+f.n%26)) + "\x00\"\\ é \xff\\x41")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string][]string{"k\xfe": {"a", "b"}, "l": {"c"}}))
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.IsExported() && (field.Tag.Get("json") != "-" || field.Type == reflect.TypeFor[FileHas]()) {
				f.fill(v.Field(i))
			}
		}
	}
}

// process makes a Process with every member.
func (f *filler) process() *Process {
	p := &Process{}
	f.fill(reflect.ValueOf(p).Elem())
	p.IsKworker = false // a kworker has next to no members
	return p
}

func (f *filler) processContext() ProcessContext {
	p := ProcessContext{Process: f.process(), Ancestors: []*Process{f.process(), f.process()}}
	p.Parent, p.ActorTID = p.Ancestors[0], p.TID
	return p
}

// fullEvent makes an event with every member of the schema.
func fullEvent(kind CredentialsKind) *Event {
	f, e := &filler{}, &Event{}
	f.fill(reflect.ValueOf(e).Elem())
	e.Type, e.Evt.Name, e.Evt.Category = TypeOpen, "", ""
	e.File.Has |= HasNewMountID | HasDevice
	e.Process = f.processContext()
	d := e.Process.Credentials.Destination
	d.Kind = kind
	if kind == CredentialsCapset {
		*d = CredentialsDestination{Kind: kind, CapEffective: d.CapEffective, CapPermitted: d.CapPermitted}
	} else {
		d.CapEffective, d.CapPermitted = 0, 0
	}
	tracee, target := f.processContext(), f.processContext()
	e.PTrace.Tracee, e.Signal.Target = &tracee, &target
	for _, p := range []*ProcessContext{&e.Process, &tracee, &target} {
		for _, a := range append([]*Process{p.Process}, p.Ancestors...) {
			if d := a.Credentials.Destination; a != e.Process.Process {
				d.CapEffective, d.CapPermitted = 0, 0
			}
		}
	}
	return e
}

// forget drops what the processes of an event have cached, so that events can be compared.
func forget(e *Event) *Event {
	contexts := []*ProcessContext{&e.Process}
	if e.PTrace != nil && e.PTrace.Tracee != nil {
		contexts = append(contexts, e.PTrace.Tracee)
	}
	if e.Signal != nil && e.Signal.Target != nil {
		contexts = append(contexts, e.Signal.Target)
	}
	for _, c := range contexts {
		for _, p := range append([]*Process{c.Process, c.Parent}, c.Ancestors...) {
			if p != nil {
				p.cache.Store(nil)
				p.derived.Store(nil)
			}
		}
	}
	return e
}

// missingMembers lists the members of the schema that v has not, by the definitions they are in.
func missingMembers(root *schemaNode, v any) []string {
	seen := map[string]bool{}
	var walk func(name string, n *schemaNode, v any)
	walk = func(name string, n *schemaNode, v any) {
		if ref, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok {
			name, n = ref, root.Defs[ref]
		}
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				if m := n.Properties[k]; m != nil {
					seen[name+"."+k] = true
					walk(name+"."+k, m, x)
				}
			}
		case []any:
			for _, x := range v {
				if n.Items != nil {
					walk(name, n.Items, x)
				}
			}
		}
	}
	walk("root", root, v)
	var missing []string
	for name, n := range mapsWith(root.Defs, "root", root) {
		for k := range n.Properties {
			if !seen[name+"."+k] {
				missing = append(missing, name+"."+k)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

func mapsWith[V any](m map[string]V, k string, v V) map[string]V {
	m = maps.Clone(m)
	m[k] = v
	return m
}

// TestEveryMember writes events with every member of every definition, checks them with the schema, and reads them back.
func TestEveryMember(t *testing.T) {
	schema := compileSchema(t)
	for name, kind := range map[string]CredentialsKind{"setuid": CredentialsSetUID, "setgid": CredentialsSetGID, "capset": CredentialsCapset} {
		t.Run(name, func(t *testing.T) {
			e := fullEvent(kind)
			body := e.AppendJSON(nil)
			v := validate(t, schema, body)
			assert.Equal(t, []string{"Process.is_kworker", "ProcessContext.is_kworker"}, missingMembers(readSchema(t), v))

			var d Decoder
			var got Event
			require.NoError(t, d.Decode(body, NeedAll, &got))
			assert.Equal(t, forget(e), forget(&got))
			assert.JSONEq(t, string(body), string(got.AppendJSON(nil)))
		})
	}
}

// TestLeastMembers: members that are required are written whatever the values are, and the others are left out.
func TestLeastMembers(t *testing.T) {
	schema := compileSchema(t)
	const file, credentials = `{"uid":0,"gid":0}`, `{"uid":0,"gid":0,"euid":0,"egid":0,"fsuid":0,"fsgid":0,"cap_effective":[],"cap_permitted":[]}`
	tests := map[string]struct {
		event Event
		want  string
	}{
		"nothing": {Event{}, `{"evt":{}}`},
		"file": {
			Event{Type: TypeRename, Date: 1, File: &FileEvent{Destination: &File{}}},
			`{"evt":{"name":"rename","category":"File Activity"},"date":"1970-01-01T00:00:00.000000001Z","file":{"uid":0,"gid":0,"destination":` + file + `}}`,
		},
		"zeros that are known": {
			Event{File: &FileEvent{File: File{Has: HasInode | HasMode | HasUpperLayer | HasMountID | HasDevice | HasNewMountID, UID: -1, GID: -1}}},
			`{"evt":{},"file":{"inode":0,"mode":0,"in_upper_layer":false,"mount_id":0,"uid":-1,"gid":-1,"new_mount_id":0,"device":0}}`,
		},
		"process": {
			Event{Process: ProcessContext{Process: &Process{Credentials: &ProcessCredentials{}, Executable: &File{}, Container: &ContainerContext{}, UserSession: &UserSessionContext{}}}},
			`{"evt":{},"process":{"uid":0,"gid":0,"credentials":` + credentials + `,"user_session":{},"executable":` + file + `,"container":{}}}`,
		},
		"kworker": {
			Event{Process: ProcessContext{Process: &Process{
				PID: 2, TID: 2, UID: 5, GID: 6, Comm: "kthreadd", IsKworker: true, Source: SourceSnapshot, Executable: &File{}, Args: []string{"a"},
			}}},
			`{"evt":{},"process":{"tid":2,"pid":2,"uid":0,"gid":0,"credentials":` + credentials + `,"is_kworker":true,"source":"procfs_snapshot"}}`,
		},
		"others": {
			Event{
				Exit: &ExitEvent{}, Network: &NetworkContext{Device: &NetworkDevice{}}, DD: &DDContext{}, SecurityProfile: &SecurityProfileContext{},
				SELinux: &SELinuxEvent{Bool: &SELinuxBoolChange{}, Enforce: &SELinuxEnforceStatus{}, BoolCommit: &SELinuxBoolCommit{}},
				BPF:     &BPFEvent{Map: &BPFMap{}, Program: &BPFProgram{}}, MMap: &MMapEvent{}, MProtect: &MProtectEvent{},
				PTrace: &PTraceEvent{Tracee: &ProcessContext{}}, Module: &ModuleEvent{}, Signal: &SignalEvent{Target: &ProcessContext{}}, Splice: &SpliceEvent{},
				DNS: &DNSEvent{}, Bind: &BindEvent{}, Mount: &MountEvent{MountPoint: &File{}, Root: &File{}}, AnomalySyscall: &AnomalyDetectionSyscallEvent{}, Usr: &UserContext{},
			},
			`{"evt":{},"exit":{"cause":"","code":0},"network":{"device":{"netns":0,"ifindex":0,"ifname":""},"l3_protocol":"","l4_protocol":"",
			"source":{"ip":"0.0.0.0","port":0},"destination":{"ip":"0.0.0.0","port":0},"size":0},"dd":{},
			"security_profile":{"name":"","status":"","version":"","tags":[]},"selinux":{"bool":{},"enforce":{},"bool_commit":{}},
			"bpf":{"cmd":"","map":{},"program":{}},"mmap":{"address":"","offset":0,"length":0,"protection":"","flags":""},
			"mprotect":{"vm_start":"","vm_end":"","vm_protection":"","req_protection":""},"ptrace":{"request":"","address":""},"module":{"name":""},
			"signal":{"type":"","pid":0},"splice":{"pipe_entry_flag":"","pipe_exit_flag":""},
			"dns":{"id":0,"question":{"class":"","type":"","name":"","size":0,"count":0}},"bind":{"addr":{"family":"","ip":"","port":0}},
			"mount":{"mp":` + file + `,"root":` + file + `,"mount_id":0,"parent_mount_id":0,"bind_src_mount_id":0,"device":0},
			"anomaly_detection_syscall":{"syscall":""},"usr":{}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			body := test.event.AppendJSON(nil)
			validate(t, schema, body)
			assert.JSONEq(t, test.want, string(body))
		})
	}
}
