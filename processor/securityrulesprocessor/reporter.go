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

// Of the reports on loads: the record's EventName, the rule id and title under which Datadog's agent has them, and the
// service that agent gives to events about itself.
const (
	reportRuleID = "ruleset_loaded"
	reportTitle  = "New ruleset loaded"
)

// maxQueuedReports bounds the reports that wait for a slow consumer. The oldest is given up first.
const maxQueuedReports = 8

// reporter sends a record about each load of rules to the next consumer, from a goroutine of its own: whoever loads rules
// must not wait for the pipeline.
type reporter struct {
	next    consumer.Logs
	logger  *zap.Logger
	version string
	host    event.Host

	mu     sync.Mutex
	queue  []plog.Logs
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
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.mu.Lock()
		queue := r.queue
		r.queue = nil
		r.mu.Unlock()
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

type loadedPolicy struct {
	Name    string       `json:"name"`
	Version string       `json:"version"`
	Source  string       `json:"source"`
	Status  string       `json:"status"`
	Message string       `json:"message,omitempty"`
	Macros  []loadedRule `json:"macros,omitempty"` // only those with an error
	Rules   []loadedRule `json:"rules"`
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
		Evt: customEvent{event.CustomEvent}, Date: now.UTC().Format(time.RFC3339Nano), Service: event.ReportService,
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
	text, err := json.Marshal(&body)
	if err != nil {
		return plog.Logs{}, err
	}
	agent := r.host.Agent(set.AgentVersion())
	agent.RuleID = reportRuleID
	full := event.AppendDetection(nil, text, reportTitle, &agent)

	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	r.host.ToResource(rl.Resource())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(r.version)
	t := event.Time(now.UnixNano())
	// The time tells reports apart. It is no number in a host's sequence of events.
	event.EncodeReport(sl.LogRecords().AppendEmpty(), &r.host, event.RecordRulesetLoaded, uint64(t), t, full)
	return ld, nil
}
