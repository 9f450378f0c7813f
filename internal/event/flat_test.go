// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFlatEvent(t *testing.T) {
	const now = Time(2_000_000_000)
	for _, tt := range []struct {
		event, field string
		want         any
	}{
		// What is given, and what it implies.
		{`{"type":"open","open.flags":"O_RDWR|O_CREAT"}`, "open.flags", int64(0o102)},
		{`{"type":"open","open.flags":66}`, "open.flags", int64(66)},
		{`{"type":"open","open.flags":66}`, "open.syscall.flags", int64(0)},
		{`{"type":"open","open.retval":"EACCES"}`, "open.retval", int64(-13)},
		{`{"type":"open","open.file.mode":"S_IFREG|S_ISUID|S_IXUSR"}`, "open.file.rights", int64(0o4100)},
		{`{"type":"open","open.file.mode":33261,"open.file.rights":1}`, "open.file.rights", int64(1)},
		{`{"type":"open","open.file.rights":1}`, "open.file.mode", int64(0)},
		{`{"type":"open","open.file.path":"/a/b.sh"}`, "open.file.name", ""},
		{`{"type":"open","open.file.path":"/a/b.sh"}`, "open.file.path.length", int64(7)},
		{`{"type":"open","open.file.path":"/a/b.sh","open.file.path.length":3}`, "open.file.path.length", int64(3)},
		{`{"type":"open","open.file.path":"/a/b.sh"}`, "open.file.extension", ".sh"},
		{`{"type":"open","open.file.name":"b.py","open.file.extension":".x"}`, "open.file.extension", ".x"},
		{`{"process.argv":["-a","b"]}`, "process.args", "-a b"},
		{`{"process.argv":["-a","b"],"process.args":"z"}`, "process.args", "z"},
		{`{"process.argv":["-a","b"]}`, "process.args_options", []string{"a=b"}},
		{`{"process.args_flags":["q"],"process.argv":["-a"]}`, "process.args_flags", []string{"q"}},
		{`{"process.args":"-a b"}`, "process.argv", []string(nil)},
		{`{"process.envp":["A=1"]}`, "process.envs", []string{"A"}},
		{`{"process.envs":["A"]}`, "process.envp", []string(nil)},
		{`{"process.is_thread":false}`, "process.is_exec", true},
		{`{}`, "process.is_exec", false},
		{`{"process.uid":5}`, "process.euid", int64(0)},
		{`{"event.origin":"ebpfless"}`, "event.origin", "ebpfless"},
		{`{"type":"dns","dns.question.name":"a.Example.co.uk"}`, "dns.question.name.root_domain", "Example.co.uk"},
		{`{"type":"dns","dns.question.name":"a.b","dns.question.name.root_domain":"x"}`, "dns.question.name.root_domain", "x"},
		{`{"type":"connect","connect.addr.hostname":["a.example.org"]}`, "connect.addr.hostname.root_domain", "example.org"},
		{`{"process.envp":["A=1","OTEL_SERVICE_NAME=b","DD_SERVICE=a"]}`, "event.service", "a"},
		{`{"process.envp":["DD_SERVICES=a"],"event.service":""}`, "event.service", ""},
		// Times.
		{`{"process.created_at":"now-1s"}`, "process.created_at", int64(1_000_000_000)},
		{`{"process.created_at":"now"}`, "process.created_at", int64(2_000_000_000)},
		{`{"process.created_at":"now + 5ms"}`, "process.created_at", int64(2_005_000_000)},
		{`{"process.created_at":12}`, "process.created_at", int64(12)},
		{`{"process.created_at":"now-1s","event.timestamp":5000000000}`, "process.created_at", int64(4_000_000_000)},
		{`{"container.created_at":"now"}`, "process.container.created_at", int64(2_000_000_000)},
		// One value under several names.
		{`{"type":"exec","exec.comm":"x"}`, "process.comm", "x"},
		{`{"type":"exec","process.file.path":"/x"}`, "exec.file.path", "/x"},
		{`{"type":"exit","exit.pid":4,"process.pid":4}`, "exit.pid", int64(4)},
		{`{"container.id":"c"}`, "process.container.id", "c"},
		{`{"process.container.id":"c","container.id":"c"}`, "container.id", "c"},
		{`{"type":"chmod","chmod.mode":448}`, "chmod.file.destination.rights", int64(0o700)},
		// Ancestors.
		{`{"process.ancestors":[{"comm":"a","file.path":"/a"},{"comm":"b"}]}`, "process.parent.comm", "a"},
		{`{"process.ancestors":[{"name":"a","filename":"/a"}]}`, "process.parent.file.path", "/a"},
		{`{"type":"signal","signal.target.ancestors":[{"comm":"a"},{"comm":"b"}]}`, "signal.target.parent.comm", "a"},
		{`{"type":"signal","signal.target.ancestors":[{"comm":"a"},{"comm":"b"}]}`, "signal.target.ancestors.length", int64(2)},
		{`{"type":"signal","signal.target.ancestors":[{"comm":"a"}]}`, "process.ancestors.length", int64(0)},
		{`{"type":"ptrace","ptrace.tracee.ancestors.comm":["a"]}`, "ptrace.tracee.parent.comm", "a"},
		{`{"process.ancestors":[{"comm":"a"}],"process.parent.pid":3}`, "process.parent.comm", ""},
		{`{"process.ancestors":[{"comm":"a"}],"process.parent.pid":3}`, "process.ancestors.length", int64(1)},
		{`{"process.ancestors.comm":["a","b"]}`, "process.parent.comm", "a"},
		{`{"process.ancestors.comm":["a","b"]}`, "process.ancestors.length", int64(2)},
		// Addresses.
		{`{"type":"connect","connect.addr.ip":"::ffff:1.2.3.4"}`, "connect.addr.is_public", true},
		{`{"type":"connect","connect.addr.ip":"10.0.0.1","connect.addr.is_public":true}`, "connect.addr.is_public", true},
		{`{"type":"exit","exit.cause":"SIGNALED"}`, "exit.cause", int64(2)},
	} {
		e, err := ParseFlatEventAt([]byte(tt.event), now)
		if assert.NoError(t, err, tt.event) {
			assert.Equal(t, tt.want, read(mustLookup(t, tt.field), e), "%s: %s", tt.event, tt.field)
		}
	}
	e, err := ParseFlatEvent([]byte(`{"type":"open","open.retval":-13}`))
	require.NoError(t, err)
	assert.Equal(t, OutcomeRefused, e.Evt.Outcome)
}

func TestFlatEventErrors(t *testing.T) {
	for event, want := range map[string]string{
		``:                                     "no JSON object",
		`[]`:                                   "no JSON object",
		`null`:                                 "no JSON object",
		`{`:                                    "no JSON object",
		`{} {}`:                                "followed by something else",
		`{"type":5}`:                           "type is a number, not a string",
		`{"type":"opn"}`:                       `unknown event type "opn"`,
		`{"type":"imds"}`:                      "does not produce it yet",
		`{"process.nix":1}`:                    `unknown field "process.nix"`,
		`{"type":"open","exec.pid":1}`:         `field "exec.pid" is of event type exec, and the event's is open`,
		`{"open.flags":1}`:                     "the event has no type",
		`{"process.pid":"x"}`:                  "neither a constant nor an integer",
		`{"process.pid":1.5}`:                  "no integer",
		`{"process.pid":1e3}`:                  "no integer",
		`{"process.pid":true}`:                 "a bool, expected int",
		`{"process.pid":-1}`:                   "out of range",
		`{"process.pid":4294967296}`:           "out of range",
		`{"process.pid":99999999999999999999}`: "no integer of 64 bits",
		`{"process.comm":1}`:                   "a number, expected string",
		`{"process.comm":null}`:                "null, expected string",
		`{"process.argv":"x"}`:                 "a string, expected list of strings",
		`{"process.argv":["x",1]}`:             "member 1 is a number",
		`{"process.is_kworker":"true"}`:        "a string, expected bool",
		`{"type":"connect","connect.addr.ip":"x"}`:        "no IP address",
		`{"type":"connect","connect.addr.ip":"1/99"}`:     "no network",
		`{"type":"connect","connect.addr.port":65536}`:    "out of range",
		`{"process.created_at":"now-5"}`:                  "no time relative to now",
		`{"process.created_at":"nowadays"}`:               "no time relative to now",
		`{"process.pid":"now-5s"}`:                        "neither a constant",
		`{"process.pid":"O_RDWR|"}`:                       "expected a number or a constant",
		`{"process.pid":"(1"}`:                            "not closed",
		`{"process.pid":"1)"}`:                            "unexpected",
		`{"type":"open","signal.target.ancestors":[]}`:    "is of event type signal, and the event's is open",
		`{"signal.target.ancestors.comm":["a"]}`:          "is of event type signal, and the event has no type",
		`{"process.ancestors":{}}`:                        "an object, not a list",
		`{"process.ancestors":[1]}`:                       "a number, not an object",
		`{"process.ancestors":[{"x":1}]}`:                 `process.ancestors[0]: unknown field "x"`,
		`{"process.ancestors":[{"length":1}]}`:            `unknown field "length"`,
		`{"process.ancestors":[{"pid":"x"}]}`:             "neither a constant",
		`{"process.ancestors.comm":"x"}`:                  "not a list with one value per ancestor",
		`{"type":"exec","exec.pid":1,"process.pid":2}`:    `fields "exec.pid" and "process.pid" are one value and differ`,
		`{"container.id":"a","process.container.id":"b"}`: "are one value and differ",
		`{"type":"exit","exit.cause":7}`:                  "no exit cause",
	} {
		_, err := ParseFlatEvent([]byte(event))
		assert.ErrorContains(t, err, want, event)
	}
}

func TestParseConstant(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, " 1 ": 1, "O_RDWR|O_CREAT": 0o102, "O_RDWR | O_CREAT": 0o102, "-EPERM": 1, "1+2&2": 3, "(1+2)&2": 2, "6^3&1": 7,
		"10-3-2": 5, "^0": -1, "--1": 1, "S_ISUID|S_IXUSR|S_IXGRP": 0o4110,
	} {
		got, err := ParseConstant(text)
		if assert.NoError(t, err, text) {
			assert.Equal(t, want, got, text)
		}
	}
}

// FuzzFlatEvent: what parses can be read field by field.
func FuzzFlatEvent(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"type":"open","open.flags":"O_RDWR|(O_CREAT)","open.file.path":"/a"}`, `{"process.ancestors":[{"comm":"a"}],"process.argv":["-a"]}`,
		`{"type":"connect","connect.addr.ip":"10.0.0.0/8","process.created_at":"now-5s"}`, `{"type":"exit","exit.cause":"SIGNALED"}`,
		`{"process.pid":"((((((1"}`, `{"process.ancestors.pid":[1,2]}`,
		`{"type":"signal","signal.target.ancestors":[{"pid":1}],"signal.target.ancestors.comm":["a","b"]}`, `[`,
	} {
		f.Add([]byte(s))
	}
	fields := Fields()
	f.Fuzz(func(_ *testing.T, data []byte) {
		e, err := ParseFlatEventAt(data, 1)
		if err != nil {
			return
		}
		for _, x := range fields {
			if x.Available != nil {
				x.Available(e)
			}
			if x.Iterator == "" {
				read(x, e)
				continue
			}
			for _, p := range x.Elements(e) {
				readElem(x, p)
			}
		}
	})
}
