// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// deployment is an agent, a gateway and an intake, with the files that they keep.
type deployment struct {
	t            testing.TB
	ca           *authority
	dir          string
	otlp         int // port of the gateway
	intake       string
	sink         *sink // gets a copy of what the gateway makes
	policy       string
	onNoMatch    string
	noRateLimits bool
}

func newDeployment(tb testing.TB, policy, intake string) *deployment {
	tb.Helper()
	dir, err := filepath.EvalSymlinks(tb.TempDir())
	require.NoError(tb, err)
	d := &deployment{t: tb, ca: newAuthority(tb), dir: dir, otlp: collectortest.FreePort(tb), intake: intake, sink: startSink(tb), policy: filepath.Join(dir, "test.policy"), onNoMatch: "drop"}
	d.ca.issue("gateway")
	d.ca.issue("agent")
	require.NoError(tb, os.WriteFile(d.policy, []byte(policy), 0o600))
	return d
}

// example is the path of a configuration that users are given.
func example(tb testing.TB, name string) string {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join("../../examples", name))
	require.NoError(tb, err)
	return path
}

// env is what the examples are told by the environment, for the process of that name.
func (d *deployment) env(name string) []string {
	return []string{
		"PICKET_STORAGE=" + filepath.Join(d.dir, name), "PICKET_POLICIES=" + d.policy, fmt.Sprintf("PICKET_HEALTH=127.0.0.1:%d", collectortest.FreePort(d.t)),
		fmt.Sprintf("PICKET_LISTEN=127.0.0.1:%d", d.otlp), fmt.Sprintf("PICKET_GATEWAY=127.0.0.1:%d", d.otlp),
		"PICKET_TLS_CA=" + d.ca.ca(), "PICKET_TLS_CERT=" + d.ca.file(name), "PICKET_TLS_KEY=" + d.ca.keyOf(name), "DD_API_KEY=" + intaketest.APIKey,
	}
}

// quick is what is changed about every exporter: a test does not wait as long before it tries again.
const quick = "retry_on_failure: {initial_interval: 100ms, max_interval: 500ms}"

// toIntake sends detections to the test's intake, and as they are to the sink, in place of Datadog.
func (d *deployment) toIntake(pipeline string) string {
	return fmt.Sprintf(`
processors:
  security_rules: {on_no_match: %[1]s, disable_rate_limits: %[2]t}
exporters:
  csm_threats:
    endpoint: %[3]s
    sending_queue: {batch: {flush_timeout: 200ms}}
    %[5]s
  otlp_grpc/copy:
    endpoint: 127.0.0.1:%[4]d
    tls: {insecure: true}
    sending_queue: {storage: file_storage, sizer: items, queue_size: 200000}
    retry_on_failure: {initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0}
service:
  pipelines:
    logs: {%[6]s, exporters: [csm_threats, otlp_grpc/copy]}
`, d.onNoMatch, d.noRateLimits, d.intake, d.sink.port, quick, pipeline)
}

// gateway starts examples/gateway.yaml: records come in by OTLP from clients with a certificate.
func (d *deployment) gateway(more ...string) *collector {
	d.t.Helper()
	configs := append([]string{example(d.t, "gateway.yaml"), d.toIntake("receivers: [otlp]")}, more...)
	return newCollector(d.t, picket(d.t), "gateway", d.env("gateway"), configs...)
}

// agent starts examples/agent-to-gateway.yaml, for a process tree. It sends everything to the gateway as it is.
func (d *deployment) agent(tree int) *collector {
	d.t.Helper()
	return newCollector(d.t, picket(d.t), "agent", d.env("agent"), example(d.t, "agent-to-gateway.yaml"), fmt.Sprintf(`
receivers:
  ebpf_security: {host_id: agent-of-the-test, scope: {process_trees: [%d]}}
exporters:
  otlp_grpc: {%s}
`, tree, quick))
}

// TestAgentGatewayIntake: what happens on an agent's host goes raw to the gateway, which has the rules, and from there to the
// intake; only who has a certificate gets in.
func TestAgentGatewayIntake(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	picket(t)
	intake := startIntake(t, 0)
	d := newDeployment(t, "", intake.url())
	require.NoError(t, os.WriteFile(d.policy, []byte(strings.ReplaceAll(`
version: 2.0.0
rules:
  - id: written
    description: Somebody wrote to a job
    expression: open.file.path =~ "DIR/jobs/**" && open.flags & (O_CREAT|O_WRONLY) > 0
    tags: {severity: high, team: infra}
  - id: ran_copy
    expression: exec.file.path == "DIR/copy" && exec.args == "one two"
    actions: [{kill: {signal: SIGKILL}}]
  - id: many_words
    expression: exec.file.name == "true" && process.parent.comm == "sh" && exec.args =~ "many *"
`, "DIR", d.dir)), 0o600))
	d.noRateLimits = true
	require.NoError(t, os.Mkdir(filepath.Join(d.dir, "jobs"), 0o755))
	actor := collectortest.StartActor(t)
	gateway := d.gateway("yaml:processors: {security_rules: {enforcement: {enabled: true}}}")
	agent := d.agent(actor.PID())

	const long = 600 // execs, each of a record of 10 KB and more: more in a batch than a gRPC message may have by default
	actor.Run(fmt.Sprintf(`
echo '* * * * * root id' > %[1]s/jobs/job
cp /bin/sleep %[1]s/copy
cp /bin/true %[1]s/true
%[1]s/copy one two 2>/dev/null || true
word=$(printf 'x%%02000d' 7)
i=0; while [ $i -lt %[2]d ]; do %[1]s/true many $i $word $word $word $word; i=$((i+1)); done
`, d.dir, long))

	byRule := map[string][]message{}
	eventually(t, 90*time.Second, func() bool {
		intake.read()
		clear(byRule)
		for _, m := range intake.messages {
			byRule[m.Agent.RuleID] = append(byRule[m.Agent.RuleID], m)
		}
		return len(byRule["written"]) > 0 && len(byRule["ran_copy"]) > 0 && len(byRule["many_words"]) >= long
	}, "the detections did not arrive")
	require.Len(t, byRule["written"], 1)
	require.Len(t, byRule["ran_copy"], 1)
	require.Len(t, byRule["many_words"], long)

	var uts unix.Utsname
	require.NoError(t, unix.Uname(&uts))
	hostname, err := os.Hostname()
	require.NoError(t, err)

	w := byRule["written"][0]
	assert.Equal(t, "Somebody wrote to a job", w.Title)
	assert.Equal(t, "test.policy", w.Agent.PolicyName)
	assert.Equal(t, unix.ByteSliceToString(uts.Release[:]), w.Agent.KernelVersion, "the agent's kernel, told by the gateway")
	assert.Equal(t, "open", w.Evt.Name)
	assert.Equal(t, "Success", w.Evt.Outcome)
	assert.Equal(t, d.dir+"/jobs/job", w.File.Path)
	assert.Equal(t, actor.PID(), w.Process.PPID)
	assert.Equal(t, "root", w.Process.User)
	assert.WithinDuration(t, time.Now(), w.Date, 3*time.Minute)
	l := w.log
	assert.Equal(t, hostname, l.Hostname)
	assert.Equal(t, []string{"rule_id:written", "source_rule_id:written", "severity:high", "team:infra", "type:open"}, l.Tags())
	assert.Equal(t, w.Date.UnixMilli(), l.Timestamp)

	r := byRule["ran_copy"][0]
	assert.Equal(t, d.dir+"/copy", r.Process.Executable.Path)
	assert.Equal(t, []string{"one", "two"}, r.Process.Args)
	if assert.Len(t, r.Agent.RuleActions, 1) {
		assert.Equal(t, "error", r.Agent.RuleActions[0]["status"], "nothing is killed on behalf of a record from elsewhere: %v", r.Agent.RuleActions[0])
	}

	// The same detections, as OTLP records.
	copies := d.sink.all(event.KindDetection)
	i := slices.IndexFunc(copies, func(c copied) bool { return c.rule == "written" })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, "agent-of-the-test", copies[i].host)
	assert.Equal(t, "file.open", copies[i].name)
	assert.Equal(t, d.dir+"/jobs/job", copies[i].path)
	assert.Len(t, copies[i].uid, 32)

	// Nobody else gets in.
	for name, config := range map[string]*client{
		"no TLS":         newClient(t, d.otlp, nil),
		"no certificate": newClient(t, d.otlp, d.ca.client("")),
	} {
		require.Error(t, config.try(newSource("stranger", 0).next(1)), name)
	}
	other := newAuthority(t)
	other.issue("agent")
	config := d.ca.client("")
	config.Certificates = other.client("agent").Certificates
	require.Error(t, newClient(t, d.otlp, config).try(newSource("stranger", 0).next(1)), "a certificate of somebody else's")
	require.NoError(t, newClient(t, d.otlp, d.ca.client("agent")).try(newSource("known", 0).next(1)))

	require.Zero(t, agent.Metric("otelcol_receiver_ebpf_security_events_dropped"))
	require.Zero(t, agent.Metric("otelcol_exporter_send_failed_log_records"))
	require.Zero(t, gateway.Metric("otelcol_exporter_send_failed_log_records"))
	agent.Stop()
	gateway.Stop()
}

// TestAgentAlone: an agent that has the rules itself sends detections to the intake, or to a backend that takes OTLP over HTTP.
func TestAgentAlone(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	picket(t)
	intake := intaketest.Start(t)
	d := newDeployment(t, "", "")
	require.NoError(t, os.WriteFile(d.policy, []byte("version: 1.0.0\nrules: [{id: made, expression: 'mkdir.file.path == \""+d.dir+"/made\"', tags: {severity: critical}}]\n"), 0o600))
	actor := collectortest.StartActor(t)
	scope := fmt.Sprintf("\nreceivers: {ebpf_security: {scope: {process_trees: [%d]}}}\n", actor.PID())
	toDatadog := newCollector(t, picket(t), "agent", d.env("agent"), example(t, "agent.yaml"),
		scope+fmt.Sprintf("exporters: {csm_threats: {endpoint: %s, sending_queue: {batch: {flush_timeout: 200ms}}}}", intake.URL()))
	toOther := newCollector(t, picket(t), "other", append(d.env("other"), "PICKET_OTLP_ENDPOINT="+d.sink.startHTTP(), "PICKET_OTLP_AUTHORIZATION=Bearer of-the-test"),
		example(t, "otlp.yaml"), scope)
	actor.Run("mkdir " + d.dir + "/made")

	logs := intake.WaitLogs(30*time.Second, func(logs []intaketest.Log) bool {
		return slices.ContainsFunc(logs, func(l intaketest.Log) bool { return l.Tag("rule_id") == "made" })
	})
	require.Empty(t, intake.Problems())
	i := slices.IndexFunc(logs, func(l intaketest.Log) bool { return l.Tag("rule_id") == "made" })
	var m message
	require.NoError(t, json.Unmarshal([]byte(logs[i].Message), &m))
	assert.Equal(t, d.dir+"/made", m.File.Path)
	assert.Equal(t, "mkdir", m.Process.Comm)

	var copies []copied
	eventually(t, 30*time.Second, func() bool {
		copies = d.sink.all(event.KindDetection)
		return len(copies) > 0
	}, "no detection comes over OTLP")
	require.Len(t, copies, 1)
	assert.Equal(t, "made", copies[0].rule)
	assert.Equal(t, "file.mkdir", copies[0].name)
	assert.Equal(t, d.dir+"/made", copies[0].path)
	assert.Equal(t, []string{"Bearer of-the-test", "picket"}, []string{d.sink.authorization, copies[0].service})
	toDatadog.Stop()
	toOther.Stop()
}
