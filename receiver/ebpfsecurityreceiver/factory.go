// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ebpfsecurityreceiver

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/picketsec/picket/internal/privacy"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadata"
)

// NewFactory returns the factory of the receiver.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(metadata.Type, createDefaultConfig, receiver.WithLogs(createLogs, metadata.LogsStability))
}

func createDefaultConfig() component.Config {
	return &Config{
		Backend:        BackendAuto,
		Schema:         SchemaStandard,
		RingBufferSize: 8 << 20,
		Drain:          DrainConfig{MinInterval: 20 * time.Millisecond, MaxInterval: 500 * time.Millisecond},
		Batch:          BatchConfig{MaxRecords: 512, Timeout: 200 * time.Millisecond, QueueSize: 64},
		Args:           ArgsConfig{Scrub: true},
		EnvsWithValue:  privacy.DefaultEnvsWithValue,
		ProcessTree:    ProcessTreeConfig{MaxProcesses: 65536, Retention: time.Second},
	}
}

func createLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration is a %T", cfg)
	}
	return newReceiver(set, c, next)
}
