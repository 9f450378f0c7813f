// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securitypoliciesextension

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/picketsec/picket/extension/securitypoliciesextension/internal/metadata"
	"github.com/picketsec/picket/extension/securitypoliciesextension/internal/metadatatest"
	"github.com/picketsec/picket/internal/policy"
)

func ruleFile(id string) string {
	return "rules: [{id: " + id + ", expression: 'open.file.path == \"/a\"'}]\n"
}

func put(tb testing.TB, path, content string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
}

// started is an extension under test. loads gets the report of each load after the start.
type started struct {
	*policies
	loads chan *policy.Report
	logs  *observer.ObservedLogs
}

func startExtension(t *testing.T, paths ...string) *started {
	t.Helper()
	s, err := tryStart(t, paths...)
	require.NoError(t, err)
	return s
}

func tryStart(t *testing.T, paths ...string) (*started, error) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	set := extensiontest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	cfg := createDefaultConfig().(*Config)
	cfg.Paths = paths
	cfg.Reload.Debounce = 10 * time.Millisecond
	p, err := newPolicies(set, cfg)
	require.NoError(t, err)
	s := &started{policies: p, loads: make(chan *policy.Report, 100), logs: logs}
	t.Cleanup(func() { assert.NoError(t, p.Shutdown(t.Context())) })
	if err := p.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		return s, err
	}
	first := true
	p.Subscribe(func(_ *policy.Set, r *policy.Report) {
		if !first {
			s.loads <- r
		}
		first = false
	})
	return s, nil
}

// wait waits for a load after which cond holds.
func (s *started) wait(t *testing.T, cond func(*policy.Report) bool) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case r := <-s.loads:
			if cond(r) {
				return
			}
		case <-timeout:
			t.Fatal("no load with the awaited result in 10 s")
		}
	}
}

func (s *started) waitFor(t *testing.T, id string) {
	t.Helper()
	s.wait(t, func(*policy.Report) bool { return s.Current().Has(id) })
}

func TestReload(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string) (paths []string, change func()){
		"file written": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			path := filepath.Join(dir, "a.policy")
			put(t, path, ruleFile("old"))
			return []string{dir}, func() { put(t, path, ruleFile("new")) }
		},
		"file replaced by rename": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			path := filepath.Join(dir, "a.yaml")
			put(t, path, ruleFile("old"))
			return []string{path}, func() {
				put(t, path+".tmp", ruleFile("new"))
				require.NoError(t, os.Rename(path+".tmp", path))
			}
		},
		"file added": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			put(t, filepath.Join(dir, "a.policy"), ruleFile("old"))
			return []string{dir}, func() { put(t, filepath.Join(dir, "b.policy"), ruleFile("new")) }
		},
		"ConfigMap swapped": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			configMap(t, dir, "..v1", ruleFile("old"))
			require.NoError(t, os.Symlink(filepath.Join("..data", "a.policy"), filepath.Join(dir, "a.policy")))
			return []string{dir}, func() {
				configMap(t, dir, "..v2", ruleFile("new"))
				require.NoError(t, os.RemoveAll(filepath.Join(dir, "..v1")))
			}
		},
		"file of a ConfigMap swapped": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			configMap(t, dir, "..v1", ruleFile("old"))
			path := filepath.Join(dir, "a.policy")
			require.NoError(t, os.Symlink(filepath.Join("..data", "a.policy"), path))
			return []string{path}, func() { configMap(t, dir, "..v2", ruleFile("new")) }
		},
		"directory replaced": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			sub := filepath.Join(dir, "policies")
			require.NoError(t, os.Mkdir(sub, 0o700))
			put(t, filepath.Join(sub, "a.policy"), ruleFile("old"))
			return []string{sub}, func() {
				require.NoError(t, os.Rename(sub, sub+".old"))
				require.NoError(t, os.Mkdir(sub, 0o700))
				put(t, filepath.Join(sub, "a.policy"), ruleFile("new"))
			}
		},
		"symlink to a directory moved": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			for _, v := range []string{"old", "new"} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, v), 0o700))
				put(t, filepath.Join(dir, v, "a.policy"), ruleFile(v))
			}
			link := filepath.Join(dir, "current")
			require.NoError(t, os.Symlink("old", link))
			return []string{link}, func() {
				require.NoError(t, os.Symlink("new", link+".tmp"))
				require.NoError(t, os.Rename(link+".tmp", link))
			}
		},
		"file behind a symlink written": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			elsewhere := t.TempDir()
			put(t, filepath.Join(elsewhere, "x"), ruleFile("old"))
			require.NoError(t, os.Symlink(filepath.Join(elsewhere, "x"), filepath.Join(dir, "a.policy")))
			return []string{dir}, func() { put(t, filepath.Join(elsewhere, "x"), ruleFile("new")) }
		},
		"second path appears": func(t *testing.T, dir string) ([]string, func()) {
			t.Helper()
			put(t, filepath.Join(dir, "a.policy"), ruleFile("old"))
			deep := filepath.Join(dir, "not", "yet", "there")
			return []string{filepath.Join(dir, "a.policy"), deep}, func() {
				require.NoError(t, os.MkdirAll(deep, 0o700))
				put(t, filepath.Join(deep, "b.policy"), ruleFile("new"))
			}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			paths, change := prepare(t, t.TempDir())
			s := startExtension(t, paths...)
			require.True(t, s.Current().Has("old"))
			change()
			s.waitFor(t, "new")
		})
	}
}

// configMap does what the kubelet does to publish a volume: a new directory, and a symlink to it put in place by rename.
func configMap(tb testing.TB, dir, version, content string) {
	tb.Helper()
	require.NoError(tb, os.Mkdir(filepath.Join(dir, version), 0o700))
	put(tb, filepath.Join(dir, version, "a.policy"), content)
	require.NoError(tb, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	require.NoError(tb, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
}

// logged waits for a message: a reload is told to the subscribers before it is logged.
func (s *started) logged(t *testing.T, message string) (entries []observer.LoggedEntry) {
	t.Helper()
	require.Eventually(t, func() bool {
		entries = s.logs.FilterMessage(message).All()
		return len(entries) > 0
	}, 10*time.Second, time.Millisecond, "no message %q", message)
	return entries
}

func TestReloadKeepsWhatWorked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.policy")
	put(t, path, ruleFile("good"))
	s := startExtension(t, dir)

	put(t, path, "rules: [")
	s.wait(t, func(r *policy.Report) bool { return r.Errors() == 1 })
	assert.True(t, s.Current().Has("good"))
	s.logged(t, "policy file left out")

	put(t, path, "rules: [{id: bad, expression: 'open.file.nmae == \"a\"'}]\n")
	s.wait(t, func(r *policy.Report) bool { return r.Kept })
	assert.True(t, s.Current().Has("good"))
	s.logged(t, "new policies are not used: no rule could be loaded; the previous rules stay in use")
	bad := s.logged(t, "rule left out")
	require.Len(t, bad, 1)
	fields := bad[0].ContextMap()
	assert.Equal(t, path+":1:32", fields["at"])
	assert.Equal(t, "bad", fields["rule"])
	assert.Contains(t, fields["error"], "open.file.name")

	put(t, path, ruleFile("better"))
	s.waitFor(t, "better")
	assert.False(t, s.Current().Has("good"))
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.policy")
	put(t, bad, "rules:\n  - {id: a, expression: nope}\n  - {id: b, expression: nope}\n  - {id: c, expression: nope}\n  - {id: d, expression: nope}\n")
	off := filepath.Join(dir, "off.policy")
	put(t, off, "rules:\n  - {id: a, disabled: true}\n  - {id: b, expression: 'open.flags > 0', agent_version: '< 7.0'}\n")
	binary := filepath.Join(dir, "binary.policy")
	put(t, binary, "\x00\x01")
	missing := filepath.Join(dir, "missing.policy")
	tests := map[string][]string{
		bad:     {"no rule could be loaded: " + bad + ":2:25: rule \"a\": ", bad + ":4:25: rule \"c\": ", "; and 1 more"},
		off:     {"no rule to use: 1 rules are disabled and 1 filtered out by agent_version or filters"},
		binary:  {binary + ":1:1: not a text file: there are bytes that are not UTF-8, or NUL"},
		missing: {missing + ": cannot stat: no such file or directory"},
	}
	for path, want := range tests {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := tryStart(t, path)
			for _, w := range want {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

func TestOneGoodRuleIsEnoughToStart(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.policy"), "rules:\n  - {id: bad, expression: nope}\n  - {id: good, expression: 'open.flags > 0'}\n")
	s := startExtension(t, dir, filepath.Join(dir, "missing"))
	assert.True(t, s.Current().Has("good"))
	assert.Len(t, s.logs.FilterMessage("rule left out").All(), 1)
	assert.Len(t, s.logs.FilterMessage("policy file left out").All(), 1)
}

func TestMetrics(t *testing.T) {
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { assert.NoError(t, tel.Shutdown(context.Background())) }) // the context of t is over by then
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.policy"), "rules:\n  - {id: bad, expression: nope}\n  - {id: good, expression: 'open.flags > 0'}\n  - {id: off, disabled: true}\n")
	set := extensiontest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	cfg := createDefaultConfig().(*Config)
	cfg.Paths, cfg.Reload.Enabled = []string{dir}, false
	p, err := newPolicies(set, cfg)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	point := func(key, value string, n int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String(key, value)), Value: n}
	}
	metadatatest.AssertEqualExtensionSecurityPoliciesRules(t, tel, []metricdata.DataPoint[int64]{
		point("status", "loaded", 1), point("status", "filtered", 0), point("status", "disabled", 1), point("status", "error", 1),
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionSecurityPoliciesLoads(t, tel, []metricdata.DataPoint[int64]{point("result", "loaded", 1)},
		metricdatatest.IgnoreTimestamp())
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestExistingParent(t *testing.T) {
	dir := t.TempDir()
	assert.Equal(t, dir, existingParent(filepath.Join(dir, "a")))
	assert.Equal(t, dir, existingParent(filepath.Join(dir, "a", "b", "c")))
	assert.Equal(t, "/", existingParent("/"))
}
