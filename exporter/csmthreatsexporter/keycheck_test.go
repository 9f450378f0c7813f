// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/picketsec/picket/internal/intaketest"
)

func TestCheckURL(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Config)
		want string // "" if nothing is asked
	}{
		{"default", func(*Config) {}, "https://api.datadoghq.com/api/v1/validate"},
		{"site", func(c *Config) { c.Site = "us5.datadoghq.com" }, "https://api.us5.datadoghq.com/api/v1/validate"},
		{"switched off", func(c *Config) { c.ValidateAPIKey = false }, ""},
		{"endpoint", func(c *Config) { c.ClientConfig.Endpoint = "https://proxy.example.com" }, ""},
		{"endpoint and API", func(c *Config) {
			c.ClientConfig.Endpoint = "https://proxy.example.com"
			c.APIEndpoint = "https://api.example.com/dd"
		}, "https://api.example.com/dd/api/v1/validate"},
		{"API switched off", func(c *Config) {
			c.ValidateAPIKey = false
			c.APIEndpoint = "https://api.example.com"
		}, ""},
		{"additional site", func(c *Config) {
			*c = *c.forAdditional(&EndpointConfig{Site: "datadoghq.eu"})
		}, "https://api.datadoghq.eu/api/v1/validate"},
		{"additional endpoint", func(c *Config) {
			*c = *c.forAdditional(&EndpointConfig{Endpoint: "https://proxy.example.com"})
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			tt.edit(cfg)
			u, err := cfg.checkURL()
			require.NoError(t, err)
			if tt.want == "" {
				assert.Nil(t, u)
				return
			}
			require.NotNil(t, u)
			assert.Equal(t, tt.want, u.String())
		})
	}
}

// observed makes a logger whose lines can be read.
func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

// checkAgainst runs the check of an exporter that asks api, and returns what it logs.
func checkAgainst(t *testing.T, api string, timeout time.Duration) []observer.LoggedEntry {
	t.Helper()
	logger, logs := observed()
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint = "http://127.0.0.1:1" // nothing is sent
	cfg.ClientConfig.Timeout = timeout
	cfg.APIEndpoint = api
	cfg.APIKey = intaketest.APIKey
	settings := nopTelemetry()
	settings.Logger = logger
	e := startPusher(t, cfg, settings)
	e.check.running.Wait()
	return logs.All()
}

func TestKeyCheck(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		level  zapcore.Level
		want   string // part of the only line
	}{
		{"valid", 200, `{"valid":true}`, zapcore.DebugLevel, "The API key is valid."},
		{"refused", 403, `{"status":"error","code":403,"errors":["Forbidden"]}`, zapcore.WarnLevel, "The API key is not valid"},
		{"unauthorized", 401, ``, zapcore.WarnLevel, "The API key is not valid"},
		{"said to be invalid", 200, `{"valid":false}`, zapcore.WarnLevel, "The API key is not valid"},
		{"not a word of it", 200, `{}`, zapcore.InfoLevel, "could not be checked"},
		{"garbage", 200, `<html>` + intaketest.APIKey, zapcore.InfoLevel, "could not be checked"},
		{"throttled", 429, ``, zapcore.InfoLevel, "could not be checked"},
		{"broken", 500, `{"valid":true}`, zapcore.InfoLevel, "could not be checked"},
		{"redirect", 302, ``, zapcore.InfoLevel, "could not be checked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked []*http.Request
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer api.Close()
			lines := checkAgainst(t, api.URL, time.Minute)

			require.Len(t, asked, 1, "no redirect is followed with the key")
			assert.Equal(t, http.MethodGet, asked[0].Method)
			assert.Equal(t, "/api/v1/validate", asked[0].URL.Path)
			assert.Equal(t, intaketest.APIKey, asked[0].Header.Get("DD-API-KEY"))
			assert.Zero(t, asked[0].ContentLength)
			assert.Empty(t, asked[0].Header.Get("Content-Encoding"))
			assert.Equal(t, "picket/1.2.3", asked[0].Header.Get("User-Agent"))
			require.Len(t, lines, 1)
			assert.Equal(t, tt.level, lines[0].Level)
			assert.Contains(t, lines[0].Message, tt.want)
			assert.Equal(t, api.URL+"/api/v1/validate", lines[0].ContextMap()["url"])
			assert.NotContains(t, lines[0].Message+fmt.Sprint(lines[0].ContextMap()), intaketest.APIKey)
		})
	}
}

func TestKeyCheckAgainstTestIntake(t *testing.T) {
	for key, level := range map[string]zapcore.Level{intaketest.APIKey: zapcore.DebugLevel, "another": zapcore.WarnLevel} {
		intake := intaketest.Start(t, intaketest.WithAPIKey(key))
		lines := checkAgainst(t, intake.URL(), time.Minute)
		require.Len(t, lines, 1)
		assert.Equal(t, level, lines[0].Level)
		assert.Len(t, intake.Checks(), 1)
	}
}

// Headers of the configuration may be secrets of the endpoint's host: another one does not get them.
func TestKeyCheckHeaders(t *testing.T) {
	for _, same := range []bool{true, false} {
		intake := intaketest.Start(t)
		api := intake
		if !same {
			api = intaketest.Start(t)
		}
		cfg := newConfig(intake)
		cfg.APIEndpoint = api.URL()
		cfg.ClientConfig.Headers.Set("X-Token", "secret")
		e := startPusher(t, cfg, nopTelemetry())
		e.check.running.Wait()
		require.NoError(t, e.push(t.Context(), detections(1)))
		assert.Equal(t, "secret", intake.Requests()[0].Header.Get("X-Token"))
		require.Len(t, api.Checks(), 1)
		assert.Equal(t, same, api.Checks()[0].Header.Get("X-Token") == "secret")
	}
}

func TestKeyCheckWithoutNetwork(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	defer silent.CloseClientConnections()
	for api, want := range map[string]string{gone.URL: "connection refused", silent.URL: "exceeded"} {
		lines := checkAgainst(t, api, 50*time.Millisecond)
		require.Len(t, lines, 1)
		assert.Equal(t, zapcore.InfoLevel, lines[0].Level)
		assert.Equal(t, "The API key could not be checked.", lines[0].Message)
		assert.Contains(t, lines[0].ContextMap()["error"], want)
	}
}

// Start does not wait for the answer, and Shutdown ends the question.
func TestKeyCheckHoldsNothingUp(t *testing.T) {
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer silent.Close()
	defer silent.CloseClientConnections()
	intake := intaketest.Start(t)
	logger, logs := observed()
	cfg := newConfig(intake)
	cfg.APIEndpoint = silent.URL
	cfg.ClientConfig.Timeout = time.Hour
	settings := nopTelemetry()
	settings.Logger = logger
	e := startPusher(t, cfg, settings)
	<-asked
	require.NoError(t, e.push(t.Context(), detections(1)))
	assert.Len(t, intake.Logs(), 1, "logs are sent meanwhile")
	begin := time.Now()
	require.NoError(t, e.shutdown(context.Background()))
	assert.Less(t, time.Since(begin), keyCheckTimeout)
	for _, l := range logs.All() {
		assert.NotContains(t, l.Message, "API key", "a shutdown is no failure")
	}
}
