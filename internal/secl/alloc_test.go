// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// TestNoAllocations holds for every path of evaluation but ${builtins.uuid4}.
func TestNoAllocations(t *testing.T) {
	env := environment(t)
	for _, tt := range []struct{ expr, event string }{
		{`process.is_kworker == true || process.ancestors.is_thread == true`, process},
		{`process.is_kworker in [true, false] && process.ancestors.is_thread in [true]`, process},
		{`process.pid == 7 && process.cap_effective & CAP_NET_RAW != 0 && process.ancestors.pid > 2`, process},
		{`process.pid in [1, 7] && process.pid in ${ids} && process.ancestors.pid in ${ids}`, process},
		{`process.created_at > 5s && process.ancestors.created_at > 5s`, process},
		{`process.comm == "sh" && process.args =~ "*--color*" && process.comm =~ r"^s"`, process},
		{`process.argv in ["-x", ~"--c*"] && process.args_flags in ["l"] && process.envs in ["A"] && process.args_options == "p=80"`, process},
		{`process.argv in process.ancestors.argv && process.comm not in process.argv`, process},
		{`process.comm in ${names} && ${names} in ["ls"] && ${names.length} == 2`, process},
		{`process.ancestors[A].comm == "nginx" && process.ancestors[B].pid == 3`, process},
		{`signal.target.ancestors[A].pid == process.ancestors[B].pid && signal.target.ancestors.file.name in ["sshd"]`, signal},
		{`"/proc/${process.pid}/%{process.comm}/${ids}" == "/proc/7/sh/7,8"`, process},
		{`open.file.path =~ "/etc/**/x.sh" && open.file.path in ETC && open.file.extension == "SH"`, open},
		{`connect.addr.ip in [192.168.0.0/16, 10.0.0.0/8] && connect.addr.ip allin ${ips} && connect.addr.hostname == "b.EXAMPLE.org"`, connect},
	} {
		p, err := Compile(tt.expr, env)
		require.NoError(t, err, tt.expr)
		c := &Context{Event: flatEvent(t, tt.event), Now: now}
		p.Match(c) // the first use makes the context's slots and the derived arguments
		assert.Zero(t, testing.AllocsPerRun(100, func() { p.Match(c) }), tt.expr)
	}
}

// benchRules are rules as policies have them, on one event type; n gives each its own values, so that none shares work.
func benchRules(b *testing.B, n int) []*Program {
	b.Helper()
	env := &Env{Macros: []Macro{
		{ID: "PACKAGE_MANAGERS", Expression: `[~"/usr/bin/apt*", "/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/yum", "/sbin/apk", ~"/usr/bin/pip*"]`},
		{ID: "SHELLS", Expression: `["sh", "bash", "dash", "zsh", "ash", "ksh", "fish"]`},
	}}
	var ps []*Program
	for i := range n {
		var expr string
		switch i % 5 {
		case 0:
			expr = fmt.Sprintf(`open.flags & (O_CREAT|O_RDWR|O_WRONLY) > 0 && open.file.path in [~"/etc/d%d/*", "/etc/file%d"] && process.file.path not in PACKAGE_MANAGERS`, i, i)
		case 1:
			expr = fmt.Sprintf(`open.file.path == "/etc/shadow%d" && process.uid != 0`, i)
		case 2:
			expr = fmt.Sprintf(`open.file.path =~ "/var/lib%d/**/secret*" && process.comm in SHELLS`, i)
		case 3:
			expr = fmt.Sprintf(`open.file.name in ["id_rsa%d", ~"*.key%d"] && process.ancestors.comm in SHELLS`, i, i)
		default:
			expr = fmt.Sprintf(`open.file.change_time < 30s && open.file.rights & S_ISUID > 0 && process.args =~ "*x%d*"`, i)
		}
		p, err := Compile(expr, env)
		require.NoError(b, err)
		ps = append(ps, p)
	}
	return ps
}

// BenchmarkMatch evaluates every rule against one event that matches none: the usual case.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			ps := benchRules(b, n)
			c := &Context{Event: flatEvent(b, open), Now: now}
			c.Event.Process.Ancestors = []*event.Process{{Comm: "bash"}, {Comm: "sshd"}, {Comm: "systemd"}}
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range ps {
					p.Match(c)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/rule")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	env := &Env{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(`open.flags & (O_CREAT|O_RDWR) > 0 && open.file.path in [~"/etc/*", "/x"] && process.comm != "sh"`, env); err != nil {
			b.Fatal(err)
		}
	}
}
