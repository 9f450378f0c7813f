// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/picketsec/picket/exporter/csmthreatsexporter/internal/metadata"
	"github.com/picketsec/picket/internal/intaketest"
)

// loadConfig reads one of the configurations of testdata/config.yaml, environment variables resolved.
func loadConfig(t *testing.T, name string) (*Config, error) {
	t.Helper()
	t.Setenv("DD_API_KEY", intaketest.APIKey)
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs:              []string{"file:" + filepath.Join("testdata", "config.yaml")},
		ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), envprovider.NewFactory()},
	})
	require.NoError(t, err)
	conf, err := resolver.Resolve(t.Context())
	require.NoError(t, err)
	id := component.NewIDWithName(metadata.Type, name)
	sub, err := conf.Sub(id.String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestConfigDefault(t *testing.T) {
	cfg, err := loadConfig(t, "")
	require.NoError(t, err)
	want := createDefaultConfig().(*Config)
	want.APIKey = intaketest.APIKey
	assert.Equal(t, want, cfg)

	u, err := cfg.intakeURL()
	require.NoError(t, err)
	assert.Equal(t, "https://runtime-security-http-intake.logs.datadoghq.com/api/v2/secruntime", u.String())
	assert.Equal(t, 10*time.Second, cfg.ClientConfig.Timeout)
	assert.Equal(t, configcompression.TypeZstd, cfg.ClientConfig.Compression)
	queue := cfg.QueueConfig.Get()
	assert.Equal(t, exporterhelper.RequestSizerTypeItems, queue.Sizer)
	assert.False(t, queue.BlockOnOverflow)
	assert.Equal(t, 5*time.Second, queue.Batch.Get().FlushTimeout)
	assert.Equal(t, int64(1000), queue.Batch.Get().MaxSize)
	assert.Zero(t, cfg.RetryConfig.MaxElapsedTime)
	assert.Equal(t, 120*time.Second, cfg.RetryConfig.MaxInterval)
}

func TestConfigFull(t *testing.T) {
	cfg, err := loadConfig(t, "eu")
	require.NoError(t, err)
	want := createDefaultConfig().(*Config)
	want.APIKey = intaketest.APIKey
	want.Site = "datadoghq.eu"
	want.Track = TrackLogs
	want.Hostname = "web-1.example.com"
	want.Tags = []string{"env:prod", "team:security"}
	want.AgentVersion = "7.80.1"
	want.ClientConfig.Compression = configcompression.TypeGzip
	want.ClientConfig.Timeout = 5 * time.Second
	storage := component.MustNewID("file_storage")
	want.QueueConfig.Get().StorageID = &storage
	want.QueueConfig.Get().QueueSize = 50000
	want.QueueConfig.Get().Batch.Get().FlushTimeout = time.Second
	want.RetryConfig.MaxInterval = 30 * time.Second
	assert.Equal(t, want, cfg)

	u, err := cfg.intakeURL()
	require.NoError(t, err)
	assert.Equal(t, "https://runtime-security-http-intake.logs.datadoghq.eu/api/v2/logs", u.String())
}

func TestConfigProxy(t *testing.T) {
	cfg, err := loadConfig(t, "proxy")
	require.NoError(t, err)
	assert.Equal(t, configoptional.None[exporterhelper.QueueBatchConfig]().HasValue(), cfg.QueueConfig.HasValue())
	u, err := cfg.intakeURL()
	require.NoError(t, err)
	assert.Equal(t, "http://127.0.0.1:8080/datadog/api/v2/secruntime", u.String())
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		name string
		want []string
		not  string
	}{
		{"bad", []string{
			"api_key must be set, for instance to ${env:DD_API_KEY}; the environment variable must not be empty",
			`site "https://datadoghq.com" must be the name of a Datadog site, such as datadoghq.com or datadoghq.eu; set endpoint for anything else`,
			`compression "snappy" is not one that the intake reads: use zstd, gzip or none`,
			"timeout -1s must not be negative",
			`tags: "novalue" must have the form key:value and hold no comma`,
			`tags: "a:b,c:d" must have the form key:value and hold no comma`,
			`agent_version "latest" must be a version such as 7.83.0`,
		}, ""},
		{"bad_endpoint", []string{
			"api_key must hold neither spaces nor characters other than printable ASCII",
			"endpoint must not hold a user or a password: use auth",
			"endpoint must not hold a query or a fragment",
			"endpoint must be the base URL only: /api/v2/<track> is added to it",
		}, "s3cret"},
		{"bad_track", []string{`track "security" is not known: use "secruntime" or "logs"`}, intaketest.APIKey},
		{"unknown_key", []string{"has invalid keys: apikey"}, intaketest.APIKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadConfig(t, tt.name)
			require.Error(t, err)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			if tt.not != "" {
				assert.NotContains(t, err.Error(), tt.not)
			}
		})
	}
}

// A factory default, or a Config made in code, is validated as well as one that was unmarshaled.
func TestValidateInCode(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.APIKey = " " + intaketest.APIKey + "\n" // from a file, for instance
	require.NoError(t, cfg.Validate())
	cfg.Track = "x"
	cfg.ClientConfig.Endpoint = "intake.example.com:443"
	err := cfg.Validate()
	require.ErrorContains(t, err, `track "x" is not known`)
	require.ErrorContains(t, err, "endpoint must be a URL such as https://intake.example.com")
}
