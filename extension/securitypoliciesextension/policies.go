// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securitypoliciesextension

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/picketsec/picket/extension/securitypoliciesextension/internal/metadata"
	"github.com/picketsec/picket/internal/policy"
)

// policies is the extension: a policy.Store whose files are watched.
type policies struct {
	*policy.Store
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	host      component.Host
	watcher   *watcher // nil without reload
}

var _ policy.Provider = (*policies)(nil)

func newPolicies(set extension.Settings, cfg *Config) (*policies, error) {
	tb, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("creating metrics: %w", err)
	}
	return &policies{
		Store:     policy.NewStore(cfg.Paths, policy.Options{AgentVersion: cfg.AgentVersion}, policy.OnRuleError(cfg.OnRuleError)),
		cfg:       cfg,
		id:        set.ID,
		logger:    set.Logger,
		telemetry: tb,
	}, nil
}

// Start loads the policies. It fails if there is no rule to use.
func (p *policies) Start(ctx context.Context, host component.Host) error {
	p.host = host
	report, _ := p.Load()
	p.log(report)
	p.count(ctx, report)
	if p.Current().Len() == 0 {
		return noRules(report)
	}
	if !p.cfg.Reload.Enabled {
		return nil
	}
	w, err := newWatcher(p.cfg.Paths, p.cfg.Reload.Debounce, p.logger, p.reload)
	if err != nil {
		// Detection goes on with the rules that are loaded; only a later change would not be seen.
		p.logger.Error("policy files are not watched: a change needs a restart of the collector", zap.Error(err))
		return nil
	}
	p.watcher = w
	p.reload() // for what has changed between the load and the watch
	return nil
}

// Shutdown stops watching. It may be called without Start, and again.
func (p *policies) Shutdown(context.Context) error {
	if p.watcher != nil {
		p.watcher.close()
		p.watcher = nil
	}
	p.telemetry.Shutdown()
	return nil
}

// noRules is the error of a start without rules. It names the first mistakes; all of them are in the log.
func noRules(report *policy.Report) error {
	const shown = 3
	problems := report.Problems()
	if len(problems) == 0 {
		return fmt.Errorf("no rule to use: %d rules are disabled and %d filtered out by agent_version or filters",
			report.Count(policy.StatusDisabled), report.Count(policy.StatusFiltered))
	}
	var first []string
	for _, p := range problems[:min(shown, len(problems))] {
		first = append(first, p.String())
	}
	if more := len(problems) - len(first); more > 0 {
		first = append(first, fmt.Sprintf("and %d more", more))
	}
	return errors.New("no rule could be loaded: " + strings.Join(first, "; "))
}

// reload loads the files after a change.
func (p *policies) reload() {
	report, changed := p.Load()
	if !changed {
		return
	}
	p.log(report)
	p.count(context.Background(), report)
	status := componentstatus.NewEvent(componentstatus.StatusOK)
	if report.Kept {
		status = componentstatus.NewRecoverableErrorEvent(errors.New(report.Reason))
	}
	componentstatus.ReportStatus(p.host, status)
}

// log writes one message per mistake, and one about the whole.
func (p *policies) log(report *policy.Report) {
	const maxMessages = 100 // a policy of thousands of bad rules must not flood the log
	problems := report.Problems()
	for _, pr := range problems[:min(maxMessages, len(problems))] {
		what := "policy file left out"
		fields := []zap.Field{zap.String("at", fmt.Sprintf("%s:%d:%d", pr.Path, pr.Line, pr.Column)), zap.String("error", pr.Message)}
		if pr.Kind != "" {
			what = pr.Kind + " left out"
			fields = append(fields, zap.String(pr.Kind, pr.ID))
		}
		if pr.Snippet != "" {
			fields = append(fields, zap.String("source", "\n"+pr.Snippet))
		}
		p.logger.Error(what, fields...)
	}
	if more := len(problems) - maxMessages; more > 0 {
		p.logger.Error("more policy errors are not shown; picketctl rules check shows them all", zap.Int("errors", more))
	}
	fields := []zap.Field{
		zap.Int("loaded", report.Count(policy.StatusLoaded)),
		zap.Int("filtered", report.Count(policy.StatusFiltered)),
		zap.Int("disabled", report.Count(policy.StatusDisabled)),
		zap.Int("errors", report.Errors()),
		zap.Int("in_use", p.Current().Len()),
	}
	if report.Kept {
		p.logger.Error("new policies are not used: "+report.Reason, fields...)
		return
	}
	p.logger.Info("policies loaded", fields...)
}

func (p *policies) count(ctx context.Context, report *policy.Report) {
	for _, s := range []policy.Status{policy.StatusLoaded, policy.StatusFiltered, policy.StatusDisabled, policy.StatusError} {
		p.telemetry.ExtensionSecurityPoliciesRules.Record(ctx, int64(report.Count(s)), metric.WithAttributes(attribute.String("status", string(s))))
	}
	result := "loaded"
	if report.Kept {
		result = "kept_previous"
	}
	p.telemetry.ExtensionSecurityPoliciesLoads.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}
