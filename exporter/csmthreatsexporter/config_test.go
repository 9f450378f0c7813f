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
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
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
	assert.Equal(t, configretry.BackOffConfig{
		Enabled: true, InitialInterval: time.Second, Multiplier: 2, MaxInterval: 120 * time.Second, RandomizationFactor: 0.5,
		MaxElapsedTime: 0, // for ever
	}, cfg.RetryConfig)
	assert.True(t, cfg.ValidateAPIKey)
	assert.Empty(t, cfg.AdditionalEndpoints)
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

func TestConfigAdditional(t *testing.T) {
	cfg, err := loadConfig(t, "additional")
	require.NoError(t, err)
	key := configopaque.String(intaketest.APIKey)
	want := []EndpointConfig{
		{Site: "datadoghq.eu", APIKey: key},
		{Site: "datadoghq.eu", APIKey: key, Name: "second-org"},
		{Endpoint: "https://Proxy.example.com:8443/dd~1/", APIKey: key, Track: TrackLogs, APIEndpoint: "https://api.example.com"},
	}
	assert.Equal(t, want, cfg.AdditionalEndpoints)

	var names, urls, checks []string
	main := *cfg
	for i := range cfg.AdditionalEndpoints {
		e := &cfg.AdditionalEndpoints[i]
		c := cfg.forAdditional(e)
		u, err := c.intakeURL()
		require.NoError(t, err)
		check, err := c.checkURL()
		require.NoError(t, err)
		names, urls, checks = append(names, e.name()), append(urls, u.String()), append(checks, check.String())

		// The rest is as the main endpoint has it, but for what only that one may have.
		assert.Equal(t, key, c.APIKey)
		assert.Equal(t, "/etc/ca.pem", c.ClientConfig.TLS.CAFile)
		assert.Equal(t, "http://127.0.0.1:3128", c.ClientConfig.ProxyURL)
		assert.Equal(t, configcompression.TypeZstd, c.ClientConfig.Compression)
		assert.Equal(t, []string{"env:prod"}, c.Tags)
		assert.Equal(t, int64(5000), c.QueueConfig.Get().QueueSize)
		assert.Equal(t, "file_storage", c.QueueConfig.Get().StorageID.String())
		assert.Empty(t, c.ClientConfig.TLS.ServerName)
		assert.Empty(t, c.ClientConfig.Headers)
		assert.False(t, c.ClientConfig.Auth.HasValue())
		assert.False(t, c.QueueConfig.Get().BlockOnOverflow)
		assert.Empty(t, c.AdditionalEndpoints)
	}
	assert.Equal(t, []string{"datadoghq.eu", "second-org", "proxy.example.com:8443_dd_1"}, names)
	assert.Equal(t, []string{
		"https://runtime-security-http-intake.logs.datadoghq.eu/api/v2/secruntime",
		"https://runtime-security-http-intake.logs.datadoghq.eu/api/v2/secruntime",
		"https://Proxy.example.com:8443/dd~1/api/v2/logs",
	}, urls)
	assert.Equal(t, []string{
		"https://api.datadoghq.eu/api/v1/validate", "https://api.datadoghq.eu/api/v1/validate", "https://api.example.com/api/v1/validate",
	}, checks)
	assert.Equal(t, main, *cfg, "the main endpoint's configuration is left alone")
	assert.True(t, cfg.QueueConfig.Get().BlockOnOverflow)
	assert.Equal(t, "main.example.com", cfg.ClientConfig.TLS.ServerName)
}

// The name, by which the queue on disk is found, does not change with the key.
func TestEndpointNameIsStable(t *testing.T) {
	for _, key := range []configopaque.String{"a", "b"} {
		e := EndpointConfig{Endpoint: "http://[::1]:8080/x/", APIKey: key}
		assert.Equal(t, "::1_:8080_x", e.name())
	}
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
		{"bad_additional", []string{
			"additional_endpoints::0: api_key must be set",
			"additional_endpoints::2: either site or endpoint must be set",
			"either site or endpoint must be set",
			`site "nowhere" must be the name of a Datadog site`,
			`name "a/b" must hold letters, digits and . _ : - only, at most 200`,
			"api_endpoint must be a URL such as",
			"endpoint must not hold a user or a password: use auth",
			`additional_endpoints: two are called "datadoghq.eu": give each a name of its own`,
			"additional_endpoints need sending_queue",
			"headers must not hold DD-API-KEY: use api_key",
		}, intaketest.APIKey},
		{"bad_wait", []string{"additional_endpoints do not go together with sending_queue::wait_for_result"}, intaketest.APIKey},
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
