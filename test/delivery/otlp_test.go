// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // which the exporter compresses with
	"google.golang.org/grpc/status"

	"github.com/picketsec/picket/internal/event"
)

// maxMessage is what gRPC messages of the tests may have, in bytes.
const maxMessage = 64 << 20

// source makes records in the documented form, as an agent on a host of its own would.
type source struct {
	host      event.Host
	ancestors int
	seq       uint64
	start     event.Time
}

func newSource(id string, ancestors int) *source {
	return &source{
		host: event.Host{
			ID: id, IDSource: "config", Name: "name-of-" + id, Arch: "amd64", OSType: "linux", OSName: "debian", OSVersion: "12", KernelRelease: "6.1.0-18-amd64",
			BootID: "a4dc1ee3-1d42-4f5f-a9a2-1c4f0f0f6d19",
		},
		ancestors: ancestors,
		start:     event.Time(time.Now().UnixNano()),
	}
}

// pathOf is the file of the record with that sequence number.
func (s *source) pathOf(seq uint64) string {
	return fmt.Sprintf("/srv/delivery/%s/%06d", s.host.ID, seq)
}

// process makes the n-th process of a lineage, 0 being the one that acts.
func (s *source) process(n int) *event.Process {
	path, t := fmt.Sprintf("/usr/local/lib/program-%d/bin/run", n), s.start-event.Time(n+1)*1_000_000_007
	return &event.Process{
		PID: uint32(4242 - n), PPID: uint32(4241 - n), TID: uint32(4242 - n), UID: 1000, GID: 1000, User: "app", Group: "app", Comm: "run", TTY: "pts0",
		ForkTime: t, ExecTime: t + 1_000_000, Source: event.SourceEvent,
		Credentials: &event.ProcessCredentials{
			UID: 1000, User: "app", GID: 1000, Group: "app", EUID: 1000, EUser: "app", EGID: 1000, EGroup: "app", FSUID: 1000, FSUser: "app", FSGID: 1000, FSGroup: "app",
			CapPermitted: 1<<0 | 1<<10,
		},
		Executable: &event.File{
			Has: event.HasInode | event.HasMode | event.HasOwner, Path: path, Name: "run", Inode: 5_243_311 + uint64(n), Mode: 0o100755, Filesystem: "ext4",
			User: "root", Group: "root", ModificationTime: t - 5_000_000_000, ChangeTime: t - 4_000_000_000,
		},
		Argv0: path, Args: []string{"--listen", "0.0.0.0:8080", "--config", "/etc/app/config.yaml", "-v"},
		Envs: []string{"HOME", "LANG", "PATH=/usr/local/bin:/usr/bin:/bin", "HOSTNAME", "SHLVL"},
	}
}

// next makes n records of opens, each of another file and a microsecond after the one before.
func (s *source) next(n int) plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	s.host.ToResource(rl.Resource())
	rl.SetSchemaUrl(event.SchemaURL)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("delivery test")
	e := &event.Event{Type: event.TypeOpen}
	e.Process = event.ProcessContext{Process: s.process(0), ActorTID: 4242}
	for i := range s.ancestors {
		e.Process.Ancestors = append(e.Process.Ancestors, s.process(i+1))
	}
	if s.ancestors > 0 {
		e.Process.Parent = e.Process.Ancestors[0]
	}
	e.Evt.Outcome = event.OutcomeSuccess
	for range n {
		s.seq++
		path := s.pathOf(s.seq)
		e.Date = s.start + event.Time(s.seq)*1000
		e.Facts = event.Facts{Sequence: s.seq, Observed: e.Date + 1_000_000, ProcessID: 0x0123_4567_89ab_cdef, AUID: event.AUIDUnset, FileSource: event.FileSourceFD, Flags: 0o101}
		e.File = &event.FileEvent{File: event.File{
			Has: event.HasInode | event.HasMode | event.HasOwner, Path: path, Name: path[len(path)-6:], Inode: 1_000_000 + s.seq, Mode: 0o100600, Filesystem: "ext4",
			User: "app", Group: "app", UID: 1000, GID: 1000,
		}}
		e.File.Flags = event.OpenFlagNames(0o101)
		e.File.Destination = &event.File{Has: event.HasMode, Mode: 0o600}
		event.EncodeRecord(e, &s.host, sl.LogRecords().AppendEmpty())
	}
	return logs
}

// client sends logs to an OTLP receiver.
type client struct {
	t    testing.TB
	conn *grpc.ClientConn
	grpc plogotlp.GRPCClient
}

// newClient makes a client of the port on loopback; without TLS if config is nil.
func newClient(tb testing.TB, port int, config *tls.Config) *client {
	tb.Helper()
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", port), grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second})) // and no pause after a failure
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	return &client{t: tb, conn: conn, grpc: plogotlp.NewGRPCClient(conn)}
}

// try sends logs once.
func (c *client) try(logs plog.Logs) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := c.grpc.Export(ctx, plogotlp.NewExportRequestFromLogs(logs))
	return err
}

// send sends logs until they are acknowledged, and returns how often it took.
func (c *client) send(logs plog.Logs, timeout time.Duration) (tries int, err error) {
	for deadline := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		tries++
		if err = c.try(logs); err == nil || time.Now().After(deadline) {
			return tries, err
		}
	}
}

// copied is what the tests look at of a record that reaches the sink.
type copied struct {
	host, uid, rule, kind, name string
	seq                         uint64
	time                        event.Time
	service, path, body         string
}

// sink is an OTLP backend: it takes a copy of what a collector sends elsewhere, with all attributes.
type sink struct {
	plogotlp.UnimplementedGRPCServer
	t    testing.TB
	port int

	mu      sync.Mutex
	records []copied
	deny    int // requests that it takes and answers with an error

	authorization string // of the last request by HTTP
}

func startSink(tb testing.TB) *sink {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	s := &sink{t: tb, port: l.Addr().(*net.TCPAddr).Port}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))
	plogotlp.RegisterGRPCServer(server, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Stop
	}()
	tb.Cleanup(func() {
		server.Stop()
		<-done
	})
	return s
}

// denyNext takes the next n requests but says that it did not, as if the answers got lost.
func (s *sink) denyNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deny = n
}

// Export takes logs.
func (s *sink) Export(_ context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = appendCopies(s.records, r.Logs())
	if s.deny > 0 {
		s.deny--
		return plogotlp.NewExportResponse(), status.Error(codes.Unavailable, "the answer is lost")
	}
	return plogotlp.NewExportResponse(), nil
}

// startHTTP makes the sink take OTLP over HTTP, too, and returns the URL.
func (s *sink) startHTTP() string {
	s.t.Helper()
	server := httptest.NewServer(s)
	s.t.Cleanup(server.Close)
	return server.URL
}

// ServeHTTP takes logs that are compressed with zstd.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	zr, err := zstd.NewReader(r.Body)
	if err == nil {
		defer zr.Close()
		var body []byte
		body, err = io.ReadAll(io.LimitReader(zr, maxMessage))
		request := plogotlp.NewExportRequest()
		if err = errors.Join(err, request.UnmarshalProto(body)); err == nil {
			_, err = s.Export(r.Context(), request)
		}
	}
	if err != nil || r.URL.Path != "/v1/logs" {
		http.Error(w, fmt.Sprint(r.URL.Path, ": ", err), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authorization = r.Header.Get("Authorization")
}

func appendCopies(dst []copied, logs plog.Logs) []copied {
	for _, rl := range logs.ResourceLogs().All() {
		host := event.HostFromResource(rl.Resource())
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				a := lr.Attributes()
				c := copied{
					host: host.ID, service: str(rl.Resource().Attributes(), "service.name"), uid: str(a, event.AttrRecordUID), rule: str(a, event.AttrRuleName), kind: str(a, event.AttrRecordKind), name: lr.EventName(),
					time: event.Time(lr.Timestamp()), path: str(a, event.AttrFilePath),
				}
				if v, ok := a.Get(event.AttrSequence); ok {
					c.seq = uint64(v.Int())
				}
				if c.kind == event.KindReport {
					c.body = lr.Body().Str()
				}
				dst = append(dst, c)
			}
		}
	}
	return dst
}

func str(m pcommon.Map, key string) string {
	v, ok := m.Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

// all returns what has arrived, of a kind of record.
func (s *sink) all(kind string) (out []copied) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.records {
		if c.kind == kind {
			out = append(out, c)
		}
	}
	return out
}
