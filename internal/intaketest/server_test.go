// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package intaketest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const goodEntry = `{"message":"{\"evt\":{}}","status":"info","timestamp":1714642304120,"hostname":"web-1","service":"",` +
	`"ddsource":"runtime-security-agent","ddtags":"rule_id:a,type:exec"}`

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, err := zw.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	return b.String()
}

func zstdCompressed(t *testing.T, s string) string {
	t.Helper()
	zw, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return string(zw.EncodeAll([]byte(s), nil))
}

// post sends a request that is right but for what edit changes.
func post(t *testing.T, s *Server, body string, edit func(*http.Request)) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.URL()+DefaultPath, strings.NewReader(body))
	require.NoError(t, err)
	for k, v := range map[string]string{
		"DD-API-KEY": APIKey, "Content-Type": "application/json", "User-Agent": "test/1", "DD-EVP-ORIGIN": "cloud-workload-security",
		"DD-EVP-ORIGIN-VERSION": "7.83.0", "dd-message-timestamp": "1714642304120", "dd-current-timestamp": "1714642305000",
	} {
		r.Header.Set(k, v)
	}
	if edit != nil {
		edit(r)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func TestProtocol(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	without := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Del(name) }
	}
	good := "[" + goodEntry + "]"
	tests := []struct {
		name   string
		body   string
		edit   func(*http.Request)
		status int
		answer string // part of it
	}{
		{"good", good, nil, 202, `{}`},
		{"gzip", gzipped(t, good), set("Content-Encoding", "gzip"), 202, `{}`},
		{"zstd", zstdCompressed(t, good), set("Content-Encoding", "zstd"), 202, `{}`},
		{"no key", good, without("DD-API-KEY"), 401, "DD-API-KEY"},
		{"wrong key", good, set("DD-API-KEY", "x"), 403, "not known"},
		{"path", good, func(r *http.Request) { r.URL.Path = "/api/v2/logs" }, 404, "/api/v2/logs"},
		{"method", good, func(r *http.Request) { r.Method = http.MethodPut }, 405, "PUT"},
		{"content type", good, set("Content-Type", "text/plain"), 415, "text/plain"},
		{"encoding", good, set("Content-Encoding", "br"), 415, "br"},
		{"not gzip", good, set("Content-Encoding", "gzip"), 400, "gzip"},
		{"not zstd", good, set("Content-Encoding", "zstd"), 400, "cannot be read"},
		{"origin", good, without("DD-EVP-ORIGIN"), 400, "DD-EVP-ORIGIN"},
		{"origin version", good, without("DD-EVP-ORIGIN-VERSION"), 400, "DD-EVP-ORIGIN-VERSION"},
		{"message timestamp", good, set("dd-message-timestamp", "1"), 400, "dd-message-timestamp is 1"},
		{"current timestamp", good, set("dd-current-timestamp", "12"), 400, "dd-current-timestamp"},
		{"no array", goodEntry, nil, 400, "no array"},
		{"empty array", "[]", nil, 400, "empty"},
		{"text after the array", good + "x", nil, 400, "follows"},
		{"unknown member", `[{"x":1}]`, nil, 400, "unknown field"},
		{"missing member", strings.Replace(good, `"service":"",`, "", 1), nil, 400, "service is missing"},
		{"message is an object", strings.Replace(good, `"{\"evt\":{}}"`, `{"evt":{}}`, 1), nil, 400, "no array of log entries"},
		{"message is no JSON", strings.Replace(good, `{\"evt\":{}}`, `{\"evt\"`, 1), nil, 400, "no JSON object"},
		{"status", strings.Replace(good, `"info"`, `"warn"`, 1), nil, 400, "status is"},
		{"timestamp in seconds", strings.Replace(good, `1714642304120`, `1714642304`, 1), set("dd-message-timestamp", "1714642304"), 400, "no time in ms"},
		{"tag without value", strings.Replace(good, `type:exec`, `type`, 1), nil, 400, "not key:value"},
		{"1000 entries", "[" + strings.Repeat(goodEntry+",", 999) + goodEntry + "]", nil, 202, "{}"},
		{"1001 entries", "[" + strings.Repeat(goodEntry+",", 1000) + goodEntry + "]", nil, 413, "1001 entries"},
		{"5 MB", good + strings.Repeat(" ", MaxPayloadBytes-len(good)), nil, 202, "{}"},
		{"over 5 MB", good + strings.Repeat(" ", MaxPayloadBytes-len(good)+1), nil, 413, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Start(t)
			status, answer := post(t, s, tt.body, tt.edit)
			assert.Equal(t, tt.status, status, answer)
			assert.Contains(t, answer, tt.answer)
			if tt.status == http.StatusAccepted {
				assert.Empty(t, s.Problems())
				log := s.Logs()[0]
				assert.Equal(t, Log{
					Message: `{"evt":{}}`, Status: "info", Timestamp: 1714642304120, Hostname: "web-1",
					DDSource: "runtime-security-agent", DDTags: "rule_id:a,type:exec",
				}, log)
				assert.Equal(t, []string{"rule_id:a", "type:exec"}, log.Tags())
				assert.Equal(t, "exec", log.Tag("type"))
			} else {
				assert.Empty(t, s.Logs())
				assert.Len(t, s.Problems(), 1)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	s := Start(t)
	good := "[" + goodEntry + "]"
	s.Script(
		Fault{Status: 503, RetryAfter: "2"},
		Fault{Status: 500, AcceptFirst: true},
		Fault{},
	)
	for _, want := range []int{503, 500, 202, 202} {
		status, _ := post(t, s, good, nil)
		assert.Equal(t, want, status)
	}
	assert.Len(t, s.WaitCount(3, time.Second), 3)
	assert.Empty(t, s.Problems())

	s.Always(&Fault{Status: 429, Body: "slow down"})
	status, answer := post(t, s, good, nil)
	assert.Equal(t, 429, status)
	assert.Equal(t, "slow down", answer)
	s.Reset()
	assert.Empty(t, s.Requests())

	url := s.URL()
	s.Down()
	_, err := http.Post(url, "", nil) //nolint:bodyclose // there is no answer
	require.Error(t, err)
	s.Up()
	assert.Equal(t, url, s.URL())
	status, _ = post(t, s, good, nil)
	assert.Equal(t, 202, status)
}
