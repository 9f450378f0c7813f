// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/local"
	"github.com/picketsec/picket/internal/policy"
)

// acting is what a worker keeps while a rule acts on an event.
type acting struct {
	origin *local.Origin // of the batch; nil if it is not of this process
	do     func(*policy.Action)

	rule    *policy.Rule
	reports []event.ActionReport // of kills
	hashes  []hashing            // to be done if there is a detection, or done before a kill
}

// hashing is a hash action for the event at hand.
type hashing struct {
	action *policy.HashAction
	done   bool
	hashes []string
	state  string
	err    error
}

// act runs the actions of a rule that matches the event at hand, but for hashing that no kill follows.
func (p *rules) act(ctx context.Context, w *worker, rs *ruleset, r *policy.Rule) {
	if w.acting.do == nil {
		w.acting.do = func(a *policy.Action) { p.execute(w, a) } // once for each worker: a closure for each match would be garbage
	}
	w.acting.rule, w.acting.reports, w.acting.hashes = r, nil, w.acting.hashes[:0]
	if err := r.ActWith(&w.context, w.acting.do); err != nil {
		p.telemetry.ProcessorSecurityRulesActionErrors.Add(ctx, 1, rs.options[r.ID])
		p.actionOnce.Do(func() {
			p.logger.Warn("an action of a rule failed; more of them are only counted", zap.Error(err))
		})
	}
	for i := range w.acting.reports {
		p.count(ctx, r, policy.ActionKill, w.acting.reports[i].Status)
	}
}

func (p *rules) count(ctx context.Context, r *policy.Rule, kind, status string) {
	p.telemetry.ProcessorSecurityRulesActions.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(
		attribute.String("rule", r.ID), attribute.String("action", kind), attribute.String("status", status))))
}

var logLevels = map[string]zapcore.Level{"debug": zap.DebugLevel, "info": zap.InfoLevel, "warning": zap.WarnLevel, "error": zap.ErrorLevel}

func (p *rules) execute(w *worker, a *policy.Action) {
	r := w.acting.rule
	switch a.Kind {
	case policy.ActionLog:
		// The collector's own sampling bounds how many of them are written.
		if entry := p.logger.Check(logLevels[a.Log.Level], a.Log.Message(&w.context)); entry != nil {
			entry.Write(zap.String("rule", r.ID), zap.String("host.id", w.context.Host), zap.Stringer("event", w.event.Type),
				zap.Uint32("pid", pidOf(&w.event)))
		}
	case policy.ActionHash:
		w.acting.hashes = append(w.acting.hashes, hashing{action: a.Hash})
	case policy.ActionKill:
		// What is to be hashed before the kill may be gone with the process.
		for i := range w.acting.hashes {
			if r.Silent {
				break // nobody is told
			}
			p.compute(w, &w.acting.hashes[i])
		}
		w.acting.reports = append(w.acting.reports, p.kill(w, r, a.Kill))
	}
}

func pidOf(e *event.Event) uint32 {
	if e.Process.Process == nil {
		return 0
	}
	return e.Process.PID
}

func targetOf(e *event.Event) *local.Target {
	t := &local.Target{
		ProcessID: e.Facts.ProcessID, PID: pidOf(e), CgroupID: e.Facts.CgroupID, CgroupPath: e.Facts.CgroupPath, MntNS: e.Facts.MntNS,
	}
	if e.Container != nil {
		t.ContainerID = e.Container.ID
	}
	return t
}

// kill does a kill action for the event at hand and says what came of it.
func (p *rules) kill(w *worker, r *policy.Rule, k *policy.KillAction) event.ActionReport {
	e := &w.event
	report := event.ActionReport{Type: policy.ActionKill, Signal: k.Signal, Scope: k.Scope, Status: event.ActionError, Detected: w.context.Now}
	target := targetOf(e)
	var program string
	if proc := e.Process.Process; proc != nil {
		report.Created = proc.ForkTime
		if proc.Executable != nil {
			program = proc.Executable.Path
		}
	}
	var err error
	switch cfg := &p.cfg.Enforcement; {
	case w.acting.origin == nil:
		err = local.ErrNotLocal
	case !cfg.Enabled:
		report.Status = event.ActionDisabled
		return report
	case cfg.excludes(program):
		report.Status = event.ActionExcluded
		return report
	case !p.disarmer.allow(r.ID, k, target.ContainerID, program, time.Now()):
		report.Status = event.ActionDisarmed
		return report
	case k.Scope == policy.KillProcess:
		report.Processes, err = 1, w.acting.origin.Kill(target, k.Number)
	default:
		report.Processes, err = w.acting.origin.KillCgroup(target, k.Number, k.Scope == policy.KillContainer)
	}
	if err != nil {
		report.Processes, report.Error = 0, err.Error()
		if !errors.Is(err, local.ErrNotLocal) && !errors.Is(err, local.ErrGone) {
			p.logger.Warn("a kill action was not executed", zap.String("rule", r.ID), zap.Uint32("pid", target.PID), zap.Error(err))
		}
		return report
	}
	report.Status, report.Performed = event.ActionPerformed, event.Time(time.Now().UnixNano())
	p.logger.Info("a rule killed", zap.String("rule", r.ID), zap.String("signal", k.Signal), zap.String("scope", k.Scope),
		zap.Uint32("pid", target.PID), zap.Int("processes", report.Processes))
	return report
}

// compute hashes the file that an action names.
func (p *rules) compute(w *worker, h *hashing) {
	if !h.done {
		h.hashes, h.state, h.err = p.hasher.Hash(w.acting.origin, targetOf(&w.event), h.action.File(&w.event), h.action.Executable, h.action.MaxSize)
		h.done = true
	}
}

// hash puts the hashes of the files that the actions of a rule name, and what came of it, into its detection.
func (p *rules) hash(ctx context.Context, w *worker, r *policy.Rule, info *event.RuleInfo) {
	for i := range w.acting.hashes {
		h := &w.acting.hashes[i]
		p.compute(w, h)
		f := h.action.File(&w.event)
		report := event.ActionReport{Type: policy.ActionHash, State: h.state}
		if f != nil {
			report.Path = f.Path
		}
		if h.err != nil {
			report.Error = h.err.Error()
		}
		if f != nil && !errors.Is(h.err, local.ErrNotLocal) {
			for _, m := range h.action.Members {
				if !slices.ContainsFunc(info.Hashes, func(have event.FileHashes) bool { return slices.Equal(have.Member, m) }) {
					info.Hashes = append(info.Hashes, event.FileHashes{Member: m, Hashes: h.hashes, State: h.state})
				}
			}
		}
		info.Actions = append(info.Actions, report)
		p.count(ctx, r, policy.ActionHash, h.state)
	}
}

// disarmer stops rules that kill too much: a wrong one must not take a host down.
type disarmer struct {
	cfg    *DisarmerConfig
	logger *zap.Logger

	mu    sync.Mutex
	rules map[string]*ruleKills
}

// ruleKills is what a rule has killed of late: containers and executables, with the time of the last kill.
type ruleKills struct {
	containers, programs map[string]time.Time
	disarmed             bool
}

// allow notes a kill, and says whether the rule may go through with it. A rule that was disarmed stays so until the rules change.
func (d *disarmer) allow(rule string, k *policy.KillAction, container, program string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	kills := d.rules[rule]
	if kills == nil {
		kills = &ruleKills{containers: map[string]time.Time{}, programs: map[string]time.Time{}}
		d.rules[rule] = kills
	}
	if kills.disarmed {
		return false
	}
	var why string
	switch {
	case k.Containers && container != "" && d.over(kills.containers, container, d.cfg.MaxContainers, now):
		why = "containers"
	case k.Programs && program != "" && d.over(kills.programs, program, d.cfg.MaxExecutables, now):
		why = "executables"
	default:
		return true
	}
	kills.disarmed = true
	kills.containers, kills.programs = nil, nil
	d.logger.Error("a rule is disarmed: it killed in too many "+why+"; it kills no more until the rules change", zap.String("rule", rule))
	return false
}

func (d *disarmer) over(last map[string]time.Time, name string, limit int, now time.Time) bool {
	for n, t := range last {
		if now.Sub(t) > d.cfg.Period {
			delete(last, n)
		}
	}
	last[name] = now
	return len(last) > limit
}

// rearm is for new rules.
func (d *disarmer) rearm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = map[string]*ruleKills{}
}
