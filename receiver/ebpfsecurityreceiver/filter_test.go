// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadatatest"
)

// policies is a security_policies extension.
type policies struct{ *policy.Store }

func (policies) Start(context.Context, component.Host) error { return nil }
func (policies) Shutdown(context.Context) error              { return nil }

var policiesID = component.MustNewID("security_policies")

func TestFilter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.policy")
	store := policy.NewStore([]string{path}, policy.Options{}, policy.OnRuleErrorLoad)
	use := func(rules string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte("rules:\n"+rules), 0o600))
		report, changed := store.Load()
		require.Empty(t, report.Problems())
		require.True(t, changed)
	}
	const (
		opens = "  - {id: opens, expression: 'open.file.path == \"/etc/hostname\" && process.args =~ \"*id*\"'}\n"
		other = "  - {id: other, expression: 'open.file.path == \"/etc/passwd\"'}\n"
		execs = "  - {id: execs, expression: 'exec.file.path != \"\" && ${process.seen}', actions: [{set: {name: seen, value: true, scope: process}}]}\n"
	)
	use(opens)
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, func(c *Config) { c.Policies = &policiesID })
	f.host.extensions = map[component.ID]component.Component{policiesID: policies{store}}
	f.start(t)
	before := f.seq
	both := [][]byte{shExec(t), hostnameOpen(t)}
	f.fake.push(t, both) // of these only the open
	use(other)
	f.fake.push(t, both) // the same: the rules before still count
	f.filter.sets.Store(&ruleSets{current: store.Current(), previous: f.filter.sets.Load().previous, until: 1})
	f.fake.push(t, both) // none
	use(execs)
	f.fake.push(t, append(both, selfExit(t))) // the exec, as the variable may be set, and the exit, with which its value goes
	metadatatest.AssertEqualReceiverEbpfSecurityEventsFiltered(t, f.tel, filtered(map[string]int64{"exec": 3, "open": 2}), metricdatatest.IgnoreTimestamp())
	f.stop(t)

	var names []string
	for i, lr := range records(sink.AllLogs()) {
		names = append(names, lr.EventName())
		assert.Equal(t, int64(before)+1+int64(i), attr(t, lr, event.AttrSequence), "what leaves has no gaps")
	}
	assert.Equal(t, []string{"file.open", "file.open", "process.exec", "process.exit"}, names)
	use(opens) // nobody listens any more
}

// filtered are the data points of a metric that counts by event type what there was of it.
func filtered(counts map[string]int64) (dps []metricdata.DataPoint[int64]) {
	for name, n := range counts {
		dps = append(dps, points(n, name))
	}
	return dps
}

func TestFilterNeedsRules(t *testing.T) {
	for name, tt := range map[string]struct {
		ext  component.Component
		want string
	}{
		"no extension": {nil, "which is not there: configure it and list it in service::extensions"},
		"another":      {&memStorage{}, "which has no rules: it must be of type security_policies"},
		"not loaded":   {policies{policy.NewStore(nil, policy.Options{}, policy.OnRuleErrorLoad)}, "which has not loaded any rules"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, consumertest.NewNop(), func(c *Config) { c.Policies = &policiesID })
			if tt.ext != nil {
				f.host.extensions = map[component.ID]component.Component{policiesID: tt.ext}
			}
			require.ErrorContains(t, f.Start(t.Context(), f.host), tt.want)
		})
	}
}
