// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !(amd64 || arm64)

package ebpfsecurityreceiver

import (
	"errors"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
)

func newReceiver(receiver.Settings, *Config, consumer.Logs) (receiver.Logs, error) {
	return nil, errors.New("the ebpf_security receiver runs on Linux on amd64 and arm64 only")
}
