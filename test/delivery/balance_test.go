// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

// countsOpens has a rule that matches only where all records of a host meet.
const countsOpens = `
version: 1.0.0
rules:
  - id: opened
    description: A file was opened
    expression: open.file.path =~ "/srv/delivery/**"
    actions: [{set: {name: opens, expression: "${opens} + 1", default_value: 0}}]
  - id: hundredth
    description: A hundred files were opened
    expression: open.file.path =~ "/srv/delivery/**" && ${opens} == 100
`

// TestBalancedGateways: agents spread over two gateways by examples/full/load-balancing.yaml. All records of a host meet in one, and
// those of a gateway that is away wait for it.
func TestBalancedGateways(t *testing.T) {
	full := os.Getenv("PICKET_FULL")
	if full == "" {
		t.Skip("needs the full distribution: run make build-full, and set PICKET_FULL to bin/picket-full")
	}
	intake := startIntake(t, 0)
	d := newDeployment(t, countsOpens, intake.url())
	d.noRateLimits = true
	first := d.gateway()
	port := collectortest.FreePort(t)
	second := newCollector(t, picket(t), "gateway-2", append(d.env("gateway"), fmt.Sprintf("PICKET_LISTEN=127.0.0.1:%d", port), "PICKET_STORAGE="+filepath.Join(d.dir, "gateway-2")),
		example(t, "gateway.yaml"), d.toIntake("receivers: [otlp]"))
	in := collectortest.FreePort(t)
	env := append(d.env("agent"), fmt.Sprintf("PICKET_GATEWAYS=[127.0.0.1:%d,127.0.0.1:%d]", d.otlp, port))
	// In the place of ebpf_security there are records in the same form, of many hosts.
	agent := newCollector(t, full, "agent", env, example(t, "full/load-balancing.yaml"), fmt.Sprintf(`
receivers:
  ebpf_security: null
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:%d, max_recv_msg_size_mib: 16}}}
exporters:
  load_balancing: {%s}
service: {pipelines: {logs: {receivers: [otlp]}}}
`, in, quick))

	var hosts []*source
	for i := range 24 {
		hosts = append(hosts, newSource(fmt.Sprintf("host-%d", i), 0))
	}
	client := newClient(t, in, nil)
	const each = 100
	send := func() {
		for range 4 {
			for _, h := range hosts {
				_, err := client.send(h.next(each/4), time.Minute)
				require.NoError(t, err)
			}
		}
	}
	arrived := func(n int) {
		eventually(t, time.Minute, func() bool { return len(intake.opened()) == n*len(hosts) }, "records are missing at the intake")
	}
	send()
	arrived(each)
	const kept = "otelcol_processor_security_rules_hosts"
	require.Positive(t, first.Metric(kept))
	require.Positive(t, second.Metric(kept))
	require.Equal(t, float64(len(hosts)), first.Metric(kept)+second.Metric(kept), "each host is at one gateway")
	var hundredth []string
	eventually(t, time.Minute, func() bool {
		hundredth = nil
		for _, c := range d.sink.all(event.KindDetection) {
			if c.rule == "hundredth" {
				hundredth = append(hundredth, c.host)
			}
		}
		return len(hundredth) >= len(hosts)
	}, "a host's records did not meet")
	slices.Sort(hundredth)
	require.Len(t, slices.Compact(hundredth), len(hosts))

	second.Kill()
	send()
	require.Positive(t, agent.Metric("otelcol_exporter_queue_size"))
	second.start()
	arrived(2 * each)
	agent.Stop()
	first.Stop()
	second.Stop()
}
