// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestQuirks has a row for each point in which the language is not what one would guess. A row has a result, or the
// reason of an error ("parse" if the text is no expression).
func TestQuirks(t *testing.T) {
	const (
		dns   = `{"type":"dns","dns.question.name":"www.Example.CO.UK","dns.question.type":"TXT"}`
		bpf   = `{"type":"bpf","bpf.cmd":"BPF_PROG_LOAD","bpf.prog.name":"probe","bpf.prog.helpers":["BPF_MAP_LOOKUP_ELEM",36]}`
		exec  = `{"type":"exec","exec.argv":["-ln","--version","--k=v","-p","80","--empty=","-","--","x"],"exec.envp":["A=1","B="]}`
		multi = `{"type":"connect","connect.addr.hostname":["a.example.org","b.example.com"]}`
	)
	for point, rows := range map[string][]struct {
		expr, event string
		want        any
	}{
		"and, or: one rank, to the right": {
			{`process.pid == 0 && process.pid == 1 || process.pid == 7`, process, false},
			{`process.pid == 7 || process.pid == 7 && process.pid == 0`, process, true},
			{`process.pid == 7 || process.pid == 0 && process.pid == 0 || process.pid == 0`, process, true},
		},
		"bit operators: one rank, to the right, before + -": {
			{`open.flags & (O_CREAT|O_RDWR) > 0`, open, true},
			{`open.flags & O_CREAT | O_RDWR == O_CREAT`, open, true}, // flags & (O_CREAT | O_RDWR)
			{`4 + 2 | 1 == 7`, process, true},
		},
		"a unary operator takes the next operand only": {
			{`!process.is_kworker == true`, process, true},
			{`not process.pid in [7]`, process, ReasonType},
			{`^process.pid & 15 == 8`, process, true},
			{`~process.pid == 1`, process, "parse"},
		},
		"comparisons group to the right": {
			{`process.pid == process.ppid == false`, process, ReasonType},
			{`process.is_kworker == process.pid == 8`, process, true},
		},
		"array literals are of one kind": {
			{`process.comm in ["a", ~"s*", r"x"]`, process, true},
			{`process.comm in ["a", 1]`, process, "parse"},
			{`process.pid in [O_RDONLY, true]`, process, ReasonType},
			{`connect.addr.ip in [1.2.3.4, 10.0.0.0/8]`, connect, true},
			{`process.comm in []`, process, "parse"},
			{`process.comm in [["a"]]`, process, "parse"},
			{`process.comm in [SHELLS]`, process, ReasonType},
		},
		"a bool by itself": {
			{`load_module.loaded_from_memory`, `{"type":"load_module","load_module.loaded_from_memory":true}`, true},
			{`${b}`, process, true},
			{`process.pid`, process, ReasonType},
		},
		"constants before macros before fields": {
			{`process.uid == O_CREAT`, `{"process.uid":64}`, true},
			{`IS_ROOT`, `{"process.uid":0}`, true},
		},
		"int and duration": {
			{`process.created_at < 11s`, process, true},
			{`process.created_at - process.parent.created_at == 50s`, process, true},
			{`process.created_at != 1s`, process, ReasonOperator},
			{`process.created_at == 10000ms`, process, true},
		},
		"arrays": {
			{`process.ancestors.pid != 2`, process, false},
			{`process.ancestors.pid != 9`, process, true},
			{`2 >= process.ancestors.pid`, process, true},
			{`process.ancestors.pid in process.ancestors.uid`, process, false},
			{`process.argv != "x"`, process, false},
			{`process.argv in process.ancestors.argv`, process, true},
			{`process.argv not in ["x"]`, process, false},
			{`["x"] in process.argv`, process, true},
		},
		"strings have no order, and patterns are known before": {
			{`process.comm < "a"`, process, ReasonOperator},
			{`process.comm =~ process.tty_name`, process, ReasonPattern},
			{`process.comm =~ "s*"`, process, true},
			{`process.comm == "s*"`, process, false},
			{`process.comm == startswith("s")`, process, "parse"},
		},
		"addresses": {
			{`connect.addr.ip == 10.1.0.0/16`, connect, true},
			{`connect.addr.ip in 10.1.0.0/16`, connect, true},
			{`connect.addr.ip allin [10.0.0.0/8, 10.1.2.3]`, connect, true},
			{`connect.addr.ip allin [10.0.0.0/8, 10.1.2.4]`, connect, false},
			{`process.pid allin [1, 7]`, process, true}, // elsewhere it is in
		},
		"names of hosts have no case": {
			{`dns.question.name == "WWW.example.co.uk"`, dns, true},
			{`dns.question.name in ["a", "www.EXAMPLE.co.uk"]`, dns, true},
			{`dns.question.name =~ "*.EXAMPLE.co.uk"`, dns, true},
			{`dns.question.name.length == 17`, dns, true},
			{`dns.question.name.root_domain == "example.co.uk"`, dns, true},
			{`dns.question.type in [A, TXT]`, dns, true},
			{`connect.addr.hostname == "B.example.com"`, multi, true},
			{`connect.addr.hostname.root_domain == "example.org"`, multi, true},
			{`connect.addr.hostname.length == 2`, multi, true},
			{`connect.addr.hostname[1] == "B.example.com"`, multi, true},
		},
		"extensions": {
			{`open.file.extension == "sh"`, open, true},
			{`open.file.extension == ".SH"`, open, true},
		},
		"patterns that are no paths cross slashes": {
			{`process.args =~ "*--color*80*"`, process, true},
			{`mount.mountpoint.path =~ "/a*c"`, `{"type":"mount","mount.mountpoint.path":"/a/b/c"}`, true},
		},
		"globs go by segment": {
			{`open.file.path =~ "/etc/*"`, open, false},
			{`open.file.path =~ "/etc/*/x*sh"`, open, true},
			{`open.file.path =~ "/etc/**"`, open, true},
			{`open.file.path =~ "/etc/**/x.sh"`, open, true},
			{`open.file.path =~ "/etc/cron.d/x.sh/**"`, open, true},
			{`open.file.path =~ "/e**/x.sh"`, open, false},
			{`open.file.path =~ "/**/a/**"`, open, ReasonPattern},
			{`open.file.path =~ "*/cron.d/x.sh"`, open, true},
			{`open.file.path =~ "/**"`, `{"type":"open"}`, false},
		},
		"values of paths are checked": {
			{`open.file.path == "etc/x"`, open, ReasonPath},
			{`open.file.path == "/etc//x"`, open, ReasonPath},
			{`open.file.path == "/etc/../x"`, open, ReasonPath},
			{`open.file.path =~ "*"`, open, ReasonPath},
			{`open.file.path == "~/x"`, open, ReasonPath},
			{`open.file.path =~ r"x"`, open, ReasonPath},
			{`open.syscall.path =~ r"x.sh$"`, open, true},
			{`open.file.path == "${s}/x"`, open, false},
		},
		"names of BPF objects": {
			{`bpf.prog.name == "probe"`, bpf, true},
			{`bpf.prog.name == "a_name_that_is_long"`, bpf, ReasonType},
			{`bpf.map.name in ["x", ~"a_name_that_is_l*"]`, bpf, ReasonType},
			{`bpf.map.name in CWS_MAP_NAMES`, `{"type":"bpf","bpf.map.name":"events"}`, true},
		},
		"an index": {
			{`exec.argv[0] == "-ln"`, exec, true},
			{`exec.argv[99] == ""`, exec, true},
			{`bpf.prog.helpers[1] == BPF_PROBE_WRITE_USER`, bpf, true},
			{`bpf.prog.helpers[2] == 0`, bpf, true},
			{`%{exec.argv[3]} == "-p"`, exec, true},
			{`"a%{exec.argv[4]}" == "a80"`, exec, true},
			{`process.ancestors[1].pid == 2`, process, true},
			{`process.ancestors[A].argv[0] == "-c"`, process, true},
		},
		"arguments and variables of the environment": {
			{`exec.args_flags == "l" && exec.args_flags == "n"`, exec, true},
			{`exec.args_flags == "version"`, exec, true},
			{`exec.args_flags == "k"`, exec, false},
			{`exec.args_options == "k=v" && exec.args_options == "p=80"`, exec, true},
			{`exec.args_options == "empty="`, exec, true},
			{`exec.envs == "A" && exec.envp == "A=1"`, exec, true},
			{`exec.args == "-ln --version --k=v -p 80 --empty= - -- x"`, exec, true},
		},
		"lengths": {
			{`process.ancestors.length == 3`, process, true},
			{`open.file.path.length == 16 && open.file.name.length == 4`, open, true},
			{`${names.length} == 2 && ${s.length} == 2`, process, true},
			{`%{process.argv.length} == 5 && %{process.comm.length} == 2`, process, true},
			{`"n${names.length}" == "n2"`, process, true},
		},
		"iterators": {
			{`process.ancestors[A].comm == "nginx" && process.ancestors[A].pid == 3`, process, false},
			{`process.ancestors.comm == "nginx" && process.ancestors.pid == 3`, process, true},
			{`process.ancestors[_].comm == "x"`, process, ReasonIterator},
			{`process.ancestors[A].pid == 1 && signal.target.ancestors[A].pid == 1`, process, ReasonIterator},
		},
		"variables": {
			{`${unset} == "" && ${none.length} == 0`, process, true},
			{`"${ids}" == "7,8"`, process, true},
			{`"${b}" == "true"`, process, ReasonType},
			{`${process.pid} == process.pid`, process, true},
			{`${undeclared} == 1`, process, ReasonVariable},
		},
		"what the event is about": {
			{`open.file.path == "/a" || exec.file.path == "/a"`, open, ReasonMultipleEvents},
			{`network.destination.port == 53 && open.flags == 0`, open, ReasonMultipleEvents},
			{`network.destination.port == 53 && dns.id == 5`, `{"type":"dns","dns.id":5,"network.destination.port":53}`, true},
			{`sysctl.name == "x"`, open, ReasonUnsupportedType},
		},
		"facts of the event": {
			{`event.service == "shop"`, `{"process.envp":["DD_SERVICE=shop"]}`, true},
			{`event.async || event.timestamp == 5`, `{"event.timestamp":5}`, true},
			{
				`event.os == "linux" && event.origin == "ebpf" && event.source == "runtime"`,
				`{"event.os":"linux","event.origin":"ebpf","event.source":"runtime"}`, true,
			},
		},
	} {
		env := environment(t)
		t.Run(point, func(t *testing.T) {
			for _, row := range rows {
				p, err := Compile(row.expr, env)
				if reason, ok := row.want.(string); ok {
					e, is := AsError(err)
					if !assert.True(t, is, row.expr) {
						continue
					}
					if reason == KindParse {
						assert.Equal(t, KindParse, e.Kind, row.expr)
					} else {
						assert.Equal(t, reason, e.Reason, "%s: %v", row.expr, err)
					}
					continue
				}
				require.NoError(t, err, row.expr)
				assert.Equal(t, row.want, p.Match(&Context{Event: flatEvent(t, row.event), Now: now}), row.expr)
			}
		})
	}
}
