// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// pathsOf returns the files of the detections among logs.
func pathsOf(tb testing.TB, logs []intaketest.Log) (paths []string) {
	tb.Helper()
	for i := range logs {
		var m message
		require.NoError(tb, json.Unmarshal([]byte(logs[i].Message), &m))
		if m.Agent.RuleID == "opened" {
			paths = append(paths, m.File.Path)
		}
	}
	return paths
}

// TestIntakeFaults: the gateway meets everything that an intake, or what is in front of it, may do wrong. All that was not refused
// for good arrives, and what was refused is counted.
func TestIntakeFaults(t *testing.T) {
	picket(t)
	const batch = 20
	faults := []intaketest.Fault{
		{},
		{Delay: time.Minute}, // no answer in time
		{Status: http.StatusTooManyRequests, RetryAfter: "2"},
		{Status: http.StatusServiceUnavailable},
		{Status: http.StatusInternalServerError, AcceptFirst: true}, // the logs arrive twice
		{ReadPause: 200 * time.Millisecond},                         // read too slowly
		{ReadPause: time.Millisecond},
		{Reset: true},
		{Hangup: true, AcceptFirst: true},
		{Status: http.StatusRequestEntityTooLarge}, // refused for good
		{Raw: "\x16\x03\x01 garbage\r\n\r\n"},
		{Raw: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\n{"},
		{Status: http.StatusBadGateway, Body: "<html>\x00\xff garbage"},
		{Body: "<html>\x00\xff garbage"}, // accepted, whatever it says
	}
	intake := intaketest.Start(t)
	intake.Script(faults...)
	d := newDeployment(t, allOpens, intake.URL())
	d.noRateLimits = true
	gateway := d.gateway(`
exporters:
  csm_threats:
    timeout: 1s
    compression: none
    sending_queue: {batch: {min_size: 20, max_size: 20}}
`)
	client := newClient(t, d.otlp, d.ca.client("agent"))
	source := newSource("host-1", 1)
	records := batch * (len(faults) + 5)
	for range records / batch {
		_, err := client.send(source.next(batch), time.Minute)
		require.NoError(t, err)
	}

	refused := map[string]bool{}
	intake.WaitLogs(2*time.Minute, func(logs []intaketest.Log) bool {
		arrived := map[string]bool{}
		for _, p := range pathsOf(t, logs) {
			arrived[p] = true
		}
		for _, r := range intake.Requests() {
			if r.Status == http.StatusRequestEntityTooLarge {
				for _, p := range pathsOf(t, r.Logs) {
					refused[p] = true
				}
			}
		}
		for seq := range uint64(records) {
			if p := source.pathOf(seq + 1); !arrived[p] && !refused[p] {
				return false
			}
		}
		return true
	})
	require.Empty(t, intake.Problems())
	require.NotEmpty(t, refused)
	require.LessOrEqual(t, len(refused), batch, "one request was refused")
	eventually(t, 20*time.Second, func() bool {
		return gateway.Metric("otelcol_exporter_queue_size", `exporter="csm_threats"`) == 0
	}, "the queue does not become empty")
	rejected := gateway.Metric("otelcol_exporter_csm_threats_dropped_records", `reason="rejected"`)
	assert.InDelta(t, len(refused), rejected, 1, "what was refused is counted; a report may have been among it")
	assert.GreaterOrEqual(t, rejected, float64(len(refused)))
	assert.InDelta(t, rejected, gateway.Metric("otelcol_exporter_send_failed_log_records", `exporter="csm_threats"`), 0.1)

	requests := intake.Requests()
	for i, r := range requests[:len(requests)-1] {
		switch next := requests[i+1]; {
		case r.Fault.RetryAfter != "":
			assert.GreaterOrEqual(t, next.Received.Sub(r.Received), 2*time.Second, "Retry-After")
		case r.Fault.Delay > 0:
			assert.InDelta(t, 1, next.Received.Sub(r.Received).Seconds(), 0.9, "the time-out, and then a first pause")
		}
	}
	lostAnswers := 0
	for _, r := range requests {
		if r.Fault.AcceptFirst {
			lostAnswers += len(pathsOf(t, r.Logs))
		}
	}
	assert.Positive(t, lostAnswers)
	assert.Len(t, pathsOf(t, intake.Logs()), records-len(refused)+lostAnswers, "what had been taken when the answer got lost came again, and nothing else")
	checkCopies(t, d.sink.all(event.KindDetection))
	gateway.Stop()
}
