// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// faultScript has one of everything that an intake, or what is in front of it, may do wrong.
var faultScript = []intaketest.Fault{
	{},
	{Delay: time.Hour}, // no answer in time
	{Status: http.StatusTooManyRequests, RetryAfter: "1"},
	{Status: http.StatusServiceUnavailable},
	{Status: http.StatusInternalServerError, AcceptFirst: true}, // the logs arrive twice
	{Status: http.StatusRequestEntityTooLarge},                  // refused for good
	{Status: http.StatusNotFound},
	{ReadPause: 300 * time.Millisecond}, // too slow
	{ReadPause: time.Millisecond},       // slow
	{Reset: true},
	{Reset: true, AcceptFirst: true},
	{Hangup: true},
	{Hangup: true, AcceptFirst: true},
	{Status: http.StatusBadRequest, Body: "\x00\xff garbage"}, // refused for good
	{Raw: "\x16\x03\x01 garbage\r\n\r\n"},
	{Raw: "HTTP/1.1 202 Accep"},
	{Raw: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 100\r\n\r\n{"},
	{Raw: "HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{", AcceptFirst: true}, // accepted, whatever follows
	{Status: http.StatusTemporaryRedirect},
	{Status: http.StatusUnauthorized}, // refused for good
	{Status: http.StatusTooManyRequests, RetryAfter: "soon"},
	{Status: http.StatusForbidden}, // refused for good
	{Body: "<html>garbage"},        // accepted
	{Status: http.StatusBadGateway, Body: strings.Repeat("<p>", 100_000)},
	{Status: http.StatusRequestTimeout},
}

// scriptDone reports whether the intake has gone through the whole script.
func scriptDone(intake *intaketest.Server) bool {
	met := make(map[intaketest.Fault]bool)
	for _, r := range intake.Requests() {
		met[r.Fault] = true
	}
	return !slices.ContainsFunc(faultScript, func(f intaketest.Fault) bool { return !met[f] })
}

// Through all faults, and a restart in the midst of them, every record that the queue took arrives at least once, but for
// those that were refused for good, and all are accounted for.
func TestFaultScript(t *testing.T) {
	const (
		perBatch = 10
		records  = 400
		firstRun = 12 // requests
	)
	intake := intaketest.Start(t)
	intake.Script(faultScript...)
	tel := newTelemetry(t)
	dir := t.TempDir()
	run := func(f func(e exporter.Logs)) {
		host, id := startStorage(t, dir)
		cfg := newConfig(intake)
		cfg.ClientConfig.Timeout = time.Second
		cfg.ClientConfig.Compression = "none" // slow reading must take long
		cfg.QueueConfig = createDefaultConfig().(*Config).QueueConfig
		cfg.QueueConfig.Get().StorageID = &id
		batch := cfg.QueueConfig.Get().Batch.Get()
		batch.FlushTimeout, batch.MinSize, batch.MaxSize = 20*time.Millisecond, perBatch, perBatch
		cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = 5*time.Millisecond, 20*time.Millisecond
		e := newLogsWith(t, cfg, tel.NewTelemetrySettings())
		require.NoError(t, e.Start(t.Context(), host))
		f(e)
		require.NoError(t, e.Shutdown(t.Context()))
		require.NoError(t, host[id].Shutdown(t.Context()))
	}
	run(func(e exporter.Logs) {
		for i := range records {
			ld := plog.NewLogs()
			addRecord(ld, event.KindDetection, i).Body().SetStr(fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)))
			require.NoError(t, e.ConsumeLogs(t.Context(), ld))
		}
		intake.WaitRequests(firstRun, 4*patience)
		assert.Positive(t, count(t, tel, "otelcol_exporter_queue_size"))
	})
	require.Less(t, len(intake.Requests()), len(faultScript), "the restart comes before the end of the script")

	// outcome tells which records arrived, and which were in requests that were refused for good.
	outcome := func() (arrived, refused map[int]bool) {
		arrived, refused = make(map[int]bool), make(map[int]bool)
		for _, n := range numbers(t, intake.Logs()) {
			arrived[n] = true
		}
		for _, r := range intake.Requests() {
			if r.Status != 0 && permanentStatus(r.Status) {
				for _, n := range numbers(t, r.Logs) {
					refused[n] = true
				}
			}
		}
		return arrived, refused
	}
	run(func(exporter.Logs) {
		intake.WaitLogs(6*patience, func([]intaketest.Log) bool {
			arrived, refused := outcome()
			return len(arrived)+len(refused) >= records && scriptDone(intake)
		})
		// What is accounted for is so a moment after the answer.
		require.Eventually(t, func() bool { return count(t, tel, "otelcol_exporter_queue_size") == 0 }, patience, time.Millisecond)
	})

	assert.Empty(t, intake.Problems())
	arrived, refused := outcome()
	for n := range records {
		// Both is possible: after a lost answer the same records may be refused.
		assert.True(t, arrived[n] || refused[n], "record %d neither arrived nor was refused", n)
	}
	accepted := 0
	for _, r := range intake.Requests() {
		if r.Accepted {
			accepted += r.Entries
		}
	}
	assert.Greater(t, accepted, len(arrived), "some answers were lost: their logs came twice")
	assert.Len(t, refused, 4*perBatch, "the four that are refused for good, each with a whole batch")

	assert.EqualValues(t, records-len(refused), count(t, tel, sentMetric))
	assert.EqualValues(t, records-len(refused), count(t, tel, deliveredMetric))
	assert.EqualValues(t, len(refused), count(t, tel, "otelcol_exporter_send_failed_log_records", "error.permanent=true"))
	assert.Zero(t, count(t, tel, refusedMetric))
	assertDropped(t, tel, map[string]int64{"rejected": int64(len(refused))})
}
