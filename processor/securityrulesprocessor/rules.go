// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.uber.org/zap"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/local"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadata"
)

// rules is the processor.
type rules struct {
	cfg       *Config
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Logs
	version   string // of the build

	active      atomic.Pointer[ruleset]
	limiter     *policy.Limiter
	hosts       *hosts
	workers     sync.Pool
	unsubscribe func()
	reports     *reporter
	disarmer    disarmer
	hasher      *local.Hasher

	foreignOnce sync.Once
	decodeOnce  sync.Once
	hostOnce    sync.Once
	actionOnce  sync.Once
	typeOptions [event.NumTypes]metric.AddOption
}

// ruleset is a set of rules with what the processor keeps per rule.
type ruleset struct {
	*policy.Set
	options map[string]metric.AddOption // by rule id
}

func newRules(set processor.Settings, cfg *Config, next consumer.Logs) (*rules, error) {
	tb, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("creating metrics: %w", err)
	}
	p := &rules{
		cfg:       cfg,
		logger:    set.Logger,
		telemetry: tb,
		next:      next,
		version:   set.BuildInfo.Version,
		limiter:   policy.NewLimiter(cfg.MaxHosts),
		disarmer:  disarmer{cfg: &cfg.Enforcement.Disarmer, logger: set.Logger},
		hasher:    local.NewHasher(),
	}
	p.hosts = newHosts(cfg.MaxHosts, p.forget)
	p.disarmer.rearm()
	p.workers.New = func() any { return newWorker() }
	for t := range p.typeOptions {
		p.typeOptions[t] = metric.WithAttributeSet(attribute.NewSet(attribute.String("type", event.Type(t).String())))
	}
	if err := p.observe(); err != nil {
		tb.Shutdown()
		return nil, fmt.Errorf("creating metrics: %w", err)
	}
	return p, nil
}

// observe registers the metrics that are read and not counted.
func (p *rules) observe() error {
	return errors.Join(
		p.telemetry.RegisterProcessorSecurityRulesHostsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(p.hosts.len()))
			return nil
		}),
		p.telemetry.RegisterProcessorSecurityRulesVariablesEvictedCallback(func(_ context.Context, o metric.Int64Observer) error {
			if rs := p.active.Load(); rs != nil {
				o.Observe(int64(rs.Evicted()))
			}
			return nil
		}))
}

// forget drops all that is kept of a host.
func (p *rules) forget(h *host) {
	ctx := context.Background()
	p.telemetry.ProcessorSecurityRulesHostsEvicted.Add(ctx, 1)
	p.limiter.Forget(h.id)
	if rs := p.active.Load(); rs != nil {
		rs.Forget(h.id)
	}
	var c counts
	h.giveUp(&c.sequence)
	p.add(ctx, &c)
}

// start finds the extension and takes its rules.
func (p *rules) start(_ context.Context, host component.Host) error {
	ext, ok := host.GetExtensions()[p.cfg.Policies]
	if !ok {
		return fmt.Errorf("`policies` names the extension %q, which is not there: configure it and list it in service::extensions", p.cfg.Policies)
	}
	provider, ok := ext.(policy.Provider)
	if !ok {
		return fmt.Errorf("`policies` names the extension %q, which has no rules: it must be of type security_policies", p.cfg.Policies)
	}
	if provider.Current() == nil {
		return fmt.Errorf("`policies` names the extension %q, which has not loaded any rules", p.cfg.Policies)
	}
	p.reports = newReporter(p.next, p.logger, p.version)
	p.unsubscribe = provider.Subscribe(p.use)
	return nil
}

func (p *rules) shutdown(context.Context) error {
	if p.unsubscribe != nil {
		p.unsubscribe()
		p.unsubscribe = nil
	}
	if p.reports != nil {
		p.reports.close()
		p.reports = nil
	}
	p.telemetry.Shutdown()
	return nil
}

// use takes a set of rules into use, and reports on it.
func (p *rules) use(set *policy.Set, report *policy.Report) {
	if old := p.active.Load(); old == nil || old.Set != set {
		rs := &ruleset{Set: set, options: make(map[string]metric.AddOption, set.Len())}
		var killing []string
		for t := range event.NumTypes {
			for _, r := range set.Rules(t) {
				rs.options[r.ID] = metric.WithAttributeSet(attribute.NewSet(attribute.String("rule", r.ID)))
				if r.Kills() && !slices.Contains(killing, r.ID) {
					killing = append(killing, r.ID)
				}
			}
		}
		if len(killing) > 0 && !p.cfg.Enforcement.Enabled {
			p.logger.Warn("rules have kill actions, and nothing is killed: enforcement.enabled is false", zap.Strings("rules", killing[:min(len(killing), 20)]),
				zap.Int("count", len(killing)))
		}
		p.active.Store(rs)
		p.limiter.Retain(set)
		p.disarmer.rearm()
	}
	p.reports.send(set, report)
}

// counts are what one batch adds to the metrics.
type counts struct {
	evaluated    [event.NumTypes]int64
	foreign      int64
	decodeErrors int64
	withoutHost  int64
	sequence     sequenceCounts
}

func (p *rules) add(ctx context.Context, c *counts) {
	for t, n := range c.evaluated {
		if n > 0 {
			p.telemetry.ProcessorSecurityRulesEvaluated.Add(ctx, n, p.typeOptions[t])
		}
	}
	t := p.telemetry
	for _, x := range [...]struct {
		counter metric.Int64Counter
		n       int64
	}{
		{t.ProcessorSecurityRulesForeign, c.foreign},
		{t.ProcessorSecurityRulesDecodeErrors, c.decodeErrors},
		{t.ProcessorSecurityRulesWithoutHost, c.withoutHost},
		{t.ProcessorSecurityRulesSequenceGaps, c.sequence.gaps},
		{t.ProcessorSecurityRulesSequenceRepeated, c.sequence.repeated},
		{t.ProcessorSecurityRulesSequenceRestarts, c.sequence.restarts},
	} {
		if x.n > 0 {
			x.counter.Add(ctx, x.n)
		}
	}
}

// processLogs puts detections in the place of the records that rules match. ld is only read; if nothing is to be changed, it
// is what is returned.
func (p *rules) processLogs(ctx context.Context, ld plog.Logs) (plog.Logs, error) {
	rs := p.active.Load()
	if rs == nil {
		return ld, errors.New("the processor has not been started")
	}
	w := p.workers.Get().(*worker)
	w.acting.origin = local.FromContext(ctx)
	w.decisions, _ = ctx.Value(decisionsKey{}).(*decisions)
	defer func() {
		w.leave()
		p.workers.Put(w)
	}()
	var c counts
	out := output{src: ld}
	for i := range ld.ResourceLogs().Len() {
		rl := ld.ResourceLogs().At(i)
		w.enter(rl.Resource())
		for j := range rl.ScopeLogs().Len() {
			records := rl.ScopeLogs().At(j).LogRecords()
			for k := range records.Len() {
				out.at(i, j, k)
				if p.record(ctx, w, rs, records.At(k), &out, &c) {
					out.keep()
				} else {
					out.drop()
				}
			}
		}
	}
	w.numbers.count(time.Now(), &c.sequence)
	p.add(ctx, &c)
	if out.records() == 0 {
		return ld, processorhelper.ErrSkipProcessingData
	}
	return out.logs(), nil
}

// record evaluates the rules on a record and appends the detections to out. It says whether the record itself stays.
func (p *rules) record(ctx context.Context, w *worker, rs *ruleset, lr plog.LogRecord, out *output, c *counts) bool {
	unmatched := p.cfg.OnNoMatch == NoMatchPass
	kind := kindOf(lr)
	var t event.Type
	var err error
	switch kind {
	case event.KindEvent:
		t, err = event.TypeOfRecord(lr)
	case event.KindDetection, event.KindReport:
	default:
		err = event.ErrForeign
	}
	if err != nil {
		c.foreign++
		p.foreignOnce.Do(func() {
			p.logger.Warn("a record that is not of Picket, or of another version of its record format, is treated as unmatched; "+
				"more of them are only counted", zap.String("event_name", lr.EventName()), zap.String("on_no_match", string(p.cfg.OnNoMatch)))
		})
		return unmatched
	}
	p.from(w, lr, kind)
	if kind != event.KindEvent {
		return true
	}
	if w.context.Host == "" {
		c.withoutHost++
		p.hostOnce.Do(func() {
			p.logger.Warn("an event record has no host.id in its resource: what rules keep of such records is of all of them together; "+
				"more of them are only counted", zap.String("event_name", lr.EventName()))
		})
	}
	if t == event.TypeExit {
		defer p.exited(w, rs, lr) // after the rules
	}
	if len(rs.Rules(t)) == 0 {
		return unmatched
	}
	if err := p.decode(w, lr, rs.Need(t)); err != nil {
		p.unreadable(c, lr, err)
		return unmatched
	}
	c.evaluated[t]++
	w.context.Now = timeOf(lr)
	detected := false
	checked := w.acting.origin != nil // the receiver of this process has written it
	w.matcher.Match(rs.Set, &w.context)
	for r := w.matcher.Next(); r != nil; r = w.matcher.Next() {
		if !checked {
			if err := event.CheckBody(lr.Body().Str()); err != nil {
				p.unreadable(c, lr, err)
				return unmatched
			}
			checked = true
		}
		if p.matched(ctx, w, rs, r, lr, out) {
			detected = true
		}
	}
	return !detected && unmatched
}

// unreadable counts a record that cannot be read, or of which no detection can be made.
func (p *rules) unreadable(c *counts, lr plog.LogRecord, err error) {
	c.decodeErrors++
	p.decodeOnce.Do(func() {
		p.logger.Warn("an event record cannot be read and is treated as unmatched; more of them are only counted",
			zap.String("event_name", lr.EventName()), zap.Error(err))
	})
}

// from notes that a record has come from the host of the resource at hand.
func (p *rules) from(w *worker, lr plog.LogRecord, kind string) {
	if w.sender == nil {
		w.sender = p.hosts.get(w.of(string(semconv.HostIDKey)))
		w.numbers.enter(boot{w.sender, w.of(event.AttrBootID)})
		w.context.Host = w.sender.id
	}
	if n, ok := numberOf(lr, kind); ok {
		w.numbers.add(n)
	}
}

// Bounds of an event record. Each rule that matches copies it.
const (
	maxBody       = 5_000_000 // bytes; the csm_threats exporter sends no larger ones
	maxAttributes = 1024
)

// decode reads what rules need of an event record.
func (p *rules) decode(w *worker, lr plog.LogRecord, need event.Need) error {
	if n := len(lr.Body().Str()); n > maxBody {
		return fmt.Errorf("the body has %d bytes, more than %d", n, maxBody)
	}
	if n := lr.Attributes().Len(); n > maxAttributes {
		return fmt.Errorf("there are %d attributes, more than %d", n, maxAttributes)
	}
	return w.decoder.DecodeRecord(lr, need, &w.event)
}

// matched does what a rule that matches an event calls for. It says whether that was a detection.
func (p *rules) matched(ctx context.Context, w *worker, rs *ruleset, r *policy.Rule, lr plog.LogRecord, out *output) bool {
	if r.HasActions() {
		p.act(ctx, w, rs, r)
	}
	if r.Silent {
		return false
	}
	suppressed, ok := p.allow(w, r)
	if !ok {
		p.telemetry.ProcessorSecurityRulesSuppressed.Add(ctx, 1, rs.options[r.ID])
		return false
	}
	info := r.Info
	info.SuppressedCount = suppressed
	info.Unavailable = r.Program.Unavailable(nil, &w.event)
	if r.HasActions() {
		info.Actions = w.acting.reports
		p.hash(ctx, w, r, &info)
	}
	event.EncodeDetection(out.add(), lr, w.readHost(), &info, rs.AgentVersion())
	p.telemetry.ProcessorSecurityRulesDetections.Add(ctx, 1, rs.options[r.ID])
	return true
}

// allow says whether the rule may make a detection, and how many it was not allowed before.
func (p *rules) allow(w *worker, r *policy.Rule) (suppressed int64, ok bool) {
	if p.cfg.DisableRateLimits {
		return 0, true
	}
	w.token = r.AppendToken(w.token[:0], &w.event)
	suppressed, ok = p.limiter.Allow(w.context.Host, r, w.token, w.context.Now)
	if w.decisions != nil {
		w.decisions.list = append(w.decisions.list, decision{w.context.Host, r, string(w.token), suppressed, ok})
	}
	return suppressed, ok
}

// exited forgets what rules have noted of a process that has exited.
func (p *rules) exited(w *worker, rs *ruleset, lr plog.LogRecord) {
	if id, ok := lr.Attributes().Get(event.AttrProcessID); ok {
		rs.Exited(w.context.Host, uint64(id.Int())) //nolint:gosec // an id is written as the int64 of the same bits
	}
}

// kindOf is the value of picket.record.kind; empty if the record is none of a contract version that is known.
func kindOf(lr plog.LogRecord) string {
	version, ok := lr.Attributes().Get(event.AttrContractVersion)
	if !ok || version.Int() != event.ContractVersion {
		return ""
	}
	kind, ok := lr.Attributes().Get(event.AttrRecordKind)
	if !ok {
		return ""
	}
	return kind.Str()
}

// timeOf is the time that rules take for now: that of the event, so that the same record is always decided the same way.
func timeOf(lr plog.LogRecord) event.Time {
	switch {
	case lr.Timestamp() != 0:
		return event.Time(lr.Timestamp())
	case lr.ObservedTimestamp() != 0:
		return event.Time(lr.ObservedTimestamp())
	}
	return event.Time(time.Now().UnixNano())
}
