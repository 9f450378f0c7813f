// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/hostinfo"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadata"
)

// reportKind is the rule id and title under which Datadog's agent has a report, and the EventName of the record.
type reportKind struct {
	ruleID, title, eventName string
}

var (
	loadedKind    = reportKind{"ruleset_loaded", "New ruleset loaded", event.RecordRulesetLoaded}
	heartbeatKind = reportKind{"heartbeat", "Heartbeat", event.RecordHeartbeat}
)

// Heartbeats say which policies are in use: often after a change, so that it is soon seen everywhere, and then from time to time.
const (
	earlyHeartbeats = 5
	earlyPeriod     = time.Minute
	heartbeatPeriod = 10 * time.Minute
)

// maxQueuedReports bounds the reports that wait for a slow consumer. The oldest is given up first.
const maxQueuedReports = 8

// reporter sends a record about each load of rules to the next consumer, and the heartbeats, from a goroutine of its own:
// whoever loads rules must not wait for the pipeline.
type reporter struct {
	next    consumer.Logs
	logger  *zap.Logger
	version string
	host    event.Host

	mu     sync.Mutex
	queue  []plog.Logs
	inUse  []loadedPolicy // as heartbeats have them
	agent  event.Agent    // of the heartbeats
	beats  int            // since the last change
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

func newReporter(next consumer.Logs, logger *zap.Logger, version string) *reporter {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reporter{
		next: next, logger: logger, version: version, host: thisHost(logger),
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go r.run(ctx)
	return r
}

// thisHost describes the machine of the collector, which on a gateway is none of those whose events it sees. What cannot be
// found out stays empty: a report is no reason not to start.
func thisHost(logger *zap.Logger) event.Host {
	h, err := hostinfo.Detect("")
	if err != nil {
		logger.Debug("the host of reports on loaded rules is not fully known", zap.Error(err))
	}
	return h
}

func (r *reporter) send(set *policy.Set, report *policy.Report) {
	ld, err := r.encode(set, report, time.Now())
	r.mu.Lock()
	if !report.Kept {
		r.inUse, r.agent, r.beats = policiesOf(report), r.host.Agent(set.AgentVersion()), 0
	}
	r.mu.Unlock()
	if err != nil {
		r.logger.Error("the report on loaded rules cannot be written", zap.Error(err))
		return
	}
	r.mu.Lock()
	r.queue = append(r.queue, ld)
	if over := len(r.queue) - maxQueuedReports; over > 0 {
		r.logger.Warn("the pipeline is slow: reports on loaded rules are given up", zap.Int("reports", over))
		r.queue = r.queue[over:]
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) run(ctx context.Context) {
	defer close(r.done)
	beat := time.NewTimer(earlyPeriod)
	defer beat.Stop()
	for {
		var queue []plog.Logs
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			r.mu.Lock()
			queue, r.queue = r.queue, nil
			changed := r.beats == 0
			r.mu.Unlock()
			if changed {
				beat.Reset(earlyPeriod)
			}
		case now := <-beat.C:
			var next time.Duration
			queue, next = r.heartbeats(now)
			beat.Reset(next)
		}
		for _, ld := range queue {
			if err := r.next.ConsumeLogs(ctx, ld); err != nil {
				r.logger.Warn("a report on loaded rules was not accepted by the pipeline", zap.Error(err))
			}
		}
	}
}

func (r *reporter) close() {
	r.cancel()
	<-r.done
}

// rulesetLoaded is the body of a report, after title and agent.
type rulesetLoaded struct {
	Evt      customEvent    `json:"evt"`
	Date     string         `json:"date"`
	Service  string         `json:"service"`
	Policies []loadedPolicy `json:"policies"`
	// KeptPrevious and Reason are own members: the policies were loaded, but the rules from before stay in use.
	KeptPrevious bool   `json:"kept_previous,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

type customEvent struct {
	Name string `json:"name"`
}

// heartbeat is the same of a heartbeat.
type heartbeat struct {
	Evt     customEvent  `json:"evt"`
	Date    string       `json:"date"`
	Service string       `json:"service"`
	Policy  loadedPolicy `json:"policy"`
}

type loadedPolicy struct {
	Name    string       `json:"name"`
	Version string       `json:"version"`
	Source  string       `json:"source"`
	Status  string       `json:"status"`
	Message string       `json:"message,omitempty"`
	Macros  []loadedRule `json:"macros,omitempty"` // only those with an error
	Rules   []loadedRule `json:"rules,omitempty"`  // not in a heartbeat
}

type loadedRule struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// maxMessage bounds a message in the report, in bytes: messages quote what is in the files.
const maxMessage = 500

func cut(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	n := maxMessage
	for n > 0 && s[n]&0xC0 == 0x80 { // not within a character
		n--
	}
	return s[:n] + "…"
}

func (r *reporter) encode(set *policy.Set, report *policy.Report, now time.Time) (plog.Logs, error) {
	body := rulesetLoaded{
		Evt: customEvent{event.CustomEvent}, Date: date(now), Service: event.ReportService,
		Policies: make([]loadedPolicy, 0, len(report.Policies)), KeptPrevious: report.Kept, Reason: report.Reason,
	}
	for i := range report.Policies {
		p := &report.Policies[i]
		lp := loadedPolicy{
			Name: p.Name, Version: p.Version, Source: "file", Status: p.Status, Message: cut(p.Message),
			Rules: make([]loadedRule, 0, len(p.Rules)),
		}
		for _, m := range p.Macros {
			if m.Status == policy.StatusError {
				lp.Macros = append(lp.Macros, loadedRule{ID: m.ID, Status: string(m.Status), Message: cut(m.Message)})
			}
		}
		for _, e := range p.Rules {
			lp.Rules = append(lp.Rules, loadedRule{ID: e.ID, Version: e.Version, Status: string(e.Status), Message: cut(e.Message)})
		}
		body.Policies = append(body.Policies, lp)
	}
	agent := r.host.Agent(set.AgentVersion())
	return r.report(loadedKind, &body, &agent, now)
}

// policiesOf is what heartbeats say of the policies of a load.
func policiesOf(report *policy.Report) []loadedPolicy {
	var out []loadedPolicy
	for i := range report.Policies {
		p := &report.Policies[i]
		out = append(out, loadedPolicy{Name: p.Name, Version: p.Version, Source: "file", Status: p.Status, Message: cut(p.Message)})
	}
	return out
}

// heartbeats are the records of a heartbeat, one for each policy, and the time until the next.
func (r *reporter) heartbeats(now time.Time) (out []plog.Logs, next time.Duration) {
	r.mu.Lock()
	policies, agent := r.inUse, r.agent
	r.beats++
	next = heartbeatPeriod
	if r.beats < earlyHeartbeats {
		next = earlyPeriod
	}
	r.mu.Unlock()
	for i, p := range policies {
		// A nanosecond between them: the time is what tells reports apart.
		at := now.Add(time.Duration(i))
		ld, err := r.report(heartbeatKind, &heartbeat{
			Evt: customEvent{event.CustomEvent}, Date: date(at), Service: event.ReportService, Policy: p,
		}, &agent, at)
		if err != nil {
			r.logger.Error("a heartbeat cannot be written", zap.Error(err))
			continue
		}
		out = append(out, ld)
	}
	return out, next
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// report makes the record of a report.
func (r *reporter) report(kind reportKind, body any, a *event.Agent, now time.Time) (plog.Logs, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return plog.Logs{}, err
	}
	agent := *a
	agent.RuleID = kind.ruleID
	full := event.AppendDetection(nil, text, kind.title, &agent)

	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.SetSchemaUrl(event.SchemaURL)
	r.host.ToResource(rl.Resource())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.SetSchemaUrl(event.SchemaURL)
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(r.version)
	t := event.Time(now.UnixNano())
	// The time tells reports apart. It is no number in a host's sequence of events.
	event.EncodeReport(sl.LogRecords().AppendEmpty(), &r.host, kind.eventName, uint64(t), t, full)
	return ld, nil
}
