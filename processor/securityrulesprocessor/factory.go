// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"

	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadata"
)

// NewFactory makes the factory of the processor.
func NewFactory() processor.Factory {
	return processor.NewFactory(metadata.Type, createDefaultConfig, processor.WithLogs(createLogs, metadata.LogsStability))
}

func createDefaultConfig() component.Config {
	return &Config{
		OnNoMatch: NoMatchDrop,
		MaxHosts:  4096,
		// As in Datadog's agent.
		Enforcement: EnforcementConfig{Disarmer: DisarmerConfig{MaxContainers: 5, MaxExecutables: 5, Period: time.Minute}},
	}
}

func createLogs(ctx context.Context, set processor.Settings, cfg component.Config, next consumer.Logs) (processor.Logs, error) {
	p, err := newRules(set, cfg.(*Config), next)
	if err != nil {
		return nil, err
	}
	helper, err := processorhelper.NewLogs(ctx, set, cfg, next, p.processLogs,
		// Detections are records of their own: what comes in is only read.
		processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
		processorhelper.WithStart(p.start),
		processorhelper.WithShutdown(p.shutdown))
	if err != nil {
		return nil, err
	}
	return &redeliverable{Logs: helper, rules: p}, nil
}
