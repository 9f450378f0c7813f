// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

// reportNames are the reports that are about no process.
var reportNames = []string{RecordRulesetLoaded, RecordHeartbeat, RecordEventsLost}

// reportBodies are short forms of what those who write the reports put into them.
var reportBodies = map[string]string{
	RecordRulesetLoaded: `{"title":"Rules were loaded","agent":{"rule_id":"ruleset_loaded"},"evt":{"name":"custom_event"},"date":"2023-11-14T22:13:20.123456789Z",` +
		`"service":"runtime-security-agent","policies":[{"name":"default.policy","version":"1.2.3","status":"loaded"}]}`,
	RecordHeartbeat: `{"title":"Policies are in use","agent":{"rule_id":"heartbeat"},"evt":{"name":"custom_event"},"date":"2023-11-14T22:13:20.123456789Z",` +
		`"service":"runtime-security-agent","policy":{"name":"default.policy","version":"1.2.3","status":"loaded"}}`,
	RecordEventsLost: `{"title":"Events were lost","agent":{"rule_id":"lost_events"},"evt":{"name":"custom_event"},"date":"2023-11-14T22:13:20.123456789Z",` +
		`"service":"runtime-security-agent","from":"2023-11-14T22:13:10.123456789Z","to":"2023-11-14T22:13:20.123456789Z","duration_ns":10000000000,` +
		`"lost_events":[{"type":"open","reason":"ring_full","count":12}]}`,
}

// processReport is what RecordIOUringUsed tells of.
func processReport() *Event {
	e := testEvent(TypeFork, 1)
	e.Type, e.Evt = TypeAny, EventContext{Name: CustomEvent}
	e.Facts.AncestorIDs = []uint64{e.Facts.ParentID}
	return e
}

// logs puts a record where the receiver does.
func logs() (plog.Logs, plog.LogRecord) {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.SetSchemaUrl(SchemaURL)
	testHost.ToResource(rl.Resource())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.SetSchemaUrl(SchemaURL)
	sl.Scope().SetName("github.com/picketsec/picket/receiver/ebpfsecurityreceiver")
	sl.Scope().SetVersion("1.0.0")
	return ld, sl.LogRecords().AppendEmpty()
}

// goldenRecords are one record of every type of event, a detection, and every report, by the name of the file.
func goldenRecords() map[string]plog.Logs {
	out := map[string]plog.Logs{}
	for typ := TypeExec; typ < NumTypes; typ++ {
		ld, lr := logs()
		e := testEvent(typ, 1)
		e.Facts.AncestorIDs = []uint64{e.Facts.ParentID}
		EncodeRecord(e, &testHost, lr)
		out[typ.String()] = ld
	}
	ld, lr := logs()
	EncodeDetection(lr, record(testEvent(TypeOpen, 1)), &testHost, &testRule, "7.83.0")
	out["detection"] = ld
	for name, body := range reportBodies {
		ld, lr := logs()
		EncodeReport(lr, &testHost, name, 1_234_567, testTime, []byte(body))
		out[name] = ld
	}
	ld, lr = logs()
	agent := testHost.Agent("7.83.0")
	agent.RuleID = "io_uring_used"
	EncodeProcessReport(lr, &testHost, RecordIOUringUsed, "A process uses io_uring", &agent, processReport())
	out[RecordIOUringUsed] = ld
	return out
}

// TestGoldenRecords compares whole records with the files in testdata/records, which -update writes. A file that changes
// changes the contract with all who read records.
func TestGoldenRecords(t *testing.T) {
	const dir = "testdata/records"
	records := goldenRecords()
	for name, got := range records {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name+".yaml")
			if *update {
				require.NoError(t, golden.WriteLogsToFile(file, got))
			}
			want, err := golden.ReadLogs(file)
			require.NoError(t, err)
			require.NoError(t, plogtest.CompareLogs(want, got))
			// What CompareLogs does not look at.
			assert.Equal(t, recordOf(want).EventName(), recordOf(got).EventName())
		})
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		assert.Contains(t, records, strings.TrimSuffix(f.Name(), ".yaml"), "no record is compared with it")
	}
}

// recordOf is the only record.
func recordOf(ld plog.Logs) plog.LogRecord {
	return ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

// TestGoldenRecordsAreRead: a record that went through a file is read as the event that it was made of.
func TestGoldenRecordsAreRead(t *testing.T) {
	for typ := TypeExec; typ < NumTypes; typ++ {
		t.Run(typ.String(), func(t *testing.T) {
			ld, err := golden.ReadLogs(filepath.Join("testdata/records", typ.String()+".yaml"))
			require.NoError(t, err)
			var d Decoder
			var got Event
			require.NoError(t, d.DecodeRecord(recordOf(ld), NeedAll, &got))
			want := testEvent(typ, 1)
			want.Facts.AncestorIDs = []uint64{want.Facts.ParentID}
			assert.Equal(t, want.Facts, got.Facts)
			assert.JSONEq(t, string(want.AppendJSON(nil)), string(got.AppendJSON(nil)))
			assert.Equal(t, testHost, HostFromResource(ld.ResourceLogs().At(0).Resource()))
		})
	}
}

// TestEveryReportHasAGolden: no report is forgotten in the lists above.
func TestEveryReportHasAGolden(t *testing.T) {
	records := goldenRecords()
	for _, name := range append(slices.Clone(reportNames), RecordIOUringUsed) {
		require.Contains(t, records, name)
		assert.Equal(t, name, recordOf(records[name]).EventName())
	}
}
