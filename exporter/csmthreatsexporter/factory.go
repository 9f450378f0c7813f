// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.uber.org/zap"

	"github.com/picketsec/picket/exporter/csmthreatsexporter/internal/metadata"
)

// defaultAgentVersion is the Datadog agent that Picket is compatible with.
const defaultAgentVersion = "7.83.0"

// NewFactory returns the factory of the csm_threats exporter.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(
		metadata.Type,
		createDefaultConfig,
		exporter.WithLogs(createLogs, metadata.LogsStability),
	)
}

func createDefaultConfig() component.Config {
	client := confighttp.NewDefaultClientConfig()
	client.Timeout = 10 * time.Second
	client.Compression = configcompression.TypeZstd

	// One payload after the other, as the intake's own agent sends: it keeps the order, and a retry holds back what follows it.
	queue := exporterhelper.NewDefaultQueueConfig()
	queue.Sizer = exporterhelper.RequestSizerTypeItems
	queue.QueueSize = 10_000
	queue.NumConsumers = 1
	queue.Batch = configoptional.Some(exporterhelper.BatchConfig{
		FlushTimeout: 5 * time.Second,
		Sizer:        exporterhelper.RequestSizerTypeItems,
		MinSize:      maxPayloadEntries,
		MaxSize:      maxPayloadEntries,
	})

	retry := configretry.NewDefaultBackOffConfig()
	retry.InitialInterval = time.Second
	retry.Multiplier = 2
	retry.MaxInterval = 120 * time.Second
	retry.MaxElapsedTime = 0 // for ever

	return &Config{
		ClientConfig:   client,
		Site:           "datadoghq.com",
		Track:          TrackSecRuntime,
		ValidateAPIKey: true,
		AgentVersion:   defaultAgentVersion,
		QueueConfig:    configoptional.Some(queue),
		RetryConfig:    retry,
	}
}

func createLogs(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
	c := cfg.(*Config)
	main, err := newLogsExporter(ctx, set, c)
	if err != nil || len(c.AdditionalEndpoints) == 0 {
		return main, err
	}
	f := &fanOut{Logs: main, options: c.entryOptions()}
	for i := range c.AdditionalEndpoints {
		e := &c.AdditionalEndpoints[i]
		own := set
		own.ID = component.NewIDWithName(set.ID.Type(), set.ID.Name()+"@"+e.name())
		own.Logger = set.Logger.With(zap.String("exporter", own.ID.String()))
		logs, err := newLogsExporter(ctx, own, c.forAdditional(e), asAdditional)
		if err != nil {
			return nil, fmt.Errorf("additional endpoint %s: %w", e.name(), err)
		}
		f.additional = append(f.additional, &additional{Logs: logs})
	}
	return f, nil
}

// asAdditional leaves it to the main endpoint's exporter to count the records that no endpoint is sent.
func asAdditional(e *csmExporter) { e.additional = true }

// newLogsExporter makes the exporter for one endpoint, with queue and retries. The queue on disk and the metrics go by set.ID.
func newLogsExporter(ctx context.Context, set exporter.Settings, cfg *Config, options ...func(*csmExporter)) (exporter.Logs, error) {
	e, err := newExporter(cfg, set)
	if err != nil {
		return nil, err
	}
	for _, o := range options {
		o(e)
	}
	return exporterhelper.NewLogs(ctx, set, cfg,
		e.push,
		exporterhelper.WithStart(e.start),
		exporterhelper.WithShutdown(e.shutdown),
		exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
		// The HTTP client limits each request; a push may take several.
		exporterhelper.WithTimeout(exporterhelper.TimeoutConfig{Timeout: 0}),
		exporterhelper.WithRetry(cfg.RetryConfig),
		exporterhelper.WithQueue(cfg.QueueConfig),
	)
}
