// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/picketsec/picket/exporter/csmthreatsexporter/internal/metadata"
)

// csmExporter sends the detections and reports among log records to the intake.
type csmExporter struct {
	cfg       *Config
	settings  component.TelemetrySettings
	telemetry *metadata.TelemetryBuilder
	options   entryOptions
	sender    sender
	host      string    // of the intake
	payloads  sync.Pool // of *payload
	limits    limits
	logOnce   [numReasons]sync.Once
	selfAttr  metric.MeasurementOption
	dropAttrs [numReasons]metric.MeasurementOption
	// additional is set if this is not the main endpoint: what none of them is sent has been counted there.
	additional bool
	check      keyCheck
}

// dropReasons has the metric's attribute, and what is logged when a reason occurs for the first time.
var dropReasons = [numReasons]struct {
	value  string // of the metric's attribute reason, see metadata.yaml
	advice string
}{
	dropEvent: {"event", "Plain events are not sent to Datadog: only detections and reports are. " +
		"Put the security_rules processor into this pipeline, or leave its on_no_match at drop."},
	dropForeign: {"foreign", "Records that do not have the form of Picket's are not sent to Datadog: they carry no CSM Threats log."},
	dropContract: {"contract", "Records whose picket.contract.version this Picket does not know are not sent to Datadog. " +
		"Use the same version of Picket for what writes records and what sends them."},
	dropTooLarge: {"too_large", "A log is larger than what the intake takes and was dropped."},
	dropRejected: {"rejected", "The intake refused a payload for good; its logs were dropped."},
}

func newExporter(cfg *Config, set exporter.Settings) (*csmExporter, error) {
	u, err := cfg.intakeURL()
	if err != nil {
		return nil, err
	}
	checkURL, err := cfg.checkURL()
	if err != nil {
		return nil, err
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	apiKey := strings.TrimSpace(string(cfg.APIKey))
	e := &csmExporter{
		cfg:       cfg,
		settings:  set.TelemetrySettings,
		telemetry: telemetry,
		options:   cfg.entryOptions(),
		sender: sender{
			url:    u.Redacted(),
			header: newHeader(apiKey, "picket/"+set.BuildInfo.Version, cfg.AgentVersion),
			apiKey: apiKey,
			now:    time.Now,
		},
		host:     u.Host,
		payloads: sync.Pool{New: func() any { return new(payload) }},
		limits:   limits{entries: maxPayloadEntries, bytes: maxPayloadBytes},
		check:    keyCheck{url: checkURL, logger: set.Logger},
	}
	self := attribute.String("exporter", set.ID.String())
	e.selfAttr = metric.WithAttributeSet(attribute.NewSet(self))
	for reason, r := range dropReasons {
		e.dropAttrs[reason] = metric.WithAttributeSet(attribute.NewSet(self, attribute.String("reason", r.value)))
	}
	return e, nil
}

// start makes the HTTP client: only now are the extensions known that authenticate.
func (e *csmExporter) start(ctx context.Context, host component.Host) error {
	var err error
	if e.sender.client, err = e.newClient(ctx, host, e.cfg.ClientConfig); err != nil {
		return err
	}
	e.telemetry.ExporterCsmThreatsDeliveredRecords.Add(ctx, 0, e.selfAttr) // it is there to be watched before the first delivery
	if e.check.url != nil {
		config := e.cfg.ClientConfig
		if e.check.url.Host != e.host {
			config = forOtherHost(config)
		}
		config.Compression, config.DisableKeepAlives = "none", true
		client, err := e.newClient(ctx, host, config)
		if err != nil {
			return err
		}
		e.check.start(client, &e.sender)
	}
	return nil
}

func (e *csmExporter) newClient(ctx context.Context, host component.Host, config confighttp.ClientConfig) (*http.Client, error) {
	client, err := config.ToClient(ctx, host.GetExtensions(), e.settings)
	if err != nil {
		return nil, err
	}
	// A redirect would carry the API key to another host.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

func (e *csmExporter) shutdown(context.Context) error {
	e.check.stop()
	if e.sender.client != nil {
		e.sender.client.CloseIdleConnections()
	}
	e.telemetry.Shutdown()
	return nil
}

// push sends the records of ld in as many payloads as the intake's limits ask for, in order.
//
// When a payload fails and may be tried again, the error carries the records that have not been accepted
// (consumererror.Logs), or, if that is all of ld, is returned as it is. A payload that the intake refuses for good is
// dropped and counted, and the ones after it are sent all the same; push returns that error only if nothing was accepted,
// because exporterhelper counts all of a batch as sent or all as failed. What was accepted has a metric of its own.
func (e *csmExporter) push(ctx context.Context, ld plog.Logs) error {
	p := e.payloads.Get().(*payload)
	defer e.payloads.Put(p)
	p.reset(e.limits)

	var (
		unsent   position // of the first record that belongs to no finished payload
		drops    [numReasons]int64
		accepted int
		refused  error
	)
	flush := func(next position) error {
		if p.entries() > 0 {
			body := p.bytes()
			err := e.sender.send(ctx, body, p.lastTimestamp)
			switch {
			case err == nil:
				accepted += p.entries()
				e.telemetry.ExporterCsmThreatsDeliveredRecords.Add(ctx, int64(p.entries()), e.selfAttr)
				e.telemetry.ExporterCsmThreatsPayloadBytes.Add(ctx, int64(len(body)), e.selfAttr)
			case consumererror.IsPermanent(err):
				drops[dropRejected] += int64(p.entries())
				refused = errors.Join(refused, err)
			default:
				return err // what was dropped since the last payload is met again, and counted then
			}
		}
		e.countDrops(ctx, &drops)
		p.next()
		unsent = next
		return nil
	}

	for at, r := range records(ld) {
		reason := r.facts.classify(r.record)
		if reason == keep {
			reason = p.add(&e.options, r)
		}
		if reason != keep {
			drops[reason]++
			continue
		}
		if p.full() {
			if err := flush(at); err != nil {
				return e.retryable(err, refused, ld, unsent)
			}
		}
	}
	if err := flush(position{resource: ld.ResourceLogs().Len()}); err != nil {
		return e.retryable(err, refused, ld, unsent)
	}
	if refused != nil && accepted > 0 {
		e.settings.Logger.Error("The intake refused some of the payloads; their logs were dropped.", zap.Error(refused))
		return nil
	}
	return refused
}

// retryable makes the error for the records from unsent on. refused is an error of payloads before them, which nobody else reports.
func (e *csmExporter) retryable(err, refused error, ld plog.Logs, unsent position) error {
	if refused != nil {
		e.settings.Logger.Error("The intake refused some of the payloads; their logs were dropped.", zap.Error(refused))
	}
	if unsent == (position{}) {
		return err
	}
	return consumererror.NewLogs(err, recordsFrom(ld, unsent))
}

// countDrops adds to the metric, logs each reason once, and clears the counts.
func (e *csmExporter) countDrops(ctx context.Context, drops *[numReasons]int64) {
	for reason, n := range drops {
		if n == 0 {
			continue
		}
		drops[reason] = 0
		if e.additional && dropReason(reason).ofRecord() {
			continue
		}
		e.telemetry.ExporterCsmThreatsDroppedRecords.Add(ctx, n, e.dropAttrs[reason])
		e.logOnce[reason].Do(func() {
			r := dropReasons[reason]
			e.settings.Logger.Warn(r.advice+" Said once; the metric otelcol_exporter_csm_threats_dropped_records counts them.",
				zap.String("reason", r.value), zap.Int64("records", n))
		})
	}
}
