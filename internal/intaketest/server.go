// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package intaketest is an HTTP server for tests that speaks the intake protocol of Datadog's CSM Threats logs. It takes
// what the intake takes, refuses what the intake refuses, keeps the logs it took, and fails as scripted.
package intaketest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The limits of the intake.
const (
	MaxEntries      = 1000
	MaxPayloadBytes = 5_000_000 // of JSON, before compression
)

// APIKey is the key that the server takes. It is not a real one.
const APIKey = "0123456789abcdef0123456789abcdef"

// DefaultPath is the path of the secruntime track.
const DefaultPath = "/api/v2/secruntime"

// Log is one accepted log entry.
type Log struct {
	Message   string `json:"message"` // the event JSON, as text
	Status    string `json:"status"`
	Timestamp int64  `json:"timestamp"` // ms since the Unix epoch
	Hostname  string `json:"hostname"`
	Service   string `json:"service"`
	DDSource  string `json:"ddsource"`
	DDTags    string `json:"ddtags"`
}

// Tags returns the tags in order, each as key:value.
func (l *Log) Tags() []string {
	if l.DDTags == "" {
		return nil
	}
	return strings.Split(l.DDTags, ",")
}

// Tag returns the value of the first tag of that key, "" if there is none.
func (l *Log) Tag(key string) string {
	for _, t := range l.Tags() {
		if v, ok := strings.CutPrefix(t, key+":"); ok {
			return v
		}
	}
	return ""
}

// Request is one request that the server answered.
type Request struct {
	Received time.Time
	Method   string
	Path     string
	Header   http.Header
	Encoding string // Content-Encoding; empty for none
	Body     []byte // as sent, after decompression; nil if it could not be read
	Entries  int
	Status   int    // of the answer
	Problem  string // why the server refused; empty if it did not, or by a fault
}

// Fault is how the server treats one request.
type Fault struct {
	Status     int           // answer this instead of accepting; 0 accepts
	RetryAfter string        // value of a Retry-After header
	Delay      time.Duration // wait before reading the request
	Hangup     bool          // close the connection without an answer
	// AcceptFirst keeps the logs all the same, as if only the answer got lost.
	AcceptFirst bool
	Body        string // of the answer; {} if empty
}

// Server is the intake. Its methods may be called concurrently.
type Server struct {
	tb   testing.TB
	path string
	addr string

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever a request has been answered
	http     *http.Server
	served   chan struct{} // closed when http has ended
	stop     chan struct{} // closed by Down: ends delays
	handlers sync.WaitGroup
	logs     []Log
	requests []Request
	faults   []Fault
	always   *Fault
}

// Option sets up a server.
type Option func(*Server)

// WithPath sets the path that the server takes payloads on.
func WithPath(path string) Option { return func(s *Server) { s.path = path } }

// Start starts a server on a loopback port of its own, and stops it with the test.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, path: DefaultPath, addr: "127.0.0.1:0", changed: make(chan struct{})}
	for _, o := range options {
		o(s)
	}
	s.Up()
	tb.Cleanup(s.Down)
	return s
}

// URL returns the base URL: what an exporter's endpoint is set to. It stays the same over Down and Up.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "http://" + s.addr
}

// Down closes the port and all connections. It does nothing if the server is down.
func (s *Server) Down() {
	s.mu.Lock()
	server, served, stop := s.http, s.served, s.stop
	s.http = nil
	s.mu.Unlock()
	if server != nil {
		close(stop)
		_ = server.Close()
		<-served
		s.handlers.Wait()
	}
}

// Up listens again, on the same port. It does nothing if the server is up.
func (s *Server) Up() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.tb.Fatalf("the test intake cannot listen on %s: %v", s.addr, err)
	}
	s.addr = listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.served, s.stop = make(chan struct{}), make(chan struct{})
	go func(server *http.Server, served chan struct{}) {
		defer close(served)
		_ = server.Serve(listener) // ends with Close
	}(s.http, s.served)
}

// Script appends faults: each is used up by one request, in order. Requests after them are treated normally.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Always treats every request that the script does not cover in this way; nil ends it.
func (s *Server) Always(fault *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = fault
}

// Logs returns the accepted logs in the order of their arrival.
func (s *Server) Logs() []Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs)
}

// Requests returns all answered requests.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Problems returns what the server refused requests for, apart from faults. A correct client leaves it empty.
func (s *Server) Problems() []string {
	var problems []string
	for _, r := range s.Requests() {
		if r.Problem != "" {
			problems = append(problems, r.Problem)
		}
	}
	return problems
}

// Reset forgets logs, requests and faults.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs, s.requests, s.faults, s.always = nil, nil, nil, nil
}

// WaitLogs waits until cond holds for the accepted logs, and returns them; it fails the test after timeout.
func (s *Server) WaitLogs(timeout time.Duration, cond func([]Log) bool) []Log {
	s.tb.Helper()
	var logs []Log
	s.wait(timeout, func() bool {
		logs = s.Logs()
		return cond(logs)
	})
	return logs
}

// WaitCount waits until at least n logs have been accepted.
func (s *Server) WaitCount(n int, timeout time.Duration) []Log {
	s.tb.Helper()
	return s.WaitLogs(timeout, func(logs []Log) bool { return len(logs) >= n })
}

// WaitRequests waits until at least n requests have been answered, accepted or not.
func (s *Server) WaitRequests(n int, timeout time.Duration) []Request {
	s.tb.Helper()
	var requests []Request
	s.wait(timeout, func() bool {
		requests = s.Requests()
		return len(requests) >= n
	})
	return requests
}

func (s *Server) wait(timeout time.Duration, cond func() bool) {
	s.tb.Helper()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			s.tb.Fatalf("after %v the test intake has %d logs of %d requests; refused: %q",
				timeout, len(s.Logs()), len(s.Requests()), s.Problems())
		}
	}
}

// begin counts a handler in, unless the server is going down.
func (s *Server) begin() (stop chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return nil, false
	}
	s.handlers.Add(1)
	return s.stop, true
}

func (s *Server) nextFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		f := s.faults[0]
		s.faults = s.faults[1:]
		return f
	}
	if s.always != nil {
		return *s.always
	}
	return Fault{}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stop, ok := s.begin()
	if !ok {
		panic(http.ErrAbortHandler)
	}
	defer s.handlers.Done()
	fault := s.nextFault()
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-stop:
		}
	}
	request := Request{
		Received: time.Now(),
		Method:   r.Method,
		Path:     r.URL.Path,
		Header:   r.Header.Clone(),
		Encoding: r.Header.Get("Content-Encoding"),
		Status:   http.StatusAccepted,
	}
	logs, err := s.read(r, &request)
	var refusal *refusedError
	if errors.As(err, &refusal) {
		request.Status, request.Problem = refusal.status, refusal.problem
		logs = nil
	} else if fault.Status != 0 || fault.Hangup {
		request.Status = fault.Status
		if !fault.AcceptFirst {
			logs = nil
		}
	}

	s.mu.Lock()
	s.logs = append(s.logs, logs...)
	s.requests = append(s.requests, request)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()

	if fault.Hangup {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	if fault.RetryAfter != "" {
		w.Header().Set("Retry-After", fault.RetryAfter)
	}
	w.WriteHeader(request.Status)
	switch {
	case request.Problem != "":
		answer, _ := json.Marshal(map[string][]string{"errors": {request.Problem}})
		_, _ = w.Write(answer)
	case fault.Body != "":
		_, _ = io.WriteString(w, fault.Body)
	default:
		_, _ = io.WriteString(w, "{}")
	}
}

// refusedError is a request that the intake refuses.
type refusedError struct {
	status  int
	problem string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.problem) }

func refuse(status int, format string, args ...any) error {
	return &refusedError{status: status, problem: fmt.Sprintf(format, args...)}
}

// read checks a request and returns its logs, or a *refusedError.
func (s *Server) read(r *http.Request, request *Request) ([]Log, error) {
	if r.URL.Path != s.path {
		return nil, refuse(http.StatusNotFound, "path %s is not %s", r.URL.Path, s.path)
	}
	if r.Method != http.MethodPost {
		return nil, refuse(http.StatusMethodNotAllowed, "method %s is not POST", r.Method)
	}
	if err := checkHeader(r.Header); err != nil {
		return nil, err
	}
	body, err := decompress(r.Body, request.Encoding)
	if err != nil {
		return nil, err
	}
	request.Body = body
	logs, err := parse(body)
	if err != nil {
		return nil, err
	}
	request.Entries = len(logs)
	return logs, checkTimestamps(r.Header, logs)
}

func checkHeader(h http.Header) error {
	switch key := h.Values("DD-API-KEY"); {
	case len(key) != 1 || key[0] == "":
		return refuse(http.StatusUnauthorized, "there are %d DD-API-KEY headers", len(key))
	case key[0] != APIKey:
		return refuse(http.StatusForbidden, "the API key is not known")
	}
	if v := h.Get("Content-Type"); v != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "Content-Type is %q", v)
	}
	if v := h.Get("DD-EVP-ORIGIN"); v != "cloud-workload-security" {
		return refuse(http.StatusBadRequest, "DD-EVP-ORIGIN is %q", v)
	}
	if h.Get("DD-EVP-ORIGIN-VERSION") == "" {
		return refuse(http.StatusBadRequest, "DD-EVP-ORIGIN-VERSION is missing")
	}
	if h.Get("User-Agent") == "" {
		return refuse(http.StatusBadRequest, "User-Agent is missing")
	}
	return nil
}

// checkTimestamps compares the headers with the logs: dd-message-timestamp is the time of the last one.
func checkTimestamps(h http.Header, logs []Log) error {
	last, err := strconv.ParseInt(h.Get("dd-message-timestamp"), 10, 64)
	if err != nil {
		return refuse(http.StatusBadRequest, "dd-message-timestamp is %q", h.Get("dd-message-timestamp"))
	}
	if want := logs[len(logs)-1].Timestamp; last != want {
		return refuse(http.StatusBadRequest, "dd-message-timestamp is %d, the last log has %d", last, want)
	}
	now, err := strconv.ParseInt(h.Get("dd-current-timestamp"), 10, 64)
	if err != nil || now < 1_000_000_000_000 { // a time in seconds is smaller
		return refuse(http.StatusBadRequest, "dd-current-timestamp is %q", h.Get("dd-current-timestamp"))
	}
	return nil
}

// decompress reads the whole body, up to the limit of the intake.
func decompress(body io.Reader, encoding string) ([]byte, error) {
	switch encoding {
	case "":
	case "gzip":
		zr, err := gzip.NewReader(body)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "gzip: %v", err)
		}
		body = zr
	case "zstd":
		zr, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "zstd: %v", err)
		}
		defer zr.Close()
		body = zr
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding is %q", encoding)
	}
	plain, err := io.ReadAll(io.LimitReader(body, MaxPayloadBytes+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	if len(plain) > MaxPayloadBytes {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the payload is larger than %d bytes", MaxPayloadBytes)
	}
	return plain, nil
}

// entry has pointers, to tell what is missing.
type entry struct {
	Message   *string `json:"message"`
	Status    *string `json:"status"`
	Timestamp *int64  `json:"timestamp"`
	Hostname  *string `json:"hostname"`
	Service   *string `json:"service"`
	DDSource  *string `json:"ddsource"`
	DDTags    *string `json:"ddtags"`
}

// parse reads a payload: a JSON array of 1 to MaxEntries entries, each with exactly the seven members.
func parse(body []byte) ([]Log, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var entries []entry
	if err := decoder.Decode(&entries); err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is no array of log entries: %v", err)
	}
	if rest, _ := io.ReadAll(decoder.Buffered()); len(bytes.TrimSpace(rest)) > 0 {
		return nil, refuse(http.StatusBadRequest, "something follows the array")
	}
	switch n := len(entries); {
	case n == 0:
		return nil, refuse(http.StatusBadRequest, "the array is empty")
	case n > MaxEntries:
		return nil, refuse(http.StatusRequestEntityTooLarge, "%d entries are more than %d", n, MaxEntries)
	}
	logs := make([]Log, 0, len(entries))
	for i := range entries {
		l, err := entries[i].log()
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "entry %d: %v", i, err)
		}
		logs = append(logs, l)
	}
	return logs, nil
}

func (e *entry) log() (Log, error) {
	for _, member := range []struct {
		name    string
		missing bool
	}{
		{"message", e.Message == nil},
		{"status", e.Status == nil},
		{"timestamp", e.Timestamp == nil},
		{"hostname", e.Hostname == nil},
		{"service", e.Service == nil},
		{"ddsource", e.DDSource == nil},
		{"ddtags", e.DDTags == nil},
	} {
		if member.missing {
			return Log{}, fmt.Errorf("%s is missing", member.name)
		}
	}
	l := Log{
		Message: *e.Message, Status: *e.Status, Timestamp: *e.Timestamp, Hostname: *e.Hostname,
		Service: *e.Service, DDSource: *e.DDSource, DDTags: *e.DDTags,
	}
	switch {
	case !strings.HasPrefix(l.Message, "{") || !json.Valid([]byte(l.Message)):
		return Log{}, errors.New("message is no JSON object")
	case l.Status != "info":
		return Log{}, fmt.Errorf("status is %q", l.Status)
	case l.Timestamp < 1_000_000_000_000: // a time in seconds is smaller
		return Log{}, fmt.Errorf("timestamp %d is no time in ms", l.Timestamp)
	case l.DDSource != "runtime-security-agent":
		return Log{}, fmt.Errorf("ddsource is %q", l.DDSource)
	}
	for _, tag := range l.Tags() {
		if k, v, ok := strings.Cut(tag, ":"); !ok || k == "" || v == "" {
			return Log{}, fmt.Errorf("tag %q is not key:value", tag)
		}
	}
	return l, nil
}
