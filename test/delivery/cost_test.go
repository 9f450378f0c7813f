// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

var (
	rounds = flag.Int("delivery.rounds", 5, "rounds of each exporter in BenchmarkExporters")
	events = flag.Int("delivery.events", 40_000, "events per round of BenchmarkExporters")
	queued = flag.Int("delivery.queued", 200_000, "events that wait in BenchmarkQueue")
)

// batchSize is how many records the receiver puts into a batch by default.
const batchSize = 512

// detections makes n records as security_rules would.
func (s *source) detections(n int) plog.Logs {
	in, out := s.next(n), plog.NewLogs()
	rl := in.ResourceLogs().At(0)
	to := out.ResourceLogs().AppendEmpty()
	rl.Resource().CopyTo(to.Resource())
	records := to.ScopeLogs().AppendEmpty().LogRecords()
	info := event.RuleInfo{
		ID: "opened", Version: "3", Description: "A file was opened", PolicyName: "default.policy", PolicyVersion: "1.2.3", Tags: []string{"severity:high", "technique:T1003.008"},
		Severity: event.SeverityHigh,
	}
	for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
		event.EncodeDetection(records.AppendEmpty(), lr, &s.host, &info, "7.83.0")
	}
	return out
}

// sizeOf is the mean size of the records' bodies, in bytes.
func sizeOf(logs plog.Logs) int {
	size := 0
	for _, lr := range logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		size += len(lr.Body().Str())
	}
	return size / logs.LogRecordCount()
}

// load sends n records, made of the same batch again and again, with as many requests at a time as there are CPUs to send them.
func load(tb testing.TB, c *client, batch plog.Logs, n int) {
	tb.Helper()
	var wg sync.WaitGroup
	batches := make(chan struct{}, n/batchSize+1)
	for sent := 0; sent < n; sent += batch.LogRecordCount() {
		batches <- struct{}{}
	}
	close(batches)
	errs := make(chan error, 2)
	for range cap(errs) {
		wg.Go(func() {
			for range batches {
				if _, err := c.send(batch, time.Minute); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(tb, err)
	}
}

// cpu is how long the threads of the process have run.
func (c *collector) cpu() (total time.Duration) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.Cmd.Process.Pid))
	require.NoError(c.t, err)
	for _, thread := range threads {
		data, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		first, _, _ := strings.Cut(string(data), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		require.NoError(c.t, err)
		total += time.Duration(ns)
	}
	return total
}

// status returns a line of /proc/<pid>/status that is in kB, as MiB.
func (c *collector) status(key string) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Cmd.Process.Pid))
	require.NoError(c.t, err)
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			require.NoError(c.t, err)
			return kb / 1024
		}
	}
	require.Fail(c.t, "there is no "+key)
	return 0
}

// The servers take what comes and look at nothing, as what they do is not to be measured.

func startHTTPDiscard(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "{}")
	})}
	go func() { _ = server.Serve(l) }()
	tb.Cleanup(func() { _ = server.Close() })
	return "http://" + l.Addr().String()
}

// rawCodec reads nothing. An empty message is an answer without complaints.
type rawCodec struct{}

func (rawCodec) Marshal(any) (mem.BufferSlice, error)     { return nil, nil }
func (rawCodec) Unmarshal(_ mem.BufferSlice, _ any) error { return nil }
func (rawCodec) Name() string                             { return "raw" }

// noZstd takes messages that are compressed with zstd, and reads nothing. No other server of this process is sent such.
type noZstd struct{}

func (noZstd) Compress(io.Writer) (io.WriteCloser, error) { return nil, errors.ErrUnsupported }
func (noZstd) Decompress(io.Reader) (io.Reader, error)    { return strings.NewReader(""), nil }
func (noZstd) Name() string                               { return "zstd" }
func init()                                               { encoding.RegisterCompressor(noZstd{}) }

func discard(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(nil); err != nil {
		return err
	}
	return stream.SendMsg(nil)
}

func startGRPCDiscard(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(discard))
	go func() { _ = server.Serve(l) }()
	tb.Cleanup(server.Stop)
	return l.Addr().String()
}

// way is one that records take out of a collector.
type way struct {
	name, id, exporter string // id of the exporter; its configuration, where QUEUE is where the queue is kept
}

func ways(tb testing.TB) []way {
	tb.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	require.NoError(tb, err)
	tb.Cleanup(cluster.Close)
	// Batches and compression are those of the files in examples.
	csm := fmt.Sprintf("csm_threats: {api_key: %s, endpoint: %s, sending_queue: {QUEUE, sizer: items, queue_size: 10000, block_on_overflow: true, batch: {max_size: 1000, flush_timeout: 200ms}}}",
		intaketest.APIKey, startHTTPDiscard(tb))
	otlp := fmt.Sprintf("otlp_grpc: {endpoint: %s, compression: zstd, tls: {insecure: true}, sending_queue: {QUEUE, num_consumers: 1, sizer: items, queue_size: 10000, "+
		"block_on_overflow: true, batch: {sizer: bytes, min_size: 100000, max_size: 3500000, flush_timeout: 200ms}}}", startGRPCDiscard(tb))
	kafka := fmt.Sprintf("kafka: {brokers: [%s], logs: {topic: %s}, partition_logs_by_resource_attributes: true, producer: {required_acks: -1, compression: zstd}, "+
		"sending_queue: {QUEUE, num_consumers: 1, sizer: items, queue_size: 10000, block_on_overflow: true, batch: {sizer: bytes, min_size: 100000, max_size: 900000, flush_timeout: 200ms}}}",
		cluster.ListenAddrs()[0], topic)
	out := []way{{"nothing (`debug`)", "debug", "debug: {verbosity: basic}"}}
	for _, w := range []way{{id: "csm_threats", exporter: csm}, {id: "otlp_grpc", exporter: otlp}, {id: "kafka", exporter: kafka}} {
		out = append(out,
			way{"`" + w.id + "`, queue in memory", w.id, strings.ReplaceAll(w.exporter, "QUEUE, ", "")},
			way{"`" + w.id + "`, queue on disk", w.id, strings.ReplaceAll(w.exporter, "QUEUE", "storage: file_storage")})
	}
	return out
}

// figures are of one round.
type figures struct {
	rate float64 // events a second
	cpu  float64 // µs of an event
}

func median(v []figures, of func(figures) float64) float64 {
	all := make([]float64, len(v))
	for i := range v {
		all[i] = of(v[i])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkExporters measures what a record costs from the pipeline to a socket. Every round starts a collector for each
// exporter, in turn, feeds it by OTLP, and waits until all has left; the collector that sends nothing is what it is compared with. Run it
// with -benchtime 1x. It prints a table.
func BenchmarkExporters(b *testing.B) {
	bin := picket(b)
	all := ways(b)
	batch := newSource("host-1", 6).detections(batchSize)
	results := make([][]figures, len(all))
	for range b.N {
		for range *rounds {
			for i, w := range all {
				results[i] = append(results[i], measure(b, bin, w, batch))
			}
		}
	}
	base := median(results[0], func(f figures) float64 { return f.cpu })
	fmt.Printf("\nDetections with a Body of %d bytes, %d a round, medians of %d rounds.\n\n", sizeOf(batch), *events, *rounds)
	fmt.Printf("| to | events a second | CPU of an event | of it exporter and queue |\n|---|---|---|---|\n")
	for i, w := range all {
		cpu := median(results[i], func(f figures) float64 { return f.cpu })
		fmt.Printf("| %s | %.0f | %.1f µs | %.1f µs |\n", w.name, median(results[i], func(f figures) float64 { return f.rate }), cpu, cpu-base)
	}
	fmt.Println()
}

func measure(b *testing.B, bin string, w way, batch plog.Logs) figures {
	b.Helper()
	port := collectortest.FreePort(b)
	c := newCollector(b, bin, w.id, nil, fmt.Sprintf(`
extensions: {file_storage: {directory: %s}}
receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:%d, max_recv_msg_size_mib: 64}}}}
exporters: {%s}
service:
  extensions: [file_storage]
  pipelines: {logs: {receivers: [otlp], exporters: [%s]}}
`, b.TempDir(), port, w.exporter, w.id))
	defer c.Kill()
	client := newClient(b, port, nil)
	sent := func() int { return int(c.Metric("otelcol_exporter_sent_log_records")) }
	round := func(n int) {
		before := sent()
		load(b, client, batch, n)
		want := before + (n+batchSize-1)/batchSize*batchSize
		eventually(b, 2*time.Minute, func() bool { return sent() >= want }, "%s does not send everything", w.id)
	}
	round(*events / 8) // what happens once: connections, buffers
	cpu, begin := c.cpu(), time.Now()
	round(*events)
	elapsed := time.Since(begin)
	n := float64((*events + batchSize - 1) / batchSize * batchSize)
	return figures{rate: n / elapsed.Seconds(), cpu: float64((c.cpu() - cpu).Nanoseconds()) / 1000 / n}
}

// usage is what a collector holds.
type usage struct{ resident, anonymous, disk float64 } // MiB

func (c *collector) usage(dir string) (u usage) {
	u = usage{resident: c.status("VmRSS"), anonymous: c.status("RssAnon")}
	entries, err := os.ReadDir(dir)
	require.NoError(c.t, err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			u.disk += float64(info.Size()) / (1 << 20)
		}
	}
	return u
}

// BenchmarkQueue measures what an agent holds while the intake is away and events wait. Run it with -benchtime 1x. It prints a
// table.
func BenchmarkQueue(b *testing.B) {
	bin := picket(b)
	batch := newSource("host-1", 6).detections(batchSize)
	for range b.N {
		fmt.Printf("\nDetections with a Body of %d bytes, %d of them.\n\n", sizeOf(batch), *queued)
		fmt.Printf("| queue | | resident memory | of it anonymous | disk | time |\n|---|---|---|---|---|---|\n")
		for _, where := range []string{"disk", "memory"} {
			waiting(b, bin, where, batch)
		}
		fmt.Println()
	}
}

func waiting(b *testing.B, bin, where string, batch plog.Logs) {
	b.Helper()
	d := newDeployment(b, allOpens, "")
	port := collectortest.FreePort(b)
	intake := fmt.Sprintf("127.0.0.1:%d", port)
	// examples/agent.yaml with a larger queue, and records in the place of the kernel
	more := fmt.Sprintf(`
receivers:
  ebpf_security: null
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:%d, max_recv_msg_size_mib: 64}}}
exporters:
  csm_threats:
    endpoint: http://%s
    sending_queue: {queue_size: %d}
    retry_on_failure: {initial_interval: 100ms, max_interval: 500ms}
service: {pipelines: {logs: {receivers: [otlp]}}}
`, d.otlp, intake, *queued+10*batchSize)
	env := d.env("agent")
	if where == "memory" {
		more += "processors: {memory_limiter: {limit_mib: 16000}}\n"
		more = strings.Replace(more, "queue_size:", "storage: null, queue_size:", 1)
	}
	c := newCollector(b, bin, "agent", env, example(b, "agent.yaml"), more)
	defer c.Kill()
	dir := filepath.Join(d.dir, "agent")
	row := func(what string, u usage, took time.Duration) {
		fmt.Printf("| %s | %s | %.0f MiB | %.0f MiB | %.0f MiB | %.1f s |\n", where, what, u.resident, u.anonymous, u.disk, took.Seconds())
	}
	row("empty", c.usage(dir), 0)

	begin := time.Now()
	load(b, newClient(b, d.otlp, nil), batch, *queued)
	size := c.Metric("otelcol_exporter_queue_size")
	require.GreaterOrEqual(b, size, float64(*queued))
	row("full", c.usage(dir), time.Since(begin))

	if where == "disk" {
		begin = time.Now()
		c.restart()
		require.GreaterOrEqual(b, c.Metric("otelcol_exporter_queue_size"), float64(*queued))
		row("full, after kill -9 and a restart", c.usage(dir), time.Since(begin))
	}

	l, err := net.Listen("tcp", intake)
	require.NoError(b, err)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	begin = time.Now()
	peak := usage{}
	eventually(b, 5*time.Minute, func() bool {
		if u := c.usage(dir); u.resident > peak.resident {
			peak = u
		}
		return c.Metric("otelcol_exporter_queue_size") == 0
	}, "the queue does not become empty")
	row("at most, while it empties", peak, time.Since(begin))
	if where == "disk" {
		begin = time.Now()
		eventually(b, time.Minute, func() bool { return c.usage(dir).disk < peak.disk/10 }, "the file does not become smaller")
		row("after its compaction", c.usage(dir), time.Since(begin))
	}
	require.GreaterOrEqual(b, int(c.Metric("otelcol_exporter_sent_log_records")), *queued)
}
