// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"strings"
	"testing"
	"time"

	"github.com/picketsec/picket/internal/event"
)

var fuzzSeeds = []string{
	`open.file.path =~ "/etc/**" && open.flags & (O_CREAT|O_RDWR) > 0 || process.uid != 0`,
	`process.ancestors[A].comm in ["sh", ~"ba*", r"^z"] and not process.is_kworker`,
	`connect.addr.ip in [10.0.0.0/8, ::1] && connect.addr.ip allin 10.0.0.0/8 && connect.addr.port not in [80, -443]`,
	`process.created_at - 5 < 10s && - process.pid != ^ 3 ^ 4`,
	`"/x/${process.pid}/%{process.argv}" == process.file.path # comment`,
	"${names} in [\"a\\\"b\"] // c\n && ${i} + 1 == 8 == true",
	`exec.argv[0] == "x" && ROOT_SHELL && process.comm in LIST`,
	`[1.2.3.4] in ${ips}`, `a -1`, `((((`, `"`, `~"`, `r"`, `${`, `%{x[`, `fe80::/10`, `1.`, `5ms`, "\xff", "ü",
}

// FuzzParse: the parser neither panics nor hangs, and its errors point into the text.
func FuzzParse(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		for _, parse := range []func(string) (node, *Error){parseRule, parseMacro} {
			n, err := parse(src)
			if (n == nil) == (err == nil) {
				t.Fatalf("node %v and error %v", n, err)
			}
			if err == nil {
				continue
			}
			if lines := strings.Split(src, "\n"); err.Line < 1 || err.Line > len(lines) || err.Column < 1 || err.Column > len([]rune(lines[err.Line-1]))+1 {
				t.Fatalf("%q: place %d:%d is outside", src, err.Line, err.Column)
			}
			_ = err.Format(src)
		}
	})
}

// FuzzCompile: what compiles evaluates, twice the same, and right on with an empty event. Its filter is true where it is,
// and so is its guard.
func FuzzCompile(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	env := environment(f)
	events := []*event.Event{{}, flatEvent(f, process), flatEvent(f, open), flatEvent(f, connect)}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Compile(src, env)
		if err != nil {
			if _, ok := AsError(err); !ok {
				t.Fatalf("%T is no *Error", err)
			}
			return
		}
		env.Filter = true
		filter, err := Compile(src, env)
		env.Filter = false
		if err != nil {
			t.Fatalf("%q compiles, but not as a filter: %v", src, err)
		}
		c := &Context{Now: now}
		for _, e := range events {
			c.Event = e
			start := time.Now()
			first := p.Match(c)
			if !strings.Contains(src, variableUUID) && p.Match(c) != first {
				t.Fatalf("%q: two evaluations differ", src)
			}
			if first && !filter.Match(c) && !strings.Contains(src, variableUUID) {
				t.Fatalf("%q is true, and filtered", src)
			}
			if g := p.Guard(); first && g != nil && !g.Test(c) {
				t.Fatalf("%q is true, and not its guard %s", src, g.Text)
			}
			if time.Since(start) > 5*time.Second {
				t.Fatalf("%q takes too long", src)
			}
			p.Unavailable(nil, e)
		}
	})
}
