// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// TestReportEnvelope: what a report on rules has beside its body, as other records have it.
func TestReportEnvelope(t *testing.T) {
	r := &reporter{version: "1.2.3", host: event.Host{ID: "h", IDSource: "config", BootID: "b"}}
	at := time.Unix(5, 6)
	for _, kind := range []reportKind{loadedKind, heartbeatKind} {
		ld, err := r.report(kind, map[string]string{"service": event.ReportService}, &event.Agent{}, at)
		require.NoError(t, err)
		rl := ld.ResourceLogs().At(0)
		sl := rl.ScopeLogs().At(0)
		lr := sl.LogRecords().At(0)
		assert.Equal(t, event.SchemaURL, rl.SchemaUrl())
		assert.Equal(t, event.SchemaURL, sl.SchemaUrl())
		assert.Equal(t, "github.com/picketsec/picket/processor/securityrulesprocessor", sl.Scope().Name())
		assert.Equal(t, "1.2.3", sl.Scope().Version())
		assert.Equal(t, r.host, event.HostFromResource(rl.Resource()))
		assert.Equal(t, kind.eventName, lr.EventName())
		assert.Equal(t, pcommon.NewTimestampFromTime(at), lr.Timestamp())
		assert.Equal(t, pcommon.NewTimestampFromTime(at), lr.ObservedTimestamp())
		assert.Equal(t, plog.SeverityNumberInfo, lr.SeverityNumber())
		kindAttr, _ := lr.Attributes().Get(event.AttrRecordKind)
		assert.Equal(t, event.KindReport, kindAttr.Str())
	}
}
