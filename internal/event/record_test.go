// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

var update = flag.Bool("update", false, "write the golden files")

// record encodes an event and returns the record.
func record(e *Event) plog.LogRecord {
	lr := plog.NewLogRecord()
	EncodeRecord(e, &testHost, lr)
	return lr
}

// TestRecordRoundTrip takes an event of every type to a record and back, in both forms.
func TestRecordRoundTrip(t *testing.T) {
	schema := compileSchema(t)
	for typ := TypeExec; typ < NumTypes; typ++ {
		for _, extended := range []bool{false, true} {
			name := typ.String()
			if extended {
				name += " extended"
			}
			t.Run(name, func(t *testing.T) {
				e := testEvent(typ, 3)
				e.Extended = extended
				e.Process.ID = e.Facts.ProcessID
				e.Facts.AncestorIDs = []uint64{e.Facts.ParentID, 7, 1 << 63}
				for i, a := range e.Process.Ancestors {
					a.ID = e.Facts.AncestorIDs[i]
				}
				f := &e.Facts
				e.Process.AUID, e.Process.SID, e.Process.NetNS, e.Process.MntNS, e.Process.CgroupID, e.Process.CgroupPath = f.AUID, f.SID, f.NetNS, f.MntNS, f.CgroupID, f.CgroupPath

				lr := record(e)
				if !extended {
					validate(t, schema, []byte(lr.Body().Str()))
				}
				assert.Equal(t, typ.Info().Record, lr.EventName())
				assert.Equal(t, pcommon.Timestamp(e.Date), lr.Timestamp())
				assert.Equal(t, pcommon.Timestamp(e.Facts.Observed), lr.ObservedTimestamp())
				assert.Equal(t, plog.SeverityNumberInfo, lr.SeverityNumber())

				var d Decoder
				var got Event
				require.NoError(t, d.DecodeRecord(lr, NeedAll, &got))
				assert.Same(t, got.Process.Ancestors[0], got.Process.Parent)
				e.Process.TID = e.Process.ActorTID // only one of the two is written
				e.Container = got.Container        // the model shares it with the process, the decoder does not
				require.NotNil(t, e.Container)
				assert.Equal(t, *e.Process.Container, *got.Container)
				assert.Equal(t, forget(e), forget(&got))
			})
		}
	}
}

// TestFactsRoundTrip sets every member of Facts, also to its largest value, and reads it back.
func TestFactsRoundTrip(t *testing.T) {
	full := func(largest bool) *Event {
		e := testEvent(TypeOpen, 0)
		v := reflect.ValueOf(&e.Facts).Elem()
		for i := range v.NumField() {
			n := uint64(i + 1)
			if largest {
				n = ^uint64(0) >> 1
			}
			switch f := v.Field(i); f.Kind() {
			case reflect.Uint64:
				if largest {
					n = ^uint64(0)
				}
				f.SetUint(n)
			case reflect.Uint32, reflect.Uint16:
				f.SetUint(n)
				if largest && v.Type().Field(i).Name != "AUID" {
					f.SetUint(1<<f.Type().Bits() - 1)
				}
			case reflect.Int64:
				f.SetInt(int64(n))
			case reflect.Bool:
				f.SetBool(true)
			case reflect.String:
				f.SetString("bytes \xff and \\x41")
			case reflect.Slice:
				if f.Type().Elem().Kind() == reflect.String {
					f.Set(reflect.ValueOf([]string{"process.a", "process.b"}))
				} else {
					f.Set(reflect.ValueOf([]uint64{n, 1 << 63, 0}))
				}
			default:
				require.Failf(t, "no value", "for Facts.%s", v.Type().Field(i).Name)
			}
		}
		e.Facts.AUID = 0
		return e
	}
	events := map[string]*Event{"small": full(false), "largest": full(true), "none": testEvent(TypeOpen, 0)}
	events["none"].Facts = Facts{AUID: AUIDUnset}
	for name, e := range events {
		t.Run(name, func(t *testing.T) {
			lr := record(e)
			for _, v := range lr.Attributes().All() {
				assert.NotEqual(t, pcommon.ValueTypeEmpty, v.Type())
			}
			var d Decoder
			var got Event
			require.NoError(t, d.DecodeRecord(lr, NeedFacts, &got))
			assert.Equal(t, e.Facts, got.Facts)
			assert.Nil(t, got.Process.Process)
			assert.Nil(t, got.File)
		})
	}
}

// TestConnect: what rules see of a connection is the same whether the body has connect or not.
func TestConnect(t *testing.T) {
	tests := map[string]struct {
		network        *NetworkContext
		connect        ConnectEvent
		family         uint16
		protocol       uint16
		path           string
		wantIP         netip.Addr
		wantType       any
		wantTransport  any
		wantPeer       any
		wantJSONDestIP string
	}{
		"v4": {
			network:  &NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Destination: IPPort{netip.MustParseAddr("192.0.2.1"), 443}},
			connect:  ConnectEvent{Addr: IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("192.0.2.1"), Port: 443}, Protocol: "IP_PROTO_TCP"},
			family:   2,
			protocol: 6, wantIP: netip.MustParseAddr("192.0.2.1"), wantType: "ipv4", wantTransport: "tcp", wantPeer: "192.0.2.1",
		},
		"v4 over a v6 socket": {
			network:  &NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_UDP", Destination: IPPort{netip.MustParseAddr("192.0.2.1"), 53}},
			connect:  ConnectEvent{Addr: IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("192.0.2.1"), Port: 53}, Protocol: "IP_PROTO_UDP"},
			family:   10,
			protocol: 17, wantIP: netip.MustParseAddr("192.0.2.1"), wantType: "ipv4", wantTransport: "udp", wantPeer: "192.0.2.1",
		},
		"v6, address could not be read": {
			network:  &NetworkContext{L3Protocol: "ETH_P_IPV6", L4Protocol: "IP_PROTO_TCP"},
			connect:  ConnectEvent{Addr: IPPortFamily{Family: "AF_INET6"}, Protocol: "IP_PROTO_TCP"},
			family:   10,
			protocol: 6, wantIP: netip.IPv6Unspecified(), wantTransport: "tcp",
		},
		"unix": {
			connect: ConnectEvent{Addr: IPPortFamily{Family: "AF_UNIX"}, Protocol: "IP_PROTO_IP"},
			family:  1, path: "@bus", wantTransport: "unix",
		},
		"netlink": {connect: ConnectEvent{Addr: IPPortFamily{Family: "AF_NETLINK"}, Protocol: "IP_PROTO_IP"}, family: 16},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got [2]Event
			for i, extended := range []bool{false, true} {
				e := &Event{Type: TypeConnect, Extended: extended, Network: test.network, Connect: &test.connect}
				e.Facts = Facts{SocketFamily: test.family, SocketProtocol: test.protocol, SocketPath: test.path, AUID: AUIDUnset}
				lr := record(e)
				attrs := lr.Attributes().AsRaw()
				assert.Equal(t, test.wantType, attrs[AttrNetworkType])
				assert.Equal(t, test.wantTransport, attrs[AttrTransport])
				assert.Equal(t, test.wantPeer, attrs[AttrPeerAddress])
				var d Decoder
				require.NoError(t, d.DecodeRecord(lr, NeedNetwork|NeedFacts, &got[i]))
				assert.Equal(t, extended && lr.Body().Str() != "", got[i].Extended)
				got[i].Extended = false
			}
			want := test.connect
			want.Addr.IP = test.wantIP
			assert.Equal(t, &want, got[0].Connect)
			assert.Equal(t, got[0], got[1])
			assert.Equal(t, test.path, got[0].Facts.SocketPath)
		})
	}
}

// TestAttributes lists the attributes of one record in full. The keys are the contract with everything that reads records.
func TestAttributes(t *testing.T) {
	e := testEvent(TypeOpen, 2)
	e.Process.Args = []string{"\xff", `\x41`}
	e.Process.Ancestors[0].ID, e.Process.Ancestors[1].ID = 5, 6
	e.File.Name = "a.tar.gz"
	assert.Equal(t, map[string]any{
		"picket.contract.version": int64(1), "picket.record.kind": "event", "picket.sequence": int64(1_234_567),
		"log.record.uid": RecordUID(testHost.ID, testHost.BootID, 1_234_567, ""),
		"process.pid":    int64(4242), "process.parent_pid": int64(4241), "process.creation.time": "2023-11-14T22:13:19.123456782Z",
		"process.executable.path": "/usr/local/lib/program-0/bin/run", "process.executable.name": "run",
		"process.command_args": []any{"/usr/local/lib/program-0/bin/run", `\xff`, `\x5cx41`},
		"process.user.id":      int64(0), "process.user.name": "root", "process.real_user.id": int64(1000), "process.real_user.name": "app",
		"process.linux.cgroup": testCgroup, "thread.id": int64(4250), "container.id": testContainer, "k8s.pod.uid": testPod,
		"process.interactive": true, "process.session_leader.pid": int64(4100),
		"file.path": "/etc/shadow", "file.name": "a.tar.gz", "file.extension": "gz", "file.inode": "1234", "file.mode": "0640", "file.owner.id": "0", "file.owner.name": "root",
		"picket.process.id": int64(-0x7edcba9876543211), "picket.process.parent_id": int64(-0x7edcba9876550000), "picket.process.ancestor_ids": []any{int64(5), int64(6)},
		"picket.process.auid": int64(1000), "picket.process.netns": int64(4_026_531_840), "picket.process.mntns": int64(4_026_531_841),
		"picket.cgroup.id": int64(7123), "picket.file.source": "fd", "picket.syscall.flags": int64(0o2102), "picket.syscall.path": "../etc/shadow", "picket.syscall.mode": int64(0o644),
	}, record(e).Attributes().AsRaw())

	assert.Equal(t, map[string]any{
		"network.type": "ipv4", "network.transport": "tcp", "network.local.address": "10.0.0.5", "network.local.port": int64(51820),
		"network.peer.address": "198.51.100.7", "network.peer.port": int64(4444), "picket.event.retval": int64(-115),
		"picket.socket.family": int64(2), "picket.socket.protocol": int64(6),
	}, attributesWith(record(testEvent(TypeConnect, 0)), "network.", "picket.socket.", "picket.event."))
	assert.Equal(t, map[string]any{
		"network.type": "ipv4", "network.transport": "tcp", "network.local.address": "198.51.100.7", "network.local.port": int64(4444),
	}, attributesWith(record(testEvent(TypeBind, 0)), "network."))
	assert.Equal(t, map[string]any{
		"network.type": "ipv4", "network.transport": "tcp", "network.local.address": "10.0.0.5", "network.local.port": int64(22),
		"network.peer.address": "198.51.100.7", "network.peer.port": int64(4444),
	}, attributesWith(record(testEvent(TypeAccept, 0)), "network."))
	assert.Equal(t, map[string]any{
		"network.type": "ipv4", "network.transport": "udp", "network.local.address": "10.0.0.5", "network.local.port": int64(40000),
		"network.peer.address": "198.51.100.7", "network.peer.port": int64(53), "network.interface.name": "eth0", "dns.question.name": "www.Example.com",
	}, attributesWith(record(testEvent(TypeDNS, 0)), "network.", "dns."))
	assert.Equal(t, map[string]any{"process.exit.code": int64(3)}, attributesWith(record(testEvent(TypeExit, 0)), "process.exit."))
	assert.Equal(t, map[string]any{"file.symbolic_link.target_path": "../shadow"}, attributesWith(record(testEvent(TypeSymlink, 0)), "file.symbolic_link."))

	signaled := testEvent(TypeExit, 0)
	signaled.Exit = &ExitEvent{Cause: CauseSignaled, Code: 9}
	signaled.Process.TTY = ""
	signaled.Container = nil
	assert.Empty(t, attributesWith(record(signaled), "process.exit.", "process.interactive", "container.", "k8s."))
}

func attributesWith(lr plog.LogRecord, prefixes ...string) map[string]any {
	m := lr.Attributes().AsRaw()
	for k := range m {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
			delete(m, k)
		}
	}
	return m
}

func TestForeignRecords(t *testing.T) {
	tests := map[string]func(lr plog.LogRecord){
		"no version":      func(lr plog.LogRecord) { lr.Attributes().Remove(AttrContractVersion) },
		"newer version":   func(lr plog.LogRecord) { lr.Attributes().PutInt(AttrContractVersion, 2) },
		"version as text": func(lr plog.LogRecord) { lr.Attributes().PutStr(AttrContractVersion, "1") },
		"no kind":         func(lr plog.LogRecord) { lr.Attributes().Remove(AttrRecordKind) },
		"detection":       func(lr plog.LogRecord) { lr.Attributes().PutStr(AttrRecordKind, KindDetection) },
		"report":          func(lr plog.LogRecord) { EncodeReport(lr, &testHost, RecordHeartbeat, 1, 1, []byte("{}")) },
		"unknown type":    func(lr plog.LogRecord) { lr.SetEventName("file.nope") },
		"body is a map":   func(lr plog.LogRecord) { lr.Body().SetEmptyMap() },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			lr := record(testEvent(TypeOpen, 0))
			change(lr)
			var d Decoder
			var e Event
			require.ErrorIs(t, d.DecodeRecord(lr, NeedAll, &e), ErrForeign)
		})
	}
}

func TestBrokenRecords(t *testing.T) {
	tests := map[string]struct {
		change func(lr plog.LogRecord)
		want   string
	}{
		"another type in the body": {func(lr plog.LogRecord) { lr.SetEventName("file.chmod") }, "read the body: at byte 69: evt.name is open, and the record's event name is of chmod"},
		"text for a number":        {func(lr plog.LogRecord) { lr.Attributes().PutStr(AttrProcessSID, "1") }, "attribute process.session_leader.pid is no int"},
		"too large":                {func(lr plog.LogRecord) { lr.Attributes().PutInt(AttrFlags, 1<<32) }, "attribute picket.syscall.flags is no number of 32 bits"},
		"negative":                 {func(lr plog.LogRecord) { lr.Attributes().PutInt(AttrSocketFamily, -1) }, "attribute picket.socket.family is no number of 16 bits"},
		"number for a text":        {func(lr plog.LogRecord) { lr.Attributes().PutInt(AttrSyscallPath, 1) }, "attribute picket.syscall.path is no string"},
		"number for a list":        {func(lr plog.LogRecord) { lr.Attributes().PutInt(AttrProcessAncestors, 1) }, "attribute picket.process.ancestor_ids is no list of up to 1024"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lr := record(testEvent(TypeOpen, 0))
			test.change(lr)
			var d Decoder
			var e Event
			require.EqualError(t, d.DecodeRecord(lr, NeedAll, &e), test.want)
		})
	}
}

func TestRecordUID(t *testing.T) {
	uid := RecordUID("host", "boot", 7, "rule")
	assert.Len(t, uid, 32)
	assert.Equal(t, uid, RecordUID("host", "boot", 7, "rule"))
	seen := map[string]bool{uid: true}
	for _, other := range []string{
		RecordUID("hostboot", "", 7, "rule"), RecordUID("host", "boot", 8, "rule"), RecordUID("host", "boot", 7, ""), RecordUID("hos", "tboot", 7, "rule"),
		RecordUID("host", "boot2", 7, "rule"),
	} {
		assert.False(t, seen[other])
		seen[other] = true
	}
}

func TestHostRoundTrip(t *testing.T) {
	for name, h := range map[string]Host{"all": testHost, "none": {}} {
		t.Run(name, func(t *testing.T) {
			r := pcommon.NewResource()
			h.ToResource(r)
			assert.Equal(t, h, HostFromResource(r))
		})
	}
	r := pcommon.NewResource()
	testHost.ToResource(r)
	assert.Equal(t, map[string]any{
		"host.id": testHost.ID, "host.name": "web-1", "host.arch": "amd64", "os.type": "linux", "os.name": "debian", "os.version": "12",
		"picket.kernel.release": "6.1.0-18-amd64", "picket.host.id.source": "dmi", "picket.boot.id": testHost.BootID,
	}, r.Attributes().AsRaw())
}

func TestReport(t *testing.T) {
	lr := plog.NewLogRecord()
	EncodeReport(lr, &testHost, RecordEventsLost, 9, testTime, []byte(`{"lost":1}`))
	assert.Equal(t, "picket.events_lost", lr.EventName())
	assert.Equal(t, `{"lost":1}`, lr.Body().Str())
	assert.Equal(t, pcommon.Timestamp(testTime), lr.Timestamp())
	assert.Equal(t, plog.SeverityNumberInfo, lr.SeverityNumber())
	assert.Equal(t, map[string]any{
		"picket.contract.version": int64(1), "picket.record.kind": "report", "picket.sequence": int64(9),
		"log.record.uid": RecordUID(testHost.ID, testHost.BootID, 9, RecordEventsLost),
	}, lr.Attributes().AsRaw())
}

func TestProcessReport(t *testing.T) {
	e := testEvent(TypeOpen, 0)
	e.Type, e.File, e.Evt = TypeAny, nil, EventContext{Name: CustomEvent}
	lr := plog.NewLogRecord()
	EncodeProcessReport(lr, &testHost, RecordIOUringUsed, "T", &Agent{RuleID: "r"}, e)
	assert.Equal(t, "picket.io_uring_used", lr.EventName())
	assert.Equal(t, pcommon.Timestamp(e.Date), lr.Timestamp())
	assert.Equal(t, pcommon.Timestamp(e.Facts.Observed), lr.ObservedTimestamp())
	attrs := lr.Attributes().AsRaw()
	assert.Equal(t, "report", attrs[AttrRecordKind])
	assert.Equal(t, int64(e.Facts.Sequence), attrs[AttrSequence])
	assert.Equal(t, RecordUID(testHost.ID, testHost.BootID, e.Facts.Sequence, RecordIOUringUsed), attrs[AttrRecordUID])
	assert.Equal(t, int64(e.Process.PID), attrs[AttrProcessPID])
	assert.Equal(t, int64(e.Facts.ProcessID), attrs[AttrProcessID])
	var body, process map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
	assert.JSONEq(t, `{"name":"custom_event"}`, string(body["evt"]))
	assert.JSONEq(t, `"runtime-security-agent"`, string(body["service"]))
	assert.JSONEq(t, `"T"`, string(body["title"]))
	require.NoError(t, json.Unmarshal(body["process"], &process))
	assert.Equal(t, strconv.Itoa(int(e.Process.PID)), string(process["pid"]))
}

func TestTrace(t *testing.T) {
	e := testEvent(TypeOpen, 0)
	e.DD = &DDContext{SpanID: 0x0102, TraceID: 1 << 63}
	lr := record(e)
	assert.Equal(t, pcommon.TraceID{8: 0x80}, lr.TraceID())
	assert.Equal(t, pcommon.SpanID{6: 1, 7: 2}, lr.SpanID())
	assert.True(t, record(testEvent(TypeOpen, 0)).TraceID().IsEmpty())
}

func goldenText(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}
