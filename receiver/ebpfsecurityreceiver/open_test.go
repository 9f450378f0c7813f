// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadata"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// A kernel side that cannot be opened, for want of privileges or whatever else, is an error of Start and leaves the receiver
// as it was.
func TestStartReturnsTheErrorOfTheKernelSide(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	logs, err := newReceiver(receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	r := logs.(*securityReceiver)
	r.open = func(o *sensor.Options) (kernel, error) {
		o.RingSize = 3 // no kernel takes a ring of three bytes, and without root it does not come to that
		return openSensor(o)
	}
	for range 2 {
		err := r.Start(t.Context(), componenttest.NewNopHost())
		require.Error(t, err)
		assert.Nil(t, r.kernel)
		require.NoError(t, r.Shutdown(t.Context()))
	}
}
