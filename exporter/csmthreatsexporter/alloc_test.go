// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter/exportertest"

	"github.com/picketsec/picket/exporter/csmthreatsexporter/internal/metadata"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// swallow is an intake without a network: it reads the body and accepts.
type swallow struct {
	buf      [64 << 10]byte
	requests int
	bytes    int64
}

func (s *swallow) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		n, err := r.Body.Read(s.buf[:])
		s.bytes += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	s.requests++
	return &http.Response{StatusCode: http.StatusAccepted, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// newSwallower makes an exporter that sends into s.
func newSwallower(tb testing.TB, s *swallow) *csmExporter {
	tb.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.APIKey = intaketest.APIKey
	set := exportertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	e, err := newExporter(cfg, set)
	require.NoError(tb, err)
	e.sender.client = &http.Client{Transport: s}
	tb.Cleanup(func() { require.NoError(tb, e.shutdown(context.Background())) })
	return e
}

// A push allocates for the request, and nothing for a log: neither is its JSON parsed, nor are its tags put together apart.
func TestPushAllocatesNothingPerLog(t *testing.T) {
	perPush := func(n int) float64 {
		s := new(swallow)
		e := newSwallower(t, s)
		e.limits.bytes = 50 << 20 // one payload
		ld := benchLogs(n)
		addRecord(ld, event.KindEvent, 0) // a dropped one
		allocs := testing.AllocsPerRun(20, func() {
			if err := e.push(t.Context(), ld); err != nil {
				t.Error(err)
			}
		})
		require.Equal(t, 21, s.requests)
		require.Greater(t, s.bytes, int64(21*n*8000))
		return allocs
	}
	one, thousand := perPush(1), perPush(1000)
	t.Logf("allocations of a push: %.0f with 1 log, %.0f with 1,000", one, thousand)
	// The payload's buffer may have been given up to the garbage collector in between, more often under the race detector.
	assert.InDelta(t, one, thousand, 16)
}

// BenchmarkPush is a whole push but for compression and network.
func BenchmarkPush(b *testing.B) {
	for name, n := range map[string]int{"1": 1, "500": 500} {
		b.Run(name, func(b *testing.B) {
			s := new(swallow)
			e := newSwallower(b, s)
			ld := benchLogs(n)
			b.ReportAllocs()
			for b.Loop() {
				if err := e.push(b.Context(), ld); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(s.bytes / int64(b.N))
		})
	}
}
