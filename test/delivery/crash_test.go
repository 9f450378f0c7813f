// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

// allOpens has one rule, which matches every record of a source.
const allOpens = `
version: 1.0.0
rules:
  - {id: opened, expression: 'open.file.path =~ "/srv/delivery/**"'}
`

// checkCopies checks that what arrived more than once is the same record each time, and different records have different uids. It
// returns how many arrived more than once.
func checkCopies(tb testing.TB, copies []copied) (duplicates int) {
	tb.Helper()
	byUID, byKey := map[string]copied{}, map[string]string{}
	for _, c := range copies {
		require.Len(tb, c.uid, 32)
		key := fmt.Sprint(c.host, " ", c.seq, " ", c.rule, " ", c.kind)
		if uid, ok := byKey[key]; ok {
			require.Equal(tb, uid, c.uid, "record %s came with two uids", key)
			duplicates++
		}
		byKey[key] = c.uid
		if other, ok := byUID[c.uid]; ok {
			require.Equal(tb, other, c, "two records have the uid %s", c.uid)
		}
		byUID[c.uid] = c
	}
	return duplicates
}

// TestDetectionsSurviveKills: 50,000 detections pass while the gateway and the intake are killed again and again. What the
// gateway has acknowledged arrives, at the intake and at the OTLP backend.
func TestDetectionsSurviveKills(t *testing.T) {
	picket(t)
	const (
		records = 50_000
		batch   = 250
	)
	intake := startIntake(t, 3) // dies after it has taken the third request, which its client does not learn
	d := newDeployment(t, allOpens, intake.url())
	d.noRateLimits = true
	gateway := d.gateway()
	client := newClient(t, d.otlp, d.ca.client("agent"))
	source := newSource("host-1", 1)

	// What is done to whom, when the batch of that number has been acknowledged. The sender does not wait for it.
	const kills = 5
	acknowledged := make(chan int, records/batch)
	done := make(chan error, 1)
	var twice plog.Logs
	go func() {
		defer close(acknowledged)
		for i := range records / batch {
			logs := source.next(batch)
			if i == 20 {
				twice = plog.NewLogs()
				logs.CopyTo(twice)
			}
			if _, err := client.send(logs, time.Minute); err != nil {
				done <- fmt.Errorf("batch %d: %w", i, err)
				return
			}
			acknowledged <- i
		}
		done <- nil
	}()
	killed := 0
	for i := range acknowledged {
		if i%(records/batch/(kills+1)) != records/batch/(kills+1)-1 || killed == kills {
			continue
		}
		killed++
		switch killed {
		case 1, 3, 5:
			gateway.restart() // while it holds what the intake has not taken
		case 2:
			eventually(t, 30*time.Second, intake.dead, "the intake has not got three requests")
			intake.start(0)
			d.sink.denyNext(2)
		case 4:
			intake.kill()
			gateway.restart()
			intake.start(0)
		}
	}
	require.NoError(t, <-done, "the gateway did not come back")
	require.Equal(t, kills, killed)
	// An agent whose gateway died before it answered sends its records again.
	_, err := client.send(twice, time.Minute)
	require.NoError(t, err)

	missing := func(got map[string]int) (n int) {
		for seq := uint64(1); seq <= records; seq++ {
			if got[source.pathOf(seq)] == 0 {
				n++
			}
		}
		return n
	}
	var got map[string]int
	eventually(t, 2*time.Minute, func() bool {
		if gateway.Metric("otelcol_exporter_queue_size") > 0 {
			return false
		}
		got = intake.opened()
		return missing(got) == 0
	}, "acknowledged detections are missing at the intake")
	require.Len(t, got, records, "and nothing else arrived")
	repeated := 0
	for _, n := range got {
		if n > 1 {
			repeated++
		}
	}
	require.GreaterOrEqual(t, repeated, batch, "the intake died before it answered, and one batch was sent twice: some detections arrive twice")

	copies := d.sink.all(event.KindDetection)
	duplicates := checkCopies(t, copies)
	require.GreaterOrEqual(t, duplicates, batch)
	got = map[string]int{}
	for _, c := range copies {
		got[c.path]++
	}
	require.Zero(t, missing(got), "acknowledged detections are missing at the OTLP backend")
	require.Len(t, got, records)
	t.Logf("%d detections, %d kills; at the intake %d arrived more than once, at the OTLP backend %d duplicates", records, killed+1, repeated, duplicates)
	gateway.Stop()
}

// TestAgentSurvivesKills: while a process opens 50,000 files and more, the gateway, the agent and the intake are killed. What the
// agent's queue has acknowledged arrives; what died with the receiver is in its report.
func TestAgentSurvivesKills(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	picket(t)
	const (
		opens = 50_000
		rate  = 2_500 // a second
	)
	intake := startIntake(t, 0)
	d := newDeployment(t, "", intake.url())
	d.noRateLimits, d.onNoMatch = true, "pass"
	files, enough := filepath.Join(d.dir, "files"), filepath.Join(d.dir, "enough")
	require.NoError(t, os.Mkdir(files, 0o755))
	require.NoError(t, os.WriteFile(d.policy, []byte("version: 1.0.0\nrules: [{id: opened, expression: 'open.file.path =~ \""+files+"/*\"'}]\n"), 0o600))
	actor := collectortest.StartActor(t)
	gateway := d.gateway()
	agent := d.agent(actor.PID())

	exe, err := os.Executable()
	require.NoError(t, err)
	// A descendant of the root of the tree: the agent finds it when it starts again.
	actor.Begin(fmt.Sprintf("%s='%d %d %s %s' '%s'", openEnv, opens, rate, files, enough, exe))
	emitted := func() float64 { return agent.Metric("otelcol_receiver_ebpf_security_events_emitted") }
	eventually(t, time.Minute, func() bool { return emitted() > opens/5 }, "the agent makes no records")
	gateway.Kill()
	before := emitted()
	eventually(t, time.Minute, func() bool { return emitted() > before+opens/10 && agent.Metric("otelcol_exporter_queue_size") > 0 },
		"the agent's queue does not fill while the gateway is away")
	// What is emitted now has been acknowledged by the queue, of which nothing leaves.
	acknowledged := uint64(emitted())
	killed := time.Now()
	agent.restart()
	restarted := time.Now()
	gateway.start()
	eventually(t, time.Minute, func() bool { return emitted() > opens/20 }, "the agent makes no records after its restart")
	intake.kill()
	intake.start(0)
	before = emitted()
	eventually(t, time.Minute, func() bool { return emitted() > before+opens/20 }, "the agent makes no more records")
	require.NoError(t, os.WriteFile(enough, nil, 0o600))
	actor.Wait()

	names, err := os.ReadDir(files) // in the order of the opens
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(names), opens)
	var records []copied
	seen := map[string]int{}
	last := filepath.Join(files, names[len(names)-1].Name())
	eventually(t, 2*time.Minute, func() bool {
		if agent.Metric("otelcol_exporter_queue_size")+gateway.Metric("otelcol_exporter_queue_size") > 0 {
			return false
		}
		records = append(d.sink.all(event.KindDetection), d.sink.all(event.KindEvent)...)
		clear(seen)
		for _, c := range records {
			if strings.HasPrefix(c.path, files+"/") {
				seen[c.path]++
			}
		}
		return seen[last] > 0
	}, "the last file that was opened does not arrive")
	var reports []copied
	lost := map[string]uint64{}
	for _, c := range d.sink.all(event.KindReport) {
		if c.name == event.RecordEventsLost {
			reports = append(reports, c)
			for _, l := range parseReport(t, c.body).Lost {
				lost[l.Type+" "+l.Reason] += l.Count
			}
		}
	}
	records = append(records, reports...)
	checkCopies(t, records)

	// The second run begins with the report. There is one hole in the sequence: from what the first run had brought into the queue to
	// this report.
	i := slices.IndexFunc(reports, func(c copied) bool { return parseReport(t, c.body).Restart != nil })
	require.GreaterOrEqual(t, i, 0, "there is no report of the time without an agent")
	report, second := parseReport(t, reports[i].body), reports[i].seq
	times := map[uint64]event.Time{}
	first, end, newest := second, uint64(0), uint64(0) // of the first run; of both
	for _, c := range records {
		times[c.seq] = c.time
		first, newest = min(first, c.seq), max(newest, c.seq)
		if c.seq < second {
			end = max(end, c.seq)
		}
	}
	require.GreaterOrEqual(t, end-first+1, acknowledged, "what the agent's queue acknowledged before it was killed")
	for seq := first; seq <= newest; seq++ {
		if seq > end && seq < second {
			continue
		}
		_, ok := times[seq]
		require.True(t, ok, "record %d is missing; the runs have %d to %d and %d to %d", seq, first, end, second, newest)
	}
	require.False(t, report.Restart.Clean)
	require.Greater(t, second, report.Restart.LastSequence)
	require.WithinRange(t, report.From, killed.Add(-3*time.Second), restarted, "the state is stored every second")
	require.WithinRange(t, report.To, killed, restarted)
	require.Equal(t, report.Duration, report.To.Sub(report.From).Nanoseconds())

	// Each file that was opened has arrived, or was opened in the reported time, or its record is one of those from what arrived
	// to the reported last sequence number.
	var during, between, untold uint64
	for _, n := range names {
		if seen[filepath.Join(files, n.Name())] > 0 {
			continue
		}
		_, text, _ := strings.Cut(n.Name(), "-")
		ns, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err)
		// The time begins when the ring buffer had been read and the state was to be stored. What happens in that instant is read
		// by nobody, and the name of a file is a bit older than its event.
		const instant = 50 * time.Millisecond
		switch at := time.Unix(0, ns); {
		case !at.Before(report.From.Add(-instant)) && !at.After(report.To):
			during++
		case at.Before(report.From) && between+end < report.Restart.LastSequence:
			between++
		default:
			untold++
			t.Logf("untold: %v, %v after the last record of the first run, %v after the beginning of the reported time", n.Name(), time.Duration(event.Time(ns)-times[end]), at.Sub(report.From))
		}
	}
	var otherwise uint64
	for _, n := range lost {
		otherwise += n
	}
	require.LessOrEqual(t, untold, otherwise, "opens that are neither delivered nor reported lost; other losses: %v", lost)

	// At the intake there is a detection of every record, and the report.
	var atIntake map[string]int
	eventually(t, time.Minute, func() bool {
		atIntake = intake.opened()
		return len(atIntake) >= len(seen) && slices.ContainsFunc(intake.messages, func(m message) bool {
			return m.Restart != nil && *m.Restart == *report.Restart
		})
	}, "what arrived at the OTLP backend does not arrive at the intake")
	require.Equal(t, slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(atIntake)))
	t.Logf("%d opens: %d delivered, %d in the %v without an agent, %d died with it before; lost otherwise: %v", len(names), len(atIntake), during, report.To.Sub(report.From), between, lost)
	agent.Stop()
	gateway.Stop()
}

func parseReport(tb testing.TB, body string) (m message) {
	tb.Helper()
	require.NoError(tb, json.Unmarshal([]byte(body), &m), "%s", body)
	return m
}
