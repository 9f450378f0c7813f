// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

const (
	// maxResponseBytes is what is read of a response, so that its connection can be used again.
	maxResponseBytes = 64 << 10
	// maxReasonBytes is what of a response goes into an error.
	maxReasonBytes = 256
	// maxRetryAfter bounds the pause that a server can ask for.
	maxRetryAfter = time.Hour
)

// keyHeader carries the API key.
const keyHeader = "DD-API-KEY"

// sender posts payloads to the intake.
type sender struct {
	client *http.Client
	url    string
	header http.Header // those that are the same for all payloads
	apiKey string
	now    func() time.Time
}

// newHeader returns the headers that every payload carries.
func newHeader(apiKey, userAgent, agentVersion string) http.Header {
	h := http.Header{}
	h.Set(keyHeader, apiKey)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", userAgent)
	h.Set("DD-EVP-ORIGIN", "cloud-workload-security")
	h.Set("DD-EVP-ORIGIN-VERSION", agentVersion)
	return h
}

// send posts one payload. lastMessage is the time of its last log in ms. Errors are permanent (consumererror.IsPermanent),
// throttled (exporterhelper.NewThrottleRetry) or retryable; they name URL and status, and never the API key. The payload
// may be reused when send has returned.
func (s *sender) send(ctx context.Context, payload []byte, lastMessage int64) error {
	body := &lentBody{data: payload}
	defer body.takeBack()

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, body.reader())
	if err != nil {
		return consumererror.NewPermanent(fmt.Errorf("cannot make a request to %s: %w", s.url, err))
	}
	req.ContentLength = int64(len(payload))
	req.GetBody = func() (io.ReadCloser, error) { return body.reader(), nil }
	req.Header = s.header.Clone()
	req.Header.Set("dd-message-timestamp", strconv.FormatInt(lastMessage, 10))
	req.Header.Set("dd-current-timestamp", strconv.FormatInt(s.now().UnixMilli(), 10))

	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("POST %s: %w", s.url, withoutURL(err))
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	_ = resp.Body.Close()

	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	err = fmt.Errorf("POST %s: HTTP status %d %s%s%s", s.url, resp.StatusCode, http.StatusText(resp.StatusCode),
		statusHint[resp.StatusCode], s.reason(answer))
	if permanentStatus(resp.StatusCode) {
		return consumererror.NewPermanent(err)
	}
	if delay, ok := retryAfter(resp.Header.Get("Retry-After"), s.now()); ok {
		return exporterhelper.NewThrottleRetry(err, delay)
	}
	return err
}

// withoutURL takes method and URL out of an error of http.Client.
func withoutURL(err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		return urlErr.Err
	}
	return err
}

// permanentStatus says whether the intake will never take the payload. Datadog's agent drops for these four and tries
// everything else again.
func permanentStatus(code int) bool {
	switch code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge:
		return true
	}
	return false
}

// statusHint says what to look at.
var statusHint = map[int]string{
	http.StatusUnauthorized: " (check api_key)",
	http.StatusForbidden:    " (check api_key, and that it belongs to this site)",
	http.StatusNotFound:     " (check site, endpoint and track)",
}

// reason returns the beginning of the intake's answer for an error, without control bytes and without the API key.
func (s *sender) reason(answer []byte) string {
	text := strings.ToValidUTF8(string(bytes.TrimSpace(answer)), "?")
	text = strings.ReplaceAll(text, s.apiKey, "[REDACTED]")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return ' '
		}
		return r
	}, text)
	if text == "" || text == "{}" {
		return ""
	}
	if len(text) > maxReasonBytes {
		text = strings.ToValidUTF8(text[:maxReasonBytes], "") + "…"
	}
	return ": " + text
}

// retryAfter reads a Retry-After header: seconds or an HTTP date (RFC 9110, section 10.2.3). ok is false if it is neither.
func retryAfter(value string, now time.Time) (delay time.Duration, ok bool) {
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		delay = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		delay = date.Sub(now)
	} else {
		return 0, false
	}
	return min(max(delay, 0), maxRetryAfter), true
}

// lentBody lends a buffer to the HTTP transport, which may go on reading a request's body after it has returned the
// response. After takeBack nobody reads the buffer.
type lentBody struct {
	mu   sync.RWMutex
	data []byte
}

func (b *lentBody) reader() io.ReadCloser { return &lentReader{body: b} }

func (b *lentBody) takeBack() {
	b.mu.Lock()
	b.data = nil
	b.mu.Unlock()
}

type lentReader struct {
	body *lentBody
	off  int
}

func (r *lentReader) Read(p []byte) (int, error) {
	r.body.mu.RLock()
	defer r.body.mu.RUnlock()
	if r.off >= len(r.body.data) {
		if r.body.data == nil {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, io.EOF
	}
	n := copy(p, r.body.data[r.off:])
	r.off += n
	return n, nil
}

func (*lentReader) Close() error { return nil }
