// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// mixedRules are rules of the forms that policies have, each with values of its own.
func mixedRules(from, to int) string {
	var b strings.Builder
	if from == 0 {
		b.WriteString("macros:\n  - {id: SHELLS, values: [sh, bash, dash, zsh, ash, ksh, fish]}\n  - {id: MANAGERS, values: ['~\"/usr/bin/apt*\"', /usr/bin/dpkg, /usr/bin/rpm]}\n")
	}
	b.WriteString("rules:\n")
	for i := from; i < to; i++ {
		expr := [...]string{
			`open.flags & (O_CREAT|O_RDWR|O_WRONLY) > 0 && open.file.path in [~"/etc/d%d/*", "/etc/file%[1]d"] && process.file.path not in MANAGERS`,
			`open.file.path == "/etc/shadow%d" && process.uid != 0`,
			`open.file.path =~ "/var/lib%d/**/secret*" && process.comm in SHELLS`,
			`open.file.name in ["id_rsa%d", ~"*.key%[1]d"] && process.ancestors.comm in SHELLS`,
			`open.file.change_time < 30s && open.file.rights & S_ISUID > 0 && process.args =~ "*x%d*"`,
		}[i%5]
		fmt.Fprintf(&b, "  - id: r%d\n    expression: '%s'\n", i, fmt.Sprintf(expr, i))
	}
	return b.String()
}

// BenchmarkMatch evaluates the rules of a set on an event that is decoded already and that none of them matches, and says
// whether it would leave the receiver.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		dir := b.TempDir()
		const each = 5000 // of a file
		for from := 0; from < n; from += each {
			path := filepath.Join(dir, fmt.Sprintf("%d.policy", from))
			require.NoError(b, os.WriteFile(path, []byte(mixedRules(from, min(n, from+each))), 0o600))
		}
		set, report := Load([]string{dir}, Options{Machine: testMachine()})
		require.Empty(b, report.Problems())
		ev, err := event.ParseFlatEvent([]byte(`{"type":"open","open.file.path":"/usr/lib/x86_64-linux-gnu/libc.so.6","open.flags":"O_RDONLY","process.comm":"ls",` +
			`"process.argv":["-l","/usr"],"process.ancestors":[{"comm":"bash"},{"comm":"sshd"},{"comm":"systemd"}]}`))
		require.NoError(b, err)
		c := &secl.Context{Event: ev, Now: event.Time(1 << 60)}
		var m Matcher
		b.Run(fmt.Sprintf("index/rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Match(set, c)
				if r := m.Next(); r != nil {
					b.Fatal(r.ID)
				}
			}
		})
		b.Run(fmt.Sprintf("filter/rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if m.MayMatch(set, c) {
					b.Fatal("it may match")
				}
			}
		})
		b.Run(fmt.Sprintf("one by one/rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range set.Rules(event.TypeOpen) {
					if r.Program.Match(c) {
						b.Fatal(r.ID)
					}
				}
			}
		})
	}
}
