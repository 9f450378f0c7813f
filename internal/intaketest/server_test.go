// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package intaketest

import (
	"bytes"
	"compress/gzip"
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

// goodRequest makes a request that is right if the body is.
func goodRequest(t *testing.T, s *Server, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+DefaultPath, strings.NewReader(body))
	require.NoError(t, err)
	for k, v := range map[string]string{
		"DD-API-KEY": APIKey, "Content-Type": "application/json", "User-Agent": "test/1", "DD-EVP-ORIGIN": "cloud-workload-security",
		"DD-EVP-ORIGIN-VERSION": "7.83.0", "dd-message-timestamp": "1714642304120", "dd-current-timestamp": "1714642305000",
	} {
		r.Header.Set(k, v)
	}
	return r
}

// post sends a request that is right but for what edit changes.
func post(t *testing.T, s *Server, body string, edit func(*http.Request)) (status int, answer string) {
	t.Helper()
	r := goodRequest(t, s, body)
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
		{"text after the array", good + "x", nil, 400, "after top-level value"},
		{"unknown member", strings.Replace(good, `"status"`, `"x":1,"status"`, 1), nil, 400, "unknown member"},
		{"missing member", strings.Replace(good, `"service":"",`, "", 1), nil, 400, "service is missing"},
		{"message is an object", strings.Replace(good, `"{\"evt\":{}}"`, `{"evt":{}}`, 1), nil, 400, "message: it is no string"},
		{"message is no JSON", strings.Replace(good, `{\"evt\":{}}`, `{\"evt\"`, 1), nil, 400, "no JSON object"},
		{"status", strings.Replace(good, `"info"`, `"warn"`, 1), nil, 400, "status is"},
		{"timestamp in seconds", strings.Replace(good, `1714642304120`, `1714642304`, 1), set("dd-message-timestamp", "1714642304"), 400, "no time in ms"},
		{"tag without value", strings.Replace(good, `type:exec`, `type`, 1), nil, 400, "not key:value"},
		{"null in place of the array", "null", nil, 400, "no array"},
		{"entry is no object", "[1]", nil, 400, "no object"},
		{"member twice", strings.Replace(good, `"status":"info"`, `"status":"info","status":"info"`, 1), nil, 400, "status occurs twice"},
		{"member in other letters", strings.Replace(good, `"status"`, `"Status"`, 1), nil, 400, "unknown member"},
		{"null", strings.Replace(good, `"service":""`, `"service":null`, 1), nil, 400, "service: it is no string"},
		{"timestamp is a string", strings.Replace(good, `1714642304120`, `"1714642304120"`, 1), nil, 400, "timestamp"},
		{"timestamp has a fraction", strings.Replace(good, `1714642304120`, `1714642304120.5`, 1), nil, 400, "timestamp"},
		{"message is an array", strings.Replace(good, `{\"evt\":{}}`, `[]`, 1), nil, 400, "no JSON object"},
		{"two objects in message", strings.Replace(good, `{\"evt\":{}}`, `{} {}`, 1), nil, 400, "no JSON object"},
		{"ddsource", strings.Replace(good, `runtime-security-agent`, `picket`, 1), nil, 400, "ddsource is"},
		{"not UTF-8", strings.Replace(good, `web-1`, "web-\xff", 1), nil, 400, "not UTF-8"},
		{"header twice", good, func(r *http.Request) { r.Header.Add("dd-message-timestamp", "1714642304120") }, 400, "2 dd-message-timestamp headers"},
		{"no user agent", good, set("User-Agent", ""), 400, "User-Agent"},
		{"message timestamp is no number", good, set("dd-message-timestamp", "now"), 400, "dd-message-timestamp is"},
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

func TestTagOrder(t *testing.T) {
	tests := []struct {
		name, tags, want string // want is part of the error; "" for none
	}{
		{"older agent", "rule_id:a,type:exec", ""},
		{"all", "rule_id:g,source_rule_id:a,tactic:x,type:exec,image_name:i,image_tag:t,short_image:s,container_id:c," +
			"container_name:n,pod_name:p,kube_namespace:k,kube_job:j,service:s,env:e,version:v,aws_account:1,team:x,env:y", ""},
		{"value with a colon", "rule_id:a,type:exec,image_name:r:5000/i", ""},
		{"tags of the rule have any key", "rule_id:a,source_rule_id:a,env:x,image_name:y,type:exec", ""},
		{"none", "", "do not begin with rule_id"},
		{"no rule first", "type:exec,rule_id:a", "do not begin with rule_id"},
		{"source rule late", "rule_id:a,type:exec,source_rule_id:a", "source_rule_id does not follow rule_id"},
		{"no type", "rule_id:a,source_rule_id:a", "no type"},
		{"image", "rule_id:a,type:exec,short_image:s,image_tag:t", "tag image_tag follows short_image"},
		{"pod before container", "rule_id:a,type:exec,pod_name:p,container_id:c", "tag container_id follows pod_name"},
		{"kube before pod", "rule_id:a,type:exec,kube_namespace:k,pod_name:p", "tag pod_name follows kube_"},
		{"container after others", "rule_id:a,type:exec,service:s,container_id:c", "tag container_id follows service"},
		{"no value", "rule_id:a,type:exec,env:", "not key:value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := checkTags((&Log{DDTags: tt.tags}).Tags())
			if tt.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func TestValidatePath(t *testing.T) {
	s := Start(t, WithAPIKey("other"))
	ask := func(key string) (int, string) {
		return post(t, s, "", func(r *http.Request) {
			r.Method, r.Body, r.ContentLength, r.URL.Path = http.MethodGet, http.NoBody, 0, ValidatePath
			r.Header.Set("DD-API-KEY", key)
		})
	}
	status, answer := ask("other")
	assert.Equal(t, 200, status)
	assert.Equal(t, `{"valid":true}`, answer)
	status, _ = ask(APIKey)
	assert.Equal(t, 403, status)
	checks := s.WaitChecks(2, time.Second)
	assert.Equal(t, []int{200, 403}, []int{checks[0].Status, checks[1].Status})
	assert.Empty(t, s.Requests(), "they are no payloads")
}

// Faults of the connection, as the client sees them.
func TestConnectionFaults(t *testing.T) {
	good := "[" + goodEntry + "]"
	tests := []struct {
		name    string
		fault   Fault
		want    string // part of the client's error
		timeout time.Duration
	}{
		{"hangup", Fault{Hangup: true}, "EOF", time.Minute},
		{"reset", Fault{Reset: true}, "connection reset", time.Minute},
		{"garbage", Fault{Raw: "\x00\x01garbage\r\n\r\n"}, "malformed HTTP", time.Minute},
		{"half a header", Fault{Raw: "HTTP/1.1 202 Accepted\r\nContent-Le"}, "transport connection broken", time.Minute},
		{"half a body", Fault{Raw: "HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n{"}, "unexpected EOF", time.Minute},
		{"late answer", Fault{Delay: time.Hour}, "Timeout", 50 * time.Millisecond},
		{"slow reading", Fault{ReadPause: time.Hour}, "Timeout", 50 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Start(t)
			s.Script(tt.fault)
			client := http.Client{Timeout: tt.timeout, Transport: &http.Transport{}}
			resp, err := client.Do(goodRequest(t, s, good))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			require.ErrorContains(t, err, tt.want)
			client.CloseIdleConnections()
			if tt.fault.ReadPause > 0 {
				s.Down() // a server that reads does not see that nobody is there
			}
			requests := s.WaitRequests(1, time.Minute)
			assert.False(t, requests[0].Accepted)
			assert.Empty(t, s.Logs())
		})
	}
}

func TestSlowReadingThatSucceeds(t *testing.T) {
	s := Start(t)
	s.Script(Fault{ReadPause: time.Millisecond})
	body := "[" + strings.Repeat(goodEntry+",", 99) + goodEntry + "]"
	status, _ := post(t, s, body, nil)
	assert.Equal(t, 202, status)
	assert.Len(t, s.Logs(), 100)
	assert.True(t, s.Requests()[0].Accepted)
	assert.Len(t, s.Requests()[0].Logs, 100)
}

func TestAcceptFirst(t *testing.T) {
	s := Start(t)
	s.Script(Fault{Status: 500, AcceptFirst: true}, Fault{Status: 413})
	for _, want := range []int{500, 413} {
		status, _ := post(t, s, "["+goodEntry+"]", nil)
		assert.Equal(t, want, status)
	}
	assert.Len(t, s.Logs(), 1)
	requests := s.Requests()
	assert.Equal(t, []bool{true, false}, []bool{requests[0].Accepted, requests[1].Accepted})
	assert.Len(t, requests[1].Logs, 1, "what was refused can be looked at")
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
