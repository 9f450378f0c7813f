// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

// TestDecodeOtherWriters reads bodies that are right but not as AppendJSON writes them.
func TestDecodeOtherWriters(t *testing.T) {
	process := func(p *Process) ProcessContext { return ProcessContext{Process: p, ActorTID: p.TID} }
	tests := map[string]struct {
		body string
		want Event
	}{
		"white space": {" {\n\t\"evt\" : { \"name\" : \"open\" , \"async\" : true } , \"date\" : \"1970-01-01T00:00:01Z\"\r\n} \n", Event{Type: TypeOpen, Date: 1_000_000_000, Evt: EventContext{Async: true}}},
		"time zone":   {`{"date":"1970-01-01T02:00:00.5+02:00"}`, Event{Date: 500_000_000}},
		"nulls": {
			`{"evt":null,"date":null,"file":null,"exit":null,"process":null,"container":null,"network":null,"dd":null,"bind":null,"connect":null,"usr":null,"x":null}`, Event{},
		},
		"nulls within": {
			`{"file":{"path":null,"inode":null,"flags":null,"uid":null,"mode":null,"in_upper_layer":null,"access_time":null,"destination":null},` +
				`"process":{"credentials":null,"executable":null,"args":null,"parent":null,"ancestors":null,"container":null,"user_session":null}}`,
			Event{File: &FileEvent{}, Process: process(&Process{})},
		},
		"newer members": {
			`{"evt":{"name":"open","variables":{"a":[1,{"b":"}]"}]}},"imds":{"x":[]},"file":{"uid":1,"gid":2,"extension":".x","metadata":{"size":1.5e3}},"syscall":[true,false,null,-1.0],"usr":{"id":"a","z":0}}`,
			Event{Type: TypeOpen, File: &FileEvent{File: File{Has: HasOwner, UID: 1, GID: 2}}, Usr: &UserContext{ID: "a"}},
		},
		"newer type": {`{"evt":{"name":"imds","category":"Network Activity","outcome":"Success"}}`, Event{Evt: EventContext{Name: "imds", Category: "Network Activity", Outcome: OutcomeSuccess}}},
		"another order": {
			`{"process":{"ancestors":[{"pid":2}],"tid":5,"parent":{"pid":2},"pid":4},"file":{"name":"b"},"title":"t","date":"1970-01-01T00:00:00.000000001Z","agent":{},"evt":{"outcome":"Refused","name":"mkdir"}}`,
			func() Event {
				p := process(&Process{PID: 4, TID: 5})
				p.Parent = &Process{PID: 2}
				p.Ancestors = []*Process{p.Parent}
				return Event{Type: TypeMkdir, Date: 1, Evt: EventContext{Outcome: OutcomeRefused}, File: &FileEvent{File: File{Name: "b"}}, Process: p}
			}(),
		},
		"escapes": {
			`{"usr":{"id":"\u00e9\ud83d\ude00\ud800x\"\\\/\b\f\n\r\t","group":"\\xff\\x5cx41"}}`,
			Event{Usr: &UserContext{ID: "é\U0001f600\ufffdx\"\\/\b\f\n\r\t", Group: "\xff\\x41"}},
		},
		"largest number": {`{"dd":{"span_id":18446744073709551615}}`, Event{DD: &DDContext{SpanID: 1<<64 - 1}}},
		"least number":   {`{"file":{"uid":-9223372036854775807}}`, Event{File: &FileEvent{File: File{Has: HasOwner, UID: -9223372036854775807}}}},
		"capabilities":   {`{"process":{"credentials":{"cap_effective":["CAP_CHOWN","3298534883328"]}}}`, Event{Process: process(&Process{Credentials: &ProcessCredentials{CapEffective: 1 | 3<<40}})}},
		"last one wins":  {`{"usr":{"id":"a","id":"b"},"usr":{"group":"c"}}`, Event{Usr: &UserContext{Group: "c"}}},
		"cgroup":         {`{"cgroup":{"id":"/a","version":2}}`, Event{Extended: true, Facts: Facts{CgroupPath: "/a"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var got Event
			require.NoError(t, d.Decode([]byte(test.body), NeedAll, &got))
			assert.Equal(t, test.want, got)
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	deep := strings.Repeat(`{"x":`, 100) + "1" + strings.Repeat("}", 100)
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	tests := map[string]struct{ body, want string }{
		"empty":                {``, "not JSON"},
		"a list":               {`[]`, "not JSON"},
		"no end":               {`{"evt":{"name":"open"}`, "not JSON"},
		"end is cut":           {`{"evt":{"name":"open"},"x":[1,2`, "not JSON"},
		"followed":             {`{} {}`, "the body is followed by something else"},
		"no colon":             {`{"a" 1}`, "not JSON"},
		"no comma":             {`{"a":1 "b":2}`, "not JSON"},
		"key is no text":       {`{1:2}`, "not JSON"},
		"no value":             {`{"a":}`, "not JSON"},
		"brackets":             {`{"a":[1}}`, "not JSON"},
		"text without end":     {`{"usr":{"id":"a`, "not JSON"},
		"escape without end":   {`{"usr":{"id":"a\`, "not JSON"},
		"escape is none":       {`{"usr":{"id":"\q"}}`, "not JSON"},
		"escape is no hex":     {`{"usr":{"id":"\u12g4"}}`, "not JSON"},
		"control character":    {"{\"usr\":{\"id\":\"a\nb\"}}", "not JSON"},
		"control after escape": {"{\"usr\":{\"id\":\"\\n\n\"}}", "not JSON"},
		"number for a text":    {`{"usr":{"id":1}}`, "not JSON"},
		"text for a number":    {`{"exit":{"code":"1"}}`, "not JSON"},
		"fraction":             {`{"exit":{"code":1.5}}`, "not JSON"},
		"exponent":             {`{"exit":{"code":1e1}}`, "not JSON"},
		"leading zero":         {`{"exit":{"code":01}}`, "not JSON"},
		"minus":                {`{"file":{"uid":-}}`, "not JSON"},
		"negative":             {`{"exit":{"code":-1}}`, "not JSON"},
		"32 bits":              {`{"exit":{"code":4294967296}}`, "number out of range"},
		"16 bits":              {`{"bind":{"addr":{"port":65536}}}`, "number out of range"},
		"64 bits":              {`{"file":{"inode":18446744073709551616}}`, "number out of range"},
		"signed":               {`{"file":{"uid":9223372036854775808}}`, "number out of range"},
		"bool":                 {`{"evt":{"async":1}}`, "not JSON"},
		"date":                 {`{"date":"yesterday"}`, "no RFC 3339 time"},
		"year":                 {`{"date":"2500-01-01T00:00:00Z"}`, "number out of range"},
		"address":              {`{"network":{"source":{"ip":"1.2.3"}}}`, "no IP address"},
		"outcome":              {`{"evt":{"outcome":"Maybe"}}`, "unknown outcome"},
		"depth, skipped":       {deep, "nested more than 64 levels deep"},
		"depth, read":          {`{"process":{"user_session":{"k8s_extra":` + strings.Repeat(`[`, 100) + `}}}`, "not JSON"},
		"ancestors":            {`{"process":{"ancestors":[` + many(maxAncestors+1, "{}") + `]}}`, "more than 1024 ancestors"},
		"processes":            {`{"process":{` + many(5, `"ancestors":[`+many(maxAncestors, "{}")+`]`) + `}}`, "more than 4096 processes"},
		"arguments":            {`{"process":{"args":[` + many(maxStrings+1, `""`) + `]}}`, "an array has more than 4096 elements"},
		"matched rules":        {`{"evt":{"matched_rules":[` + many(maxStrings+1, `{}`) + `]}}`, "an array has more than 4096 elements"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var e Event
			err := d.Decode([]byte(test.body), NeedAll, &e)
			require.ErrorContains(t, err, "read the body: at byte ")
			assert.True(t, strings.HasSuffix(err.Error(), ": "+test.want), err)

			// An error leaves nothing behind.
			require.NoError(t, d.Decode([]byte(`{"evt":{"name":"open"}}`), NeedAll, &e))
			assert.Equal(t, Event{Type: TypeOpen}, e)
		})
	}
}

// TestDecodeNeed: only what is needed is read.
func TestDecodeNeed(t *testing.T) {
	e := testEvent(TypeOpen, 2)
	e.Process.Interpreter = &File{Path: "/bin/sh"}
	body := e.AppendJSON(nil)
	tests := map[string]struct {
		need Need
		want func(got *Event)
	}{
		"nothing": {0, func(got *Event) { got.Process, got.File, got.Container, got.Usr = ProcessContext{}, nil, nil, nil }},
		"file":    {NeedFile, func(got *Event) { got.Process, got.Container, got.Usr = ProcessContext{}, nil, nil }},
		"container": {NeedContainer, func(got *Event) {
			got.Process, got.File, got.Usr = ProcessContext{}, nil, nil
		}},
		"other": {NeedOther, func(got *Event) { got.Process, got.File, got.Container = ProcessContext{}, nil, nil }},
		"process": {NeedProcess, func(got *Event) {
			got.File, got.Container, got.Usr, got.Process.Parent, got.Process.Ancestors = nil, nil, nil, nil, nil
			p := got.Process.Process
			p.Argv0, p.Args, p.Envs, p.Executable, p.Interpreter, p.Credentials = "", nil, nil, nil, nil, nil
		}},
		"ancestors' arguments": {NeedAncestors | NeedArgs, func(got *Event) {
			got.File, got.Container, got.Usr, got.Process.Parent = nil, nil, nil, nil
			for _, p := range append([]*Process{got.Process.Process}, got.Process.Ancestors...) {
				p.Envs, p.Executable, p.Interpreter, p.Credentials, p.Container = nil, nil, nil, nil, nil
			}
		}},
		"parent's executable": {NeedParent | NeedExecutable, func(got *Event) {
			got.File, got.Container, got.Usr, got.Process.Ancestors = nil, nil, nil, nil
			for _, p := range []*Process{got.Process.Process, got.Process.Parent} {
				p.Argv0, p.Args, p.Envs, p.Credentials, p.Container = "", nil, nil, nil, nil
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var whole, part Decoder
			var want, got Event
			require.NoError(t, whole.Decode(body, NeedAll, &want))
			test.want(&want)
			require.NoError(t, part.Decode(body, test.need, &got))
			assert.Equal(t, want, got)
		})
	}
}

// TestDecodeStops: what follows the last member that is needed is not read, but a body that was cut is noticed.
func TestDecodeStops(t *testing.T) {
	const start = `{"evt":{"name":"open"},"date":"1970-01-01T00:00:00Z","file":{"path":"/a"}`
	var d Decoder
	var e Event
	require.NoError(t, d.Decode([]byte(start+`,"process":{}} `), NeedFile, &e))
	assert.Equal(t, "/a", e.File.Path)
	require.EqualError(t, d.Decode([]byte(start+`,"process":{`), NeedFile, &e), "read the body: at byte 73: the body does not end as an object")
	require.Error(t, d.Decode([]byte(start+`,"process":{`), NeedFile|NeedProcess, &e))
}

// TestDecoderIsReusable: what one event leaves behind does not show in the next.
func TestDecoderIsReusable(t *testing.T) {
	bodies := [][]byte{fullEvent(CredentialsSetUID).AppendJSON(nil), testEvent(TypeOpen, 100).AppendJSON(nil)}
	for typ := TypeExec; typ < NumTypes; typ++ {
		bodies = append(bodies, testEvent(typ, int(typ)).AppendJSON(nil), []byte(`{"process":{"parent":{},"ancestors":[{},{}]},"file":{},"usr":{}}`))
	}
	var d Decoder
	for _, body := range bodies {
		var fresh Decoder
		var want, got Event
		require.NoError(t, fresh.Decode(body, NeedAll, &want))
		require.NoError(t, d.Decode(body, NeedAll, &got))
		require.Equal(t, want, got)
	}
}

// TestSharedProcess: a process may be in events of several goroutines, and no one may see half of what is cached.
func TestSharedProcess(t *testing.T) {
	want := string(testEvent(TypeOpen, 3).AppendJSON(nil))
	e := testEvent(TypeOpen, 3)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			own := *e
			assert.Equal(t, want, string(own.AppendJSON(nil)))
			EncodeRecord(&own, &testHost, plog.NewLogRecord())
		})
	}
	wg.Wait()
}

// distinct makes a value of the field's type that differs from zero, and from that of other fields.
func distinct(f *Field, n int) *flatValue {
	v := &flatValue{b: true, i: int64(1000 + n), s: fmt.Sprintf("text %d \xff", n), a: []string{fmt.Sprintf("a%d", n), "\xfe"}}
	v.ip = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)
	if strings.HasSuffix(f.Name, "exit.cause") {
		v.i = 2
	}
	if f.Ints != nil {
		v.a = []string{"12", "BPF_FUNC_UNKNOWN", fmt.Sprint(n)}
	}
	return v
}

// readAny reads a field of an event; one of an iterator from its first element.
func readAny(f *Field, e *Event) any {
	if f.Iterator == "" {
		return read(f, e)
	}
	elements := f.Elements(e)
	if len(elements) == 0 {
		return nil
	}
	return readElem(f, elements[0])
}

// TestFieldsRoundTrip gives each field of the rule language a value, sends the event as a record, and reads the field again
// with nothing decoded but what the field says that it needs.
func TestFieldsRoundTrip(t *testing.T) {
	n := 0
	for i, f := range Fields() {
		typ := f.Event
		if typ == TypeAny {
			typ = TypeOpen
		}
		// Ancestors and the parent have no attributes: theirs is what the body has.
		ofOther := f.Iterator != "" || slices.ContainsFunc([]string{"process.parent.", "signal.target.", "ptrace.tracee."}, func(p string) bool {
			return strings.HasPrefix(f.Name, p)
		})
		if f.Source == FieldDerived || f.Source == FieldUnavailable || f.Source == FieldAttribute && ofOther {
			continue
		}
		for _, extended := range []bool{false, true} {
			e := &Event{Type: typ, Extended: extended, Process: ProcessContext{Process: &Process{PID: 1}}}
			var err error
			switch v := distinct(f, i); {
			case f.Iterator != "":
				a := &Process{}
				lineageOf(f.Iterator).create(e).Ancestors = []*Process{a}
				err = f.setElem(a, v)
			case f.Kind == KindIP && typ == TypeConnect:
				e.Connect = &ConnectEvent{Addr: IPPortFamily{IP: v.ip.Addr()}}
			case f.Kind == KindIP && typ == TypeAccept:
				e.Accept = &AcceptEvent{Addr: IPPortFamily{IP: v.ip.Addr()}}
			case f.Name == "network.source.ip":
				e.Network = &NetworkContext{Source: IPPort{IP: v.ip.Addr()}}
			case f.Name == "network.destination.ip":
				e.Network = &NetworkContext{Destination: IPPort{IP: v.ip.Addr()}}
			case f.Kind == KindIP:
				e.Bind = &BindEvent{Addr: IPPortFamily{IP: v.ip.Addr()}}
			default:
				err = f.set(e, v)
			}
			require.NoError(t, err, f.Name)
			if typ == TypeConnect && e.Connect != nil {
				e.Network = &NetworkContext{Destination: IPPort{e.Connect.Addr.IP, e.Connect.Addr.Port}}
			}
			if typ == TypeAccept && e.Accept != nil {
				e.Network = &NetworkContext{Source: IPPort{e.Accept.Addr.IP, e.Accept.Addr.Port}}
			}
			want := readAny(f, e)
			require.NotZero(t, want, f.Name)

			var d Decoder
			var got Event
			require.NoError(t, d.DecodeRecord(record(e), f.Need, &got), f.Name)
			assert.Equal(t, want, readAny(f, &got), f.Name)
			if f.Available != nil {
				assert.True(t, f.Available(&got), f.Name)
			}
			n++
		}
	}
	assert.Greater(t, n, 500)
}
