// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadata"
)

// lossReport is what is known of events that did not become records.
type lossReport struct {
	since   event.Time
	lost    []lossRow // summed up by type and reason
	restart *state    // the gap is the time between two runs
}

type lossRow struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// title says what the report is about.
func (l *lossReport) title() string {
	if l.restart != nil {
		return "Nothing was watched between two runs"
	}
	return "Events were lost"
}

// add sums up count of a type and reason.
func (l *lossReport) add(typ, reason string, count uint64) {
	for i := range l.lost {
		if l.lost[i].Type == typ && l.lost[i].Reason == reason {
			l.lost[i].Count += count
			return
		}
	}
	l.lost = append(l.lost, lossRow{typ, reason, count})
}

// anyType names, in metrics and reports, what is not counted by type.
const anyType = "all"

func typeName(t event.Type) string {
	if t == event.TypeAny {
		return anyType
	}
	return t.String()
}

// collectLosses takes what the kernel side and the pipeline lost since the last time into the report.
func (r *securityReceiver) collectLosses() {
	now, err := r.kernel.Losses()
	if err != nil {
		r.set.Logger.Warn("the losses of the kernel side are not known", zap.Error(err))
		return
	}
	for typ := range now.Count {
		for why, n := range now.Count[typ] {
			delta := n - r.lastLoss.Count[typ][why]
			if delta == 0 || why >= bpf.NoteStateFull {
				continue
			}
			r.count.lost[typ][why].Add(int64(delta))
			r.losses.add(typeName(event.Type(typ)), bpf.Losses[why], delta)
		}
	}
	if delta := now.Recursion - r.lastLoss.Recursion; delta > 0 {
		r.count.recursion.Add(int64(delta))
		r.losses.add(anyType, "recursion", delta)
	}
	r.lastLoss = now
	for typ := range r.count.dropped {
		for why := range r.count.dropped[typ] {
			n := r.count.dropped[typ][why].Load()
			if delta := n - r.lastDropped[typ][why]; delta > 0 {
				r.losses.add(typeName(event.Type(typ)), dropNames[why], uint64(delta))
				r.lastDropped[typ][why] = n
			}
		}
	}
	r.undelivered.Lock()
	defer r.undelivered.Unlock()
	for _, l := range r.undelivered.reports { // said again in the next one
		for _, row := range l.lost {
			r.losses.add(row.Type, row.Reason, row.Count)
		}
		if l.restart != nil {
			r.losses.restart = l.restart
		}
		r.losses.since = min(r.losses.since, l.since)
	}
	r.undelivered.reports = nil
}

// reportLosses puts the report into the batch, if there is anything to say. What is lost from then on was after reached at the
// earliest.
func (r *securityReceiver) reportLosses(reached event.Time) {
	if len(r.losses.lost) > 0 {
		r.appendReport(r.losses, event.Time(time.Now().UnixNano()))
		r.set.Logger.Warn("events were lost", zap.Any("lost", r.losses.lost))
	}
	r.losses = lossReport{since: reached}
}

// appendReport puts a picket.events_lost record into the batch.
func (r *securityReceiver) appendReport(l lossReport, now event.Time) {
	type restart struct {
		LastSequence uint64 `json:"last_sequence"`
		Clean        bool   `json:"clean"`
	}
	type evt struct {
		Name string `json:"name"`
	}
	body := struct {
		Evt      evt       `json:"evt"`
		Date     string    `json:"date"`
		Service  string    `json:"service"`
		From     string    `json:"from"`
		To       string    `json:"to"`
		Duration int64     `json:"duration_ns"`
		Lost     []lossRow `json:"lost_events,omitempty"`
		Restart  *restart  `json:"restart,omitempty"`
	}{
		Evt: evt{event.CustomEvent}, Date: rfc3339(now), Service: event.ReportService, From: rfc3339(l.since), To: rfc3339(now), Duration: int64(now - l.since), Lost: l.lost,
	}
	if l.restart != nil {
		body.Restart = &restart{l.restart.Sequence, l.restart.Clean}
	}
	data, err := json.Marshal(body)
	if err != nil {
		r.set.Logger.Error("write a report", zap.Error(err))
		return
	}
	agent := r.host.Agent(policy.DefaultAgentVersion)
	agent.RuleID = "lost_events" // as Datadog's agent names its report
	r.seq++
	if r.delivered.Load().sequence >= r.owed.sequence {
		r.owed.time = l.since
	}
	r.owed.sequence = r.seq
	r.batch.reports = append(r.batch.reports, l)
	event.EncodeReport(r.batch.records.AppendEmpty(), &r.host, event.RecordEventsLost, r.seq, now,
		event.AppendDetection(nil, data, l.title(), &agent))
	r.batch.types[event.TypeAny]++
}

func rfc3339(t event.Time) string { return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano) }

// newTelemetry registers the metrics. Their callbacks only read counters.
func (r *securityReceiver) newTelemetry() (*metadata.TelemetryBuilder, error) {
	tb, err := metadata.NewTelemetryBuilder(r.set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	var (
		byType   [event.NumTypes]metric.MeasurementOption
		byLoss   [event.NumTypes][bpf.NumLosses]metric.MeasurementOption
		byDrop   [event.NumTypes][numDrops]metric.MeasurementOption
		typeAttr = func(t int) attribute.KeyValue { return attribute.String("event.type", typeName(event.Type(t))) }
		recursed = metric.WithAttributes(typeAttr(0), attribute.String("reason", "recursion"))
	)
	for t := range byType {
		byType[t] = metric.WithAttributes(typeAttr(t))
		for why := range byLoss[t] {
			byLoss[t][why] = metric.WithAttributes(typeAttr(t), attribute.String("reason", bpf.Losses[why]))
		}
		for why := range byDrop[t] {
			byDrop[t][why] = metric.WithAttributes(typeAttr(t), attribute.String("reason", dropNames[why]))
		}
	}
	k, tree := r.kernel, r.conv.tree
	register := []error{
		tb.RegisterReceiverEbpfSecurityEventsReadCallback(func(_ context.Context, o metric.Int64Observer) error {
			for t := range event.NumTypes {
				if t != event.TypeAny {
					o.Observe(r.count.read[t].Load(), byType[t])
				}
			}
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityEventsEmittedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for t := range event.NumTypes {
				o.Observe(r.count.emitted[t].Load(), byType[t])
			}
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityEventsFilteredCallback(func(_ context.Context, o metric.Int64Observer) error {
			for t := range event.NumTypes {
				if n := r.count.filtered[t].Load(); n > 0 {
					o.Observe(n, byType[t])
				}
			}
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityEventsLostCallback(func(_ context.Context, o metric.Int64Observer) error {
			for t := range event.NumTypes {
				for why := range bpf.NoteStateFull {
					if n := r.count.lost[t][why].Load(); n > 0 {
						o.Observe(n, byLoss[t][why])
					}
				}
			}
			o.Observe(r.count.recursion.Load(), recursed)
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityEventsDroppedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for t := range event.NumTypes {
				for why := range numDrops {
					if n := r.count.dropped[t][why].Load(); n > 0 || t == event.TypeAny {
						o.Observe(n, byDrop[t][why])
					}
				}
			}
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityIoUringProcessesCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(r.count.ioUring.Load())
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityRingSizeCallback(func(_ context.Context, o metric.Int64Observer) error {
			size, _ := k.Size()
			o.Observe(int64(size))
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityRingUsedCallback(func(_ context.Context, o metric.Int64Observer) error {
			_, used := k.Size()
			o.Observe(int64(used))
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityProcessesCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(tree.Stats().Processes))
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityProcessesEvictedCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(tree.Stats().Evicted))
			return nil
		}),
		tb.RegisterReceiverEbpfSecurityProcessesUnknownCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(tree.Stats().Unknown))
			return nil
		}),
	}
	for _, err := range register {
		if err != nil {
			tb.Shutdown()
			return nil, err
		}
	}
	return tb, nil
}
