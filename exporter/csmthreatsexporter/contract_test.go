// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// contractID is the attribute by which the contract checker tells records apart.
const contractID = "test_id"

// asDetections hands the checker's records to the exporter as detections: of others it sends none.
type asDetections struct{ exporter.Logs }

func (e asDetections) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	out := plog.NewLogs()
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				id, _ := lr.Attributes().Get(contractID)
				body, err := json.Marshal(map[string]string{contractID: id.Str()})
				if err != nil {
					return err
				}
				addRecord(out, event.KindDetection, 0).Body().SetStr(string(body))
			}
		}
	}
	return e.Logs.ConsumeLogs(ctx, out)
}

// contractIntake passes accepted logs to the checker's consumer, which decides by its error what the intake answers.
type contractIntake struct {
	next atomic.Pointer[consumer.Logs]
}

func (i *contractIntake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var logs []intaketest.Log
	if err := json.NewDecoder(r.Body).Decode(&logs); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, l := range logs {
		var body map[string]string
		if err := json.Unmarshal([]byte(l.Message), &body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		records.AppendEmpty().Attributes().PutStr(contractID, body[contractID])
	}
	switch err := (*i.next.Load()).ConsumeLogs(r.Context(), ld); {
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case consumererror.IsPermanent(err):
		w.WriteHeader(http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

type nopReceiver struct {
	component.StartFunc
	component.ShutdownFunc
}

func TestConsumeContract(t *testing.T) {
	intake := new(contractIntake)
	server := httptest.NewServer(intake)
	t.Cleanup(server.Close)

	factory := exporter.NewFactory(NewFactory().Type(), createDefaultConfig, exporter.WithLogs(
		func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			e, err := createLogs(ctx, set, cfg)
			return asDetections{e}, err
		}, component.StabilityLevelAlpha))
	receivers := receiver.NewFactory(component.MustNewType("contract"), func() component.Config { return struct{}{} },
		receiver.WithLogs(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Logs) (receiver.Logs, error) {
			intake.next.Store(&next)
			return nopReceiver{}, nil
		}, component.StabilityLevelAlpha))

	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint = server.URL
	cfg.ClientConfig.Compression = configcompression.Type("none")
	cfg.APIKey = intaketest.APIKey
	cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	cfg.RetryConfig.InitialInterval = time.Millisecond
	cfg.RetryConfig.MaxInterval = time.Millisecond
	require.NoError(t, cfg.Validate())

	exportertest.CheckConsumeContract(exportertest.CheckConsumeContractParams{
		T:                    t,
		NumberOfTestElements: 10,
		Signal:               pipeline.SignalLogs,
		ExporterFactory:      factory,
		ExporterConfig:       cfg,
		ReceiverFactory:      receivers,
		ReceiverConfig:       struct{}{},
	})
}
