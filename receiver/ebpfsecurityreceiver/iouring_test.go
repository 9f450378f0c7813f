// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadatatest"
)

// madeRing is what the kernel side says of a ring.
func madeRing(h bpf.Header) []byte {
	h.Nr, h.Retval = 425, 5
	return wire(event.Type(bpf.TypeIOUring), h, struct{}{})
}

// A process image is reported once: not for its second ring, but again for what it executes then.
func TestIOUringIsReportedOnce(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	f.start(t)
	other, next := selfHeader(t), selfHeader(t)
	other.Flags = 0
	next.Id = selfID + 1
	f.fake.push(t, [][]byte{shExec(t), madeRing(other), madeRing(selfHeader(t)), madeRing(selfHeader(t))})
	assert.Len(t, f.conv.rings, 1)
	exec := bpf.Exec{PrevId: selfID, ParentId: parentID, StartTime: bootTime - 1000, Ppid: uint32(os.Getppid())}
	f.fake.push(t, [][]byte{wire(event.TypeExec, next, exec, seg{bpf.SegPath, 0, walk("/usr/bin/id")})})
	assert.Empty(t, f.conv.rings, "the image is gone")
	f.fake.push(t, [][]byte{madeRing(next), madeRing(next), wire(event.TypeExit, next, bpf.Exit{})})
	assert.Empty(t, f.conv.rings, "the process is gone")
	metadatatest.AssertEqualReceiverEbpfSecurityIoUringProcesses(t, f.tel, []metricdata.DataPoint[int64]{{Value: 2}}, metricdatatest.IgnoreTimestamp())
	f.stop(t)

	var reports []plog.LogRecord
	for _, lr := range records(sink.AllLogs()) {
		if attr(t, lr, event.AttrRecordKind) == event.KindReport {
			reports = append(reports, lr)
		}
	}
	require.Len(t, reports, 2)
	for i, path := range []string{"/usr/bin/sh", "/usr/bin/id"} {
		lr := reports[i]
		assert.Equal(t, "picket.io_uring_used", lr.EventName())
		assert.Equal(t, path, attr(t, lr, event.AttrProcessExePath))
		assert.Equal(t, int64(os.Getpid()), attr(t, lr, event.AttrProcessPID))
		assert.Equal(t, int64(selfID+i), attr(t, lr, event.AttrProcessID))
		_, ok := lr.Attributes().Get(event.AttrRetval)
		assert.False(t, ok, "the descriptor is no fact of the report")
		var body struct {
			Title string `json:"title"`
			Agent struct {
				RuleID string `json:"rule_id"`
			} `json:"agent"`
			Service string         `json:"service"`
			Evt     map[string]any `json:"evt"`
			Date    string         `json:"date"`
			Process struct {
				PID        int `json:"pid"`
				Executable struct {
					Path string `json:"path"`
				} `json:"executable"`
			} `json:"process"`
		}
		require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
		assert.Equal(t, "A process uses io_uring: its operations through it are not seen", body.Title)
		assert.Equal(t, "io_uring_used", body.Agent.RuleID)
		assert.Equal(t, "runtime-security-agent", body.Service)
		assert.Equal(t, map[string]any{"name": "custom_event"}, body.Evt)
		assert.Equal(t, rfc3339(event.Time(lr.Timestamp())), body.Date)
		assert.Equal(t, os.Getpid(), body.Process.PID)
		assert.Equal(t, path, body.Process.Executable.Path)
	}
	first, second := attr(t, reports[0], event.AttrSequence).(int64), attr(t, reports[1], event.AttrSequence).(int64)
	assert.Equal(t, first+2, second, "reports and events are numbered as one")
}

// However many processes make a ring and never end, what is kept of them is bounded.
func TestRingsAreBounded(t *testing.T) {
	var s rings
	for id := range uint64(3 * maxRings) {
		require.True(t, s.add(id))
		require.False(t, s.add(id))
		require.LessOrEqual(t, len(s), maxRings)
	}
	assert.Len(t, s, maxRings)
}
