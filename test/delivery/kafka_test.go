// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

const (
	topic      = "picket"
	partitions = 4
)

// broker is a Kafka broker in this process that speaks the real protocol, and keeps what it has on disk.
type broker struct {
	t       testing.TB
	dir     string
	port    int
	cluster *kfake.Cluster
}

func startBroker(tb testing.TB) *broker {
	tb.Helper()
	b := &broker{t: tb, dir: tb.TempDir(), port: collectortest.FreePort(tb)}
	b.up()
	tb.Cleanup(b.down)
	return b
}

func (b *broker) up() {
	b.t.Helper()
	var err error
	b.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(b.port), kfake.DataDir(b.dir), kfake.SyncWrites(), kfake.SeedTopics(partitions, topic))
	require.NoError(b.t, err)
}

func (b *broker) down() {
	if b.cluster != nil {
		b.cluster.Close()
		b.cluster = nil
	}
}

func (b *broker) addr() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

// read returns the records of all partitions, up to now.
func (b *broker) read() map[int32][]copied {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(b.t, err)
	defer client.Close()
	ends := map[int32]int64{} // offsets that follow the last one
	for p := range int32(partitions) {
		ends[p] = b.cluster.PartitionInfo(topic, p).HighWatermark
	}
	out := map[int32][]copied{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for at := map[int32]int64{}; ; {
		done := true
		for p, end := range ends {
			done = done && at[p] >= end
		}
		if done {
			return out
		}
		fetches := client.PollFetches(ctx)
		require.NoError(b.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			at[r.Partition] = r.Offset + 1
			logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(r.Value)
			require.NoError(b.t, err)
			out[r.Partition] = appendCopies(out[r.Partition], logs)
		})
	}
}

// kafkaGateway returns the path of a gateway that has kafkareceiver: picket-full if it was built, else the one in gateway/,
// which is built here.
func kafkaGateway(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("PICKET_FULL"); path != "" {
		return path
	}
	path := filepath.Join(tb.TempDir(), "gateway")
	out, err := exec.Command("go", "build", "-o", path, "./gateway").CombinedOutput()
	require.NoError(tb, err, "%s", out)
	return path
}

// TestKafka: the records of three hosts go through an agent's exporter to Kafka, partitioned by Resource, and from there to a
// gateway, while the broker, the agent and the gateway go down and come back.
func TestKafka(t *testing.T) {
	picket(t)
	const (
		batches = 10 // of each host, in each stage
		batch   = 100
	)
	gatewayBin := kafkaGateway(t)
	intake := startIntake(t, 0)
	d := newDeployment(t, allOpens, intake.url())
	d.noRateLimits = true
	kafka := startBroker(t)
	env := append(d.env("agent"), "PICKET_KAFKA_BROKERS=["+kafka.addr()+"]", "PICKET_KAFKA_TOPIC="+topic)
	// In the place of ebpf_security there are records in the same form, of more than one host.
	agent := newCollector(t, picket(t), "agent", env, example(t, "kafka-agent.yaml"), fmt.Sprintf(`
receivers:
  ebpf_security: null
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:%d, max_recv_msg_size_mib: 16}}}
exporters:
  kafka: {%s}
service: {pipelines: {logs: {receivers: [otlp]}}}
`, d.otlp, quick))
	env = append(d.env("gateway"), "PICKET_KAFKA_BROKERS=["+kafka.addr()+"]", "PICKET_KAFKA_TOPIC="+topic)
	gateway := newCollector(t, gatewayBin, "gateway", env, example(t, "full/kafka-gateway.yaml"), d.toIntake("receivers: [kafka]"),
		"yaml:receivers: {kafka: {session_timeout: 6s, heartbeat_interval: 500ms}}")

	hosts := []*source{newSource("host-1", 6), newSource("host-2", 6), newSource("host-3", 6)}
	client := newClient(t, d.otlp, nil)
	sent := 0
	send := func(batches int) {
		for range batches {
			for _, h := range hosts {
				_, err := client.send(h.next(batch), time.Minute)
				require.NoError(t, err)
			}
			sent += batch
		}
	}
	// check wants all records that were sent to be at the broker, those of a host in one partition. It returns whether they are in order,
	// apart from repetitions.
	check := func() (ordered bool) {
		var where map[string]int32
		eventually(t, time.Minute, func() bool {
			have := map[string]map[uint64]bool{}
			where, ordered = map[string]int32{}, true
			for p, records := range kafka.read() {
				for _, r := range records {
					if at, ok := where[r.host]; ok {
						require.Equal(t, at, p, "%s is in two partitions", r.host)
					}
					where[r.host] = p
					if have[r.host] == nil {
						have[r.host] = map[uint64]bool{}
					}
					ordered = ordered && (r.seq == 1 || have[r.host][r.seq-1])
					have[r.host][r.seq] = true
				}
			}
			return !slices.ContainsFunc(hosts, func(h *source) bool { return len(have[h.host.ID]) != sent })
		}, "acknowledged records are missing at the broker")
		t.Logf("%d records of each host, partitions %v", sent, where)
		return ordered
	}
	send(batches)
	kafka.down()
	send(batches)
	kafka.up()
	send(batches)
	require.True(t, check(), "a broker that goes down and comes back does not change the order")
	gateway.Kill()
	send(batches)
	gateway.start()
	kafka.down()
	send(batches)
	require.Positive(t, agent.Metric("otelcol_exporter_queue_size"))
	agent.restart() // what it was about to send goes to the end of its queue then
	kafka.up()
	send(batches)
	check()

	var got map[string]int
	eventually(t, 2*time.Minute, func() bool {
		got = intake.opened()
		return len(got) == len(hosts)*sent
	}, "acknowledged detections are missing at the intake")
	for _, h := range hosts {
		for seq := range uint64(sent) {
			require.Positive(t, got[h.pathOf(seq+1)], "record %d of %s", seq+1, h.host.ID)
		}
	}
	checkCopies(t, d.sink.all(event.KindDetection))
	agent.Stop()
	gateway.Stop()
}
