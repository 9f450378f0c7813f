// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// sameAsRecord checks that the log record of an event gives the same matches as the event itself.
func sameAsRecord(t *testing.T, set *Set, json string) {
	t.Helper()
	ev, err := event.ParseEvent([]byte(json), start)
	require.NoError(t, err, json)
	got := matches(set, ev)

	switch peer := addressOf(t, ev); ev.Type { // a sensor gives the address in the form of the schema too
	case event.TypeConnect:
		ev.Network = &event.NetworkContext{Destination: peer}
	case event.TypeAccept:
		ev.Network = &event.NetworkContext{Source: peer}
	}
	lr := plog.NewLogRecord()
	event.EncodeRecord(ev, &event.Host{ID: "h"}, lr)
	var d event.Decoder
	var decoded event.Event
	require.NoError(t, d.DecodeRecord(lr, set.Need(ev.Type), &decoded))
	assert.Equal(t, got, matches(set, &decoded), "the record gives another result: %s\n%s", json, lr.Body().Str())
}

// addressOf is the other end of a connection, which it says the family of in the facts of the event too.
func addressOf(t *testing.T, ev *event.Event) event.IPPort {
	t.Helper()
	if ev.Type != event.TypeConnect && ev.Type != event.TypeAccept {
		return event.IPPort{}
	}
	ip, ok := event.LookupField(ev.Type.String() + ".addr.ip")
	require.True(t, ok)
	port, ok := event.LookupField(ev.Type.String() + ".addr.port")
	require.True(t, ok)
	out := event.IPPort{IP: ip.IP(ev).Addr(), Port: uint16(port.Int(ev))}
	switch {
	case out.IP.Is6():
		ev.Facts.SocketFamily = unix.AF_INET6
	case out.IP.Is4():
		ev.Facts.SocketFamily = unix.AF_INET
	}
	return out
}

func matches(set *Set, ev *event.Event) map[string]bool {
	c := &secl.Context{Event: ev, Now: start}
	got := map[string]bool{}
	for _, r := range set.Rules(ev.Type) {
		if r.Program.Match(c) {
			got[r.ID] = true
		}
	}
	return got
}

// TestExampleRecords takes the events of the unit tests of examples/policies, which package ruletest runs, through records.
func TestExampleRecords(t *testing.T) {
	dir := filepath.Join("..", "..", "examples", "policies")
	set, report := Load([]string{dir}, Options{})
	require.Empty(t, report.Problems())
	for _, p := range report.Policies {
		for _, e := range append(p.Macros, p.Rules...) {
			assert.Empty(t, e.Message, e.ID)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+TestExtension))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := ReadTestFile(path)
			require.NoError(t, err)
			for _, test := range f.Tests {
				for _, e := range test.Events {
					sameAsRecord(t, set, string(e.JSON))
				}
			}
		})
	}
}

func TestExamplesAreDescribed(t *testing.T) {
	set, _ := Load([]string{filepath.Join("..", "..", "examples", "policies")}, Options{})
	tactic, technique := regexp.MustCompile(`^tactic:TA\d{4}-[a-z-]+$`), regexp.MustCompile(`^technique:T\d{4}(\.\d{3})?-[a-z-]+$`)
	for typ := range event.NumTypes {
		for _, r := range set.Rules(typ) {
			tags := strings.Join(r.Info.Tags, "\n")
			assert.NotEmpty(t, r.Info.Description, r.ID)
			assert.NotEmpty(t, r.Info.Version, r.ID)
			assert.Contains(t, tags, "severity:", r.ID)
			var hasTactic, hasTechnique bool
			for _, tag := range r.Info.Tags {
				hasTactic = hasTactic || tactic.MatchString(tag)
				hasTechnique = hasTechnique || technique.MatchString(tag)
			}
			assert.True(t, hasTactic && hasTechnique, "%s: %q", r.ID, r.Info.Tags)
		}
	}
}
