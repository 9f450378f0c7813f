// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package intaketest is an HTTP server for tests that speaks the intake protocol of Datadog's CSM Threats logs. It takes
// what the intake takes, refuses what the intake refuses, keeps the logs it took, and fails as scripted.
package intaketest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketsec/picket/internal/collectortest"
)

// APIKey is the key that the server takes. It is not a real one.
const APIKey = "0123456789abcdef0123456789abcdef"

// DefaultPath is the path of the secruntime track.
const DefaultPath = "/api/v2/secruntime"

// ValidatePath is the path on which the server says whether an API key is valid, as Datadog's API does.
const ValidatePath = "/api/v1/validate"

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

// Detection is the message of a log as JSON has it.
type Detection map[string]any

// Get follows the members; nil if one is missing.
func (d Detection) Get(path ...string) any {
	var v any = map[string]any(d)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// Request is one request that the server answered, or that its client gave up.
type Request struct {
	Received time.Time
	Proto    string // such as HTTP/1.1
	Method   string
	Path     string
	Header   http.Header
	Encoding string // Content-Encoding; empty for none
	Body     []byte // as sent, after decompression; nil if it could not be read
	Entries  int
	Logs     []Log  // of the body, whether accepted or not
	Accepted bool   // the server kept the logs
	Status   int    // of the answer; 0 if there was none
	Problem  string // why the server refused; empty if it did not, or by a fault
	Fault    Fault  // how the server treated it
}

// Fault is how the server treats one request.
type Fault struct {
	Status     int    // answer this instead of accepting; 0 accepts
	RetryAfter string // value of a Retry-After header
	// ReadPause makes the server read slowly: it waits so long after each kilobyte.
	ReadPause time.Duration
	Delay     time.Duration // wait before answering
	Hangup    bool          // close the connection without an answer
	Reset     bool          // the same, with a TCP reset
	// Raw is written to the connection in place of an HTTP answer, then the connection is closed: for what is no HTTP, and for
	// answers that end in the middle.
	Raw string
	// AcceptFirst keeps the logs all the same, as if only the answer got lost.
	AcceptFirst bool
	Body        string // of the answer; {} if empty
}

// refuses reports whether the client sees something else than an answer that accepts.
func (f *Fault) refuses() bool { return f.Status != 0 || f.Hangup || f.Reset || f.Raw != "" }

// Server is the intake. Its methods may be called concurrently.
type Server struct {
	tb     testing.TB
	path   string
	apiKey string
	tls    *tls.Config
	addr   string

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever a request has been answered
	http     *http.Server
	served   chan struct{} // closed when http has ended
	stop     chan struct{} // closed by Down: ends delays
	handlers sync.WaitGroup
	logs     []Log
	requests []Request
	checks   []Request
	faults   []Fault
	always   *Fault
}

// Option sets up a server.
type Option func(*Server)

// WithPath sets the path that the server takes payloads on.
func WithPath(path string) Option { return func(s *Server) { s.path = path } }

// WithAPIKey sets the key that the server takes, instead of APIKey.
func WithAPIKey(key string) Option { return func(s *Server) { s.apiKey = key } }

// WithTLS makes the server speak HTTPS, and HTTP/2 with clients that can.
func WithTLS(config *tls.Config) Option { return func(s *Server) { s.tls = config } }

// Start starts a server on a loopback port of its own, and stops it with the test.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, path: DefaultPath, apiKey: APIKey, addr: fmt.Sprintf("127.0.0.1:%d", collectortest.FreePort(tb)), changed: make(chan struct{})}
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
	if s.tls != nil {
		return "https://" + s.addr
	}
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
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, TLSConfig: s.tls}
	serve := s.http.Serve
	if s.tls != nil {
		// What clients do wrong they learn from their own errors.
		s.http.ErrorLog = log.New(io.Discard, "", 0)
		server := s.http
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	s.served, s.stop = make(chan struct{}), make(chan struct{})
	go func(served chan struct{}) {
		defer close(served)
		_ = serve(listener) // ends with Close
	}(s.served)
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

// Checks returns the requests that asked whether an API key is valid.
func (s *Server) Checks() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.checks)
}

// WaitChecks waits until at least n requests have asked whether an API key is valid.
func (s *Server) WaitChecks(n int, timeout time.Duration) []Request {
	s.tb.Helper()
	var checks []Request
	s.wait(timeout, func() bool {
		checks = s.Checks()
		return len(checks) >= n
	})
	return checks
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
	s.logs, s.requests, s.checks, s.faults, s.always = nil, nil, nil, nil, nil
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
	if r.Method == http.MethodGet && r.URL.Path == ValidatePath {
		s.validate(w, r)
		return
	}
	fault := s.nextFault()
	request := Request{
		Received: time.Now(),
		Proto:    r.Proto,
		Method:   r.Method,
		Path:     r.URL.Path,
		Header:   r.Header.Clone(),
		Encoding: r.Header.Get("Content-Encoding"),
		Status:   http.StatusAccepted,
		Fault:    fault,
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s.handlers.Go(func() { // ends with the handler
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	})
	body, err := readBody(ctx, r.Body, fault.ReadPause)
	pause(ctx, fault.Delay)
	if err != nil || ctx.Err() != nil {
		// The client gave up: nobody gets an answer.
		request.Status = 0
		s.keep(&request)
		panic(http.ErrAbortHandler)
	}

	err = s.check(r, body, &request)
	var refusal *refusedError
	switch {
	case errors.As(err, &refusal):
		request.Status, request.Problem = refusal.status, refusal.problem
	case fault.refuses():
		request.Status, request.Accepted = fault.Status, fault.AcceptFirst
	default:
		request.Accepted = true
	}
	s.keep(&request)
	s.answer(w, &request)
}

// keep takes the request down, and its logs if it was accepted.
func (s *Server) keep(r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Accepted {
		s.logs = append(s.logs, r.Logs...)
	}
	s.requests = append(s.requests, *r)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (*Server) answer(w http.ResponseWriter, r *Request) {
	f := &r.Fault
	if r.Problem == "" && (f.Hangup || f.Reset || f.Raw != "") {
		breakOff(w, f)
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	w.WriteHeader(r.Status)
	switch {
	case r.Problem != "":
		answer, _ := json.Marshal(map[string][]string{"errors": {r.Problem}})
		_, _ = w.Write(answer)
	case f.Body != "":
		_, _ = io.WriteString(w, f.Body)
	default:
		_, _ = io.WriteString(w, "{}")
	}
}

// breakOff does with the connection what the fault says. Over HTTP/2, where there is a stream only, it does nothing: the
// handler's end resets that.
func breakOff(w http.ResponseWriter, f *Fault) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	if f.Raw != "" {
		_, _ = io.WriteString(conn, f.Raw)
	}
	if f.Reset {
		inner := conn
		if t, ok := conn.(*tls.Conn); ok {
			inner = t.NetConn()
		}
		if t, ok := inner.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
	}
	_ = conn.Close()
}

// validate says whether the API key is valid.
func (s *Server) validate(w http.ResponseWriter, r *http.Request) {
	status, answer := http.StatusOK, `{"valid":true}`
	if key := r.Header.Values("DD-API-KEY"); len(key) != 1 || key[0] != s.apiKey {
		status, answer = http.StatusForbidden, `{"status":"error","code":403,"errors":["Forbidden"]}`
	}
	s.mu.Lock()
	s.checks = append(s.checks, Request{
		Received: time.Now(), Proto: r.Proto, Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Status: status,
	})
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// readBody reads a body as it was sent, with a pause after each kilobyte.
func readBody(ctx context.Context, r io.Reader, each time.Duration) ([]byte, error) {
	if each <= 0 {
		return io.ReadAll(io.LimitReader(r, maxSentBytes+1))
	}
	var body []byte
	for {
		chunk, err := io.ReadAll(io.LimitReader(r, 1024))
		body = append(body, chunk...)
		if err != nil || len(chunk) == 0 || len(body) > maxSentBytes {
			return body, err
		}
		pause(ctx, each)
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
