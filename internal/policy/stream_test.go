// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// pipeline is a receiver, with its filter or without, and the processor behind it. Variables are its own.
type pipeline struct {
	store    *Store
	filtered bool
	matcher  Matcher
	passed   int
	detected []string
}

// take has an event evaluated as the components do, and notes the rules that match and what they leave in the variables.
func (p *pipeline) take(t *testing.T, n int, ev *event.Event) {
	t.Helper()
	set := p.store.Current()
	c := &secl.Context{Event: ev, Now: ev.Date, Host: "h"}
	if p.filtered && !p.matcher.MayMatch(set, c) {
		return
	}
	p.passed++
	p.matcher.Match(set, c)
	for r := p.matcher.Next(); r != nil; r = p.matcher.Next() {
		require.NoError(t, r.Act(c))
		p.detected = append(p.detected, fmt.Sprintf("%d %s", n, r.ID))
	}
	if ev.Type == event.TypeExit {
		set.Exited("h", ev.Facts.ProcessID)
	}
}

// streamPolicy is a random set of rules, some of which set the variables that others read.
func streamPolicy(r random) string {
	var text strings.Builder
	text.WriteString("rules:\n")
	rules := 1 + r.IntN(3)
	for i := range rules {
		fmt.Fprintf(&text, "  - id: r%d\n    expression: 'open.file.path != \"/none\" && (%s) && (%s)'\n", i, r.expression(2, true), r.expression(1, false))
		if r.IntN(2) == 0 {
			fmt.Fprintf(&text, "    actions: [{set: {%s}}]\n", r.of("name: seen, field: open.file.name", "name: ids, field: process.uid, append: true",
				"name: mine, field: open.file.name, append: true, scope: process, ttl: 20ms"))
		}
	}
	if r.IntN(3) == 0 {
		text.WriteString("  - {id: left, expression: 'exit.code == 7 && \"x\" in ${process.mine}'}\n")
	}
	text.WriteString("  - id: sets\n    expression: open.file.name == \"shadow\" && process.uid == 7\n    actions:\n")
	for _, set := range []string{"name: seen, value: x", "name: ids, value: 1, append: true", "name: mine, value: [x], append: true, scope: process, ttl: 20ms"} {
		fmt.Fprintf(&text, "      - set: {%s}\n", set)
	}
	return text.String()
}

// streamEvent is an event of one of few processes, or the exit of one.
func streamEvent(t *testing.T, r random, n int) *event.Event {
	t.Helper()
	var ev *event.Event
	if r.IntN(8) == 0 {
		var err error
		ev, err = event.ParseFlatEventAt([]byte(`{"type":"exit","exit.code":7,"exit.cause":"EXITED"}`), 1)
		require.NoError(t, err)
	} else {
		ev = r.event(t)
	}
	ev.Facts.ProcessID = uint64(1 + r.IntN(3))
	ev.Date = event.Time(int64(1+n) * int64(time.Millisecond))
	return ev
}

// TestFilterOfStreams gives the same random events to a pipeline with the receiver's filter and to one without: both must detect the
// same, with rules whose state comes from earlier events, and when the rules change on the way.
func TestFilterOfStreams(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 4))}
	rounds := 60
	if testing.Short() {
		rounds = 6
	}
	detections, passed, all := 0, 0, 0
	for range rounds {
		file := filepath.Join(t.TempDir(), "x.policy")
		pipelines := [2]*pipeline{{filtered: true}, {}}
		for _, p := range pipelines {
			p.store = NewStore([]string{file}, Options{Machine: testMachine()}, OnRuleErrorLoad)
		}
		var texts []string
		for n := range 300 {
			if n%60 == 0 {
				texts = append(texts, streamPolicy(r))
				require.NoError(t, os.WriteFile(file, []byte(texts[len(texts)-1]), 0o600))
				for _, p := range pipelines {
					report, changed := p.store.Load()
					require.Empty(t, report.Problems(), texts[len(texts)-1])
					require.True(t, changed)
				}
			}
			ev := streamEvent(t, r, n)
			for _, p := range pipelines {
				p.take(t, n, ev)
			}
		}
		require.Equal(t, pipelines[1].detected, pipelines[0].detected, strings.Join(texts, "\n"))
		detections += len(pipelines[1].detected)
		passed, all = passed+pipelines[0].passed, all+pipelines[1].passed
	}
	assert.Greater(t, detections, all/4, "enough that is detected")
	assert.Less(t, passed, all*9/10, "enough that is filtered")
}
