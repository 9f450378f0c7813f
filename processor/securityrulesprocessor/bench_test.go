// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadata"
)

// manyRules makes a policy of n rules on open, of the usual kinds, of which none matches benchPath.
func manyRules(n int) string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range n {
		expr := []string{
			`open.file.path == "/etc/%[1]d" && process.file.name != "x"`,
			`open.file.path in ["/etc/a%[1]d", "/etc/b%[1]d", ~"/opt/%[1]d/*"] && (open.flags & (O_CREAT|O_WRONLY)) > 0`,
			`open.file.name == "f%[1]d" && process.ancestors.file.name in ["nginx", "apache2"]`,
			`open.file.path in [~"/var/lib/%[1]d/**"] && process.uid == 0`,
		}[i%4]
		fmt.Fprintf(&b, "  - id: r%d\n    description: d\n    expression: |-\n      "+fmt.Sprintf(expr, i)+"\n", i)
	}
	return b.String()
}

const benchPath = "/usr/share/zoneinfo/Europe/Berlin"

const benchEvent = `{"type":"open","open.file.path":"` + benchPath + `","open.file.name":"Berlin","open.flags":"O_RDONLY","process.pid":4242,` +
	`"process.uid":1000,"process.file.path":"/usr/bin/python3.11","process.file.name":"python3.11","process.argv":["-m","http.server","8080"],` +
	`"process.envs":["HOME","PATH","LANG","TERM"],"process.ancestors":[{"pid":1,"file.path":"/usr/bin/bash","file.name":"bash"},` +
	`{"pid":2,"file.path":"/usr/sbin/sshd","file.name":"sshd"},{"pid":3,"file.path":"/usr/lib/systemd/systemd","file.name":"systemd"}]}`

// benchmark measures a batch of 100 records from their Body to what leaves the processor.
func benchmark(b *testing.B, source string, noMatch NoMatch, detections bool) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.policy")
	require.NoError(b, os.WriteFile(path, []byte(source), 0o600))
	store := policy.NewStore([]string{path}, policy.Options{}, policy.OnRuleErrorLoad)
	cfg := &Config{Policies: component.MustNewID("security_policies"), OnNoMatch: noMatch, MaxHosts: 1}
	p, err := newRules(processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, p.start(context.Background(), storeHost(b, store)))
	defer func() { require.NoError(b, p.shutdown(context.Background())) }()

	const records = 100
	events := make([]*event.Event, records)
	for i := range events {
		events[i] = flat(b, time.Duration(i)*time.Second, benchEvent)
		events[i].Facts.Sequence = uint64(i + 1)
	}
	ld := batch(events...)
	size := 0
	for _, lr := range ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		size += len(lr.Body().Str())
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		out, err := p.processLogs(context.Background(), ld)
		n++
		if detections && (err != nil || out.LogRecordCount() == 0) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*records), "ns/record")
}

func BenchmarkNoMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmark(b, manyRules(n), NoMatchDrop, false) })
	}
}

// BenchmarkNoRule is the base line: no rule is about the type of the records, which are not decoded.
func BenchmarkNoRule(b *testing.B) {
	benchmark(b, "rules: [{id: r, expression: 'unlink.file.path == \"/a\"'}]", NoMatchDrop, false)
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		source := manyRules(n-1) + "  - id: match\n    description: d\n    every: 1ns\n    expression: open.file.path == \"" + benchPath + "\"\n"
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmark(b, source, NoMatchDrop, true) })
	}
}
