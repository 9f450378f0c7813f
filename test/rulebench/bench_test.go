// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package rulebench compares Picket's rules with the same conditions in OTTL (filterprocessor) and CEL, on an event that
// none of them matches. It is a module of its own so that Picket depends on neither.
package rulebench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/filterprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/secl"
	"github.com/picketsec/picket/processor/securityrulesprocessor"
)

// condition is one condition in each language; %d is the number of the rule.
var conditions = []struct{ secl, ottl, cel string }{
	{
		`open.file.path == "/etc/shadow%[1]d" && process.uid != 0`,
		`attributes["file.path"] == "/etc/shadow%[1]d" and attributes["uid"] != 0`,
		`path == "/etc/shadow%[1]d" && uid != 0`,
	},
	{
		`open.file.name in ["id_rsa%[1]d", "id_dsa%[1]d", "id_ed25519_%[1]d"] && process.comm in ["sh", "bash", "dash"]`,
		`(attributes["file.name"] == "id_rsa%[1]d" or attributes["file.name"] == "id_dsa%[1]d" or attributes["file.name"] == "id_ed25519_%[1]d") and ` +
			`(attributes["comm"] == "sh" or attributes["comm"] == "bash" or attributes["comm"] == "dash")`,
		`name in ["id_rsa%[1]d", "id_dsa%[1]d", "id_ed25519_%[1]d"] && comm in ["sh", "bash", "dash"]`,
	},
	{
		`open.file.path =~ "/var/lib%[1]d/**" && open.flags & (O_WRONLY|O_RDWR) > 0`,
		`HasPrefix(attributes["file.path"], "/var/lib%[1]d/") and attributes["writes"] == true`,
		`path.startsWith("/var/lib%[1]d/") && writes`,
	},
}

// flat is the event; values are the same for those that read attributes.
const flat = `{"type":"open","open.file.path":"/usr/lib/x86_64-linux-gnu/libc.so.6","open.flags":"O_RDONLY","process.uid":1000,"process.pid":7,"process.comm":"ls"}`

var values = map[string]any{"path": "/usr/lib/x86_64-linux-gnu/libc.so.6", "name": "libc.so.6", "uid": int64(1000), "comm": "ls", "writes": false}

func each(n int, one func(i int, c int)) {
	for i := range n {
		one(i, i%len(conditions))
	}
}

type extension struct{ *policy.Store }

func (extension) Start(context.Context, component.Host) error { return nil }
func (extension) Shutdown(context.Context) error              { return nil }

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func store(b *testing.B, n int) *policy.Store {
	b.Helper()
	var text strings.Builder
	text.WriteString("rules:\n")
	each(n, func(i, c int) {
		fmt.Fprintf(&text, "  - {id: r%d, expression: '%s'}\n", i, fmt.Sprintf(conditions[c].secl, i))
	})
	path := filepath.Join(b.TempDir(), "x.policy")
	require.NoError(b, os.WriteFile(path, []byte(text.String()), 0o600))
	s := policy.NewStore([]string{path}, policy.Options{}, policy.OnRuleErrorLoad)
	report, _ := s.Load()
	require.Empty(b, report.Problems())
	require.Equal(b, n, s.Current().Len())
	return s
}

func consume(b *testing.B, f processor.Factory, conf map[string]any, h component.Host, logs plog.Logs) {
	b.Helper()
	cfg := f.CreateDefaultConfig()
	require.NoError(b, confmap.NewFromStringMap(conf).Unmarshal(cfg))
	p, err := f.CreateLogs(b.Context(), processortest.NewNopSettings(f.Type()), cfg, consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, p.Start(b.Context(), h))
	defer func() { require.NoError(b, p.Shutdown(context.Background())) }() //nolint:usetesting // the benchmark's own is over
	b.ReportAllocs()
	for b.Loop() {
		if err := p.ConsumeLogs(b.Context(), logs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRules(b *testing.B) {
	ev, err := event.ParseFlatEvent([]byte(flat))
	require.NoError(b, err)
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d/picket", n), func(b *testing.B) {
			set := store(b, n).Current()
			c := &secl.Context{Event: ev}
			var m policy.Matcher
			b.ReportAllocs()
			for b.Loop() {
				m.Match(set, c)
				if m.Next() != nil {
					b.Fatal("it matches")
				}
			}
		})
		b.Run(fmt.Sprintf("rules=%d/picket processor, from the body", n), func(b *testing.B) {
			id := component.MustNewID("security_policies")
			logs := plog.NewLogs()
			event.EncodeRecord(ev, &event.Host{ID: "h"}, logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty())
			consume(b, securityrulesprocessor.NewFactory(), map[string]any{"policies": "security_policies", "on_no_match": "pass"},
				host{id: extension{store(b, n)}}, logs)
		})
		b.Run(fmt.Sprintf("rules=%d/ottl filterprocessor", n), func(b *testing.B) {
			var list []any
			each(n, func(i, c int) { list = append(list, fmt.Sprintf(conditions[c].ottl, i)) })
			logs := plog.NewLogs()
			a := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes()
			a.PutStr("file.path", values["path"].(string))
			a.PutStr("file.name", values["name"].(string))
			a.PutStr("comm", values["comm"].(string))
			a.PutInt("uid", values["uid"].(int64))
			a.PutBool("writes", false)
			consume(b, filterprocessor.NewFactory(), map[string]any{"error_mode": "propagate", "logs": map[string]any{"log_record": list}},
				componenttest.NewNopHost(), logs)
		})
		b.Run(fmt.Sprintf("rules=%d/cel", n), func(b *testing.B) {
			env, err := cel.NewEnv(cel.Variable("path", cel.StringType), cel.Variable("name", cel.StringType), cel.Variable("comm", cel.StringType),
				cel.Variable("uid", cel.IntType), cel.Variable("writes", cel.BoolType))
			require.NoError(b, err)
			var programs []cel.Program
			each(n, func(i, c int) {
				ast, issues := env.Compile(fmt.Sprintf(conditions[c].cel, i))
				require.NoError(b, issues.Err())
				p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
				require.NoError(b, err)
				programs = append(programs, p)
			})
			vars, err := cel.NewActivation(values)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range programs {
					if out, _, err := p.Eval(vars); err != nil || out.Value() != false {
						b.Fatal(out, err)
					}
				}
			}
		})
	}
}
