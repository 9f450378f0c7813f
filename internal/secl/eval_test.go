// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// now is the time of every event of these tests.
const now = event.Time(1_700_000_000_000_000_000)

func flatEvent(tb testing.TB, text string) *event.Event {
	tb.Helper()
	e, err := event.ParseFlatEventAt([]byte(text), now)
	require.NoError(tb, err, text)
	return e
}

// environment has a variable and a macro of every type.
func environment(tb testing.TB) *Env {
	tb.Helper()
	env := &Env{Variables: NewVariables(), Macros: []Macro{
		{ID: "SHELLS", Expression: `["sh", "bash", ~"z*"]`},
		{ID: "IS_ROOT", Expression: `process.uid == 0`},
		{ID: "ROOT_SHELL", Expression: `IS_ROOT && process.comm in SHELLS`},
		{ID: "WRITE", Expression: `O_WRONLY|O_RDWR`},
		{ID: "NET", Expression: `10.0.0.0/8`},
		{ID: "NETS", Expression: `[10.0.0.0/8, 192.168.0.0/16]`},
		{ID: "PORTS", Expression: `[80, 443]`},
		{ID: "NAME", Expression: `"sh"`},
		{ID: "LIST", Values: []string{"a", `~"b*"`, `r"^c+$"`}},
		{ID: "ETC", Values: []string{"/etc/passwd", `~"/etc/cron*/**"`}},
		{ID: "LATER", Expression: `EARLIER`},
		{ID: "EARLIER", Expression: `process.pid == 7`},
	}}
	for _, v := range []VariableSpec{
		{Name: "b", Kind: event.KindBool, Default: Value{Bool: true}},
		{Name: "i", Kind: event.KindInt, Default: Value{Int: 7}},
		{Name: "s", Kind: event.KindString, Default: Value{String: "sh"}},
		{Name: "ip", Kind: event.KindIP, Default: Value{IP: netip.MustParsePrefix("10.0.0.0/8")}},
		{Name: "names", Kind: event.KindString, List: true, Default: Value{Strings: []string{"sh", "ls"}}},
		{Name: "ids", Kind: event.KindInt, List: true, Default: Value{Ints: []int64{7, 8}}},
		{Name: "ips", Kind: event.KindIP, List: true, Default: Value{IPs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::1/128")}}},
		{Name: "none", Kind: event.KindString, List: true},
		{Name: "unset", Kind: event.KindString},
		{Scope: ScopeProcess, Name: "key", Kind: event.KindString, Default: Value{String: "k1"}},
	} {
		_, err := env.Variables.Declare(v)
		require.NoError(tb, err)
	}
	return env
}

const (
	process = `{"process.pid":7,"process.ppid":3,"process.uid":1000,"process.comm":"sh","process.file.path":"/usr/bin/sh",
		"process.file.name":"sh","process.argv":["-la","--color=auto","-p","80","x"],"process.is_kworker":false,"process.tty_name":"pts0",
		"process.cap_effective":"CAP_NET_RAW|CAP_CHOWN","process.created_at":"now-10s","process.envp":["A=1","B=2"],
		"process.ancestors":[{"pid":3,"comm":"bash","uid":0,"file.path":"/bin/bash","argv":["-c","x"],"created_at":"now-1m"},
			{"pid":2,"comm":"nginx","uid":33,"file.path":"/usr/sbin/nginx","is_thread":true},{"pid":1,"comm":"init"}]}`
	open = `{"type":"open","open.file.path":"/etc/cron.d/x.sh","open.file.name":"x.sh","open.flags":"O_WRONLY|O_CREAT","open.retval":3,
		"open.file.mode":33261,"open.file.change_time":"now-1h","process.comm":"sh","open.syscall.path":"../etc/cron.d/x.sh"}`
	signal = `{"type":"signal","signal.type":"SIGKILL","signal.pid":9,"signal.target.pid":9,"signal.target.ancestors":[
			{"pid":5,"file.name":"sshd","file.path":"/usr/local/sbin/sshd","argv":["-D"]},{"pid":1,"file.name":"init","uid":9}],
		"process.ancestors":[{"pid":3,"comm":"bash","file.name":"bash"},{"pid":1}]}`
	connect = `{"type":"connect","connect.addr.ip":"10.1.2.3","connect.addr.port":443,"connect.addr.family":"AF_INET",
		"connect.addr.hostname":["API.Example.com","b.example.org"],"process.pid":7}`
)

func TestMatch(t *testing.T) {
	groups := map[string][]struct {
		expr, event string
		want        bool
	}{
		"bool": {
			{`true`, process, true},
			{`false`, process, false},
			{`process.is_kworker`, process, false},
			{`!process.is_kworker`, process, true},
			{`not process.is_kworker`, process, true},
			{`process.is_kworker == false`, process, true},
			{`process.is_kworker != false`, process, false},
			{`!process.is_kworker == false`, process, false}, // (!x) == false
			{`!!process.is_kworker`, process, false},
			{`process.is_kworker in [true, false]`, process, true},
			{`process.is_kworker in [true]`, process, false},
			{`process.is_kworker not in [true]`, process, true},
			{`process.ancestors.is_thread == true`, process, true},
			{`process.ancestors.is_thread != true`, process, false},
			{`process.ancestors.is_thread == false`, process, true},
			{`process.ancestors.is_kworker == true`, process, false},
			{`process.ancestors.is_thread in [true]`, process, true},
		},
		"int": {
			{`process.pid == 7`, process, true},
			{`7 == process.pid`, process, true},
			{`process.pid != 7`, process, false},
			{`process.pid < 8`, process, true},
			{`process.pid <= 7`, process, true},
			{`process.pid > 7`, process, false},
			{`process.pid >= 7`, process, true},
			{`8 > process.pid`, process, true},
			{`process.pid > process.ppid`, process, true},
			{`process.pid == process.ppid + 4`, process, true},
			{`process.pid - process.ppid == 4`, process, true},
			{`10 - process.ppid - 2 == 5`, process, true}, // + and - group to the left
			{`process.ppid + -1 == 2`, process, true},
			{`process.ppid - -1 == 4`, process, true},
			{`- process.pid == -7`, process, true},
			{`-process.pid == -7`, process, true},
			{`--1 == 1`, process, true},
			{`^0 == -1`, process, true},
			{`^process.pid == -8`, process, true},
			{`process.pid & 3 == 3`, process, true},
			{`process.pid | 8 == 15`, process, true},
			{`process.pid ^ 2 == 5`, process, true},
			{`12 & 10 | 1 == 8`, process, true}, // 12 & (10 | 1)
			{`1 | 12 & 10 == 9`, process, true}, // 1 | (12 & 10)
			{`6 ^ 3 & 1 == 7`, process, true},   // 6 ^ (3 & 1)
			{`1 + 2 & 2 == 3`, process, true},   // 1 + (2 & 2)
			{`(1 + 2) & 2 == 2`, process, true},
			{`process.pid in [1, 7]`, process, true},
			{`process.pid in [1, +7]`, process, true},
			{`process.pid not in [1, 7]`, process, false},
			{`process.pid in [1,2,3,4,5,6,8,9,10,11]`, process, false},
			{`process.pid in [1,2,3,4,5,6,7,8,9,10,11]`, process, true},
			{`process.pid allin [1, 7]`, process, true},
			{`process.pid + 1 in [8]`, process, true},
			{`open.flags in [ O_RDONLY, O_RDWR ]`, open, false},
			{`process.cap_effective & CAP_NET_RAW != 0`, process, true},
			{`process.cap_effective & CAP_SYS_ADMIN != 0`, process, false},
			{`open.flags & (O_CREAT|O_RDWR) > 0`, open, true},
			{`open.flags & O_CREAT > 0 && open.flags & O_EXCL == 0`, open, true},
			{`open.retval == EACCES`, `{"type":"open","open.retval":-13}`, true},
			{`open.retval == EPERM`, `{"type":"open","open.retval":"EPERM"}`, true},
			{`process.auid == AUDIT_AUID_UNSET`, `{"process.auid":4294967295}`, true},
		},
		// Errors other than EACCES and EPERM are only for rules that read the return value.
		"outcomes": {
			{`open.file.path == "/x"`, `{"type":"open","open.file.path":"/x","open.retval":"EACCES"}`, true},
			{`open.file.path == "/x"`, `{"type":"open","open.file.path":"/x","open.retval":"ENOENT"}`, false},
			{`open.file.path == "/x" && open.retval != 3`, `{"type":"open","open.file.path":"/x","open.retval":"ENOENT"}`, true},
			{`open.file.path == "/x" || open.retval == 1`, `{"type":"open","open.file.path":"/x","open.retval":"ENOENT"}`, true},
			{`process.pid == 7`, `{"type":"open","process.pid":7,"open.retval":"ENOENT"}`, false},
			{`process.pid == 7`, `{"type":"open","process.pid":7,"open.retval":"EPERM"}`, true},
			{`connect.addr.port == 1`, `{"type":"connect","connect.addr.port":1,"connect.retval":"EINPROGRESS"}`, true},
			{`connect.addr.port == 1`, `{"type":"connect","connect.addr.port":1,"connect.retval":"ECONNREFUSED"}`, false},
		},
		"int arrays": {
			{`process.ancestors.pid == 2`, process, true},
			{`process.ancestors.pid == 9`, process, false},
			{`process.ancestors.pid != 2`, process, false}, // not (any equal)
			{`process.ancestors.pid != 9`, process, true},
			{`process.ancestors.pid > 2`, process, true},
			{`process.ancestors.pid > 3`, process, false},
			{`process.ancestors.pid >= 3`, process, true},
			{`process.ancestors.pid < 2`, process, true},
			{`process.ancestors.pid < 1`, process, false},
			{`2 == process.ancestors.pid`, process, true},
			{`2 < process.ancestors.pid`, process, true},
			{`3 < process.ancestors.pid`, process, false},
			{`0 > process.ancestors.pid`, process, false},
			{`process.ppid == process.ancestors.pid`, process, true},
			{`process.ppid in process.ancestors.pid`, process, true},
			{`process.pid in process.ancestors.pid`, process, false},
			{`process.pid not in process.ancestors.pid`, process, true},
			{`process.ancestors.pid in [9, 1]`, process, true},
			{`process.ancestors.pid not in [9, 1]`, process, false},
			{`process.ancestors.pid in process.ancestors.uid`, process, false},
			{`process.ancestors.pid in ${ids}`, process, false},
			{`process.ancestors.pid == 1`, `{"process.pid":1}`, false},
			{`process.ancestors.pid != 1`, `{"process.pid":1}`, true},
			{`process.ancestors.length == 3`, process, true},
			{`process.ancestors.file.path.length > 14`, process, true},
		},
		"durations": {
			{`process.created_at < 11s`, process, true},
			{`process.created_at < 10s`, process, false},
			{`process.created_at <= 10s`, process, true},
			{`process.created_at == 10s`, process, true},
			{`process.created_at > 9999ms`, process, true},
			{`process.created_at < 1s + 10s`, process, true},
			{`process.created_at < 1m - 50s`, process, false},
			{`process.created_at >= 1m`, process, false},
			{`10s == process.created_at`, process, true},
			{`11s > process.created_at`, process, true},
			{`process.created_at - process.parent.created_at == 50s`, process, true}, // arithmetic: the value itself
			{`process.created_at + 0 < 1h`, process, false},
			{`open.file.change_time < 2h`, open, true},
			{`open.file.change_time > 30m`, open, true},
			{`open.file.modification_time > 1h`, open, true}, // absent is the epoch
			{`process.ancestors.created_at < 61s`, process, true},
			{`process.ancestors.created_at < 59s`, process, false},
			{`60s == 1m`, process, true},
			{`1000ms < 2s`, process, true},
			{`1s == 1000000000`, process, true},
		},
		"string": {
			{`process.comm == "sh"`, process, true},
			{`process.comm == "SH"`, process, false},
			{`"sh" == process.comm`, process, true},
			{`process.comm != "sh"`, process, false},
			{`process.comm == process.file.name`, process, true},
			{`process.comm != process.tty_name`, process, true},
			{`process.comm == "s*"`, process, false}, // a plain string has no stars
			{`process.comm =~ "s*"`, process, true},
			{`process.comm =~ ~"s*"`, process, true},
			{`process.comm == ~"s*"`, process, true},
			{`~"s*" == process.comm`, process, true},
			{`process.comm != ~"s*"`, process, false},
			{`process.comm !~ "s*"`, process, false},
			{`process.comm !~ "b*"`, process, true},
			{`process.comm =~ r"^s.$"`, process, true},
			{`process.comm == r"h"`, process, true}, // unanchored
			{`process.comm !~ r"^h"`, process, true},
			{`process.comm in ["bash", "sh"]`, process, true},
			{`process.comm in ["bash", ~"s*"]`, process, true},
			{`process.comm in ["bash", r"^sh"]`, process, true},
			{`process.comm not in ["bash", "zsh"]`, process, true},
			{`process.comm not in ["bash", ~"*h"]`, process, false},
			{`process.comm in ["a","b","c","d","e","f","g","sh"]`, process, true},
			{`process.comm in ["a","b","c","d","e","f","g","h"]`, process, false},
			{`process.comm allin ["sh", "bash"]`, process, true}, // as in
			{`process.user_session.k8s_username == ""`, process, true},
			{`process.args == "-la --color=auto -p 80 x"`, process, true},
			{`process.args =~ "*--color*"`, process, true},
			{`process.args =~ "*-p 80"`, process, false},
			{`open.syscall.path =~ r"^\.\./"`, open, true},
			{`open.syscall.path =~ "../*/x.sh"`, open, true}, // no path field: * crosses slashes
			{`"abc" =~ "a*c"`, process, true},
			{`"abc" in ["x", ~"*c"]`, process, true},
		},
		"string arrays": {
			{`process.argv == "x"`, process, true},
			{`process.argv != "x"`, process, false},
			{`process.argv != "y"`, process, true},
			{`process.argv == ~"--col*"`, process, true},
			{`process.argv =~ "--col*"`, process, true},
			{`process.argv !~ "--col*"`, process, false},
			{`process.argv in ["-p", "-q"]`, process, true},
			{`process.argv not in ["-q"]`, process, true},
			{`process.argv not in ["-q", "x"]`, process, false},
			{`process.argv allin ["x", "y"]`, process, true}, // as in: any
			{`["x", "y"] in process.argv`, process, true},
			{`["y"] in process.argv`, process, false},
			{`[~"--c*"] in process.argv`, process, true},
			{`["y"] not in process.argv`, process, true},
			{`"x" in process.argv`, process, true},
			{`~"-l*" in process.argv`, process, true},
			{`process.comm in process.argv`, process, false},
			{`process.argv in process.ancestors.argv`, process, true},
			{`process.ancestors.comm in ["nginx", "apache2"]`, process, true},
			{`process.ancestors.comm == "nginx"`, process, true},
			{`process.ancestors.comm != "nginx"`, process, false},
			{`process.ancestors.comm == "sh"`, process, false},
			{`process.ancestors.argv == "-c"`, process, true},
			{`process.ancestors.file.path =~ "/usr/sbin/*"`, process, true},
			{`process.comm in process.ancestors.comm`, process, false},
			{`process.argv[0] == "-la"`, process, true},
			{`process.argv[4] == "x"`, process, true},
			{`process.argv[5] == ""`, process, true},
			{`process.envs in ["A"]`, process, true},
			{`process.envp in ["B=2"]`, process, true},
			{`process.envs in ["B=2"]`, process, false},
			{`process.args_flags in ["l"]`, process, true},
			{`process.args_flags in ["la"]`, process, true},
			{`process.args_flags in ["color"]`, process, false},
			{`process.args_flags == "p"`, process, true},
			{`process.args_options in ["color=auto"]`, process, true},
			{`process.args_options == "p=80"`, process, true},
		},
		"paths": {
			{`open.file.path == "/etc/cron.d/x.sh"`, open, true},
			{`open.file.path == "/etc/cron.d/*"`, open, false},
			{`open.file.path =~ "/etc/cron.d/*"`, open, true},
			{`open.file.path == ~"/etc/*/x.sh"`, open, true},
			{`open.file.path =~ "/etc/*"`, open, false}, // one segment
			{`open.file.path =~ "/etc/**"`, open, true},
			{`open.file.path =~ "/etc/cron*/*.sh"`, open, true},
			{`open.file.path =~ "/**/x.sh"`, open, true},
			{`open.file.path =~ "/etc/**/x.sh"`, open, true},
			{`open.file.path =~ "/etc/cron.d/**/x.sh"`, open, true}, // ** is no segment here
			{`open.file.path =~ "/etc/cron.d/x.sh/**"`, open, true},
			{`open.file.path =~ "*/x.sh"`, open, false},
			{`open.file.path =~ "*/*/x.sh"`, open, true},
			{`open.file.path =~ "*/cron.d/*"`, open, true},
			{`open.file.path =~ "**/x.sh"`, open, true},
			{`open.file.path =~ "/etc/cron.d/x**h"`, open, true},
			{`open.file.path =~ "/etc**/x.sh"`, open, false}, // glued: one segment
			{`open.file.path in ["/etc/passwd", ~"/etc/cron.d/*"]`, open, true},
			{`open.file.path not in ["/etc/passwd", ~"/etc/cron.d/*"]`, open, false},
			{`open.file.path in ETC`, open, true},
			{`open.file.path != ""`, open, true},
			{`open.file.path == ""`, `{"type":"open"}`, true},
			{`open.file.path =~ "/**"`, `{"type":"open"}`, false}, // no name matches no glob
			{`open.file.path.length == 16`, open, true},
			{`open.file.name.length == 4`, open, true},
			{`open.file.name =~ "*.sh"`, open, true},
			{`open.file.name in [~"*.py", ~"*.sh"]`, open, true},
			{`open.file.extension == ".sh"`, open, true},
			{`open.file.extension == "sh"`, open, true},
			{`open.file.extension in ["PY", "SH"]`, open, true},
			{`open.file.extension == ~"s*"`, open, true},
			{`open.file.rights == 0`, `{"type":"open"}`, true},
			{`open.file.rights & S_IXUSR > 0 && open.file.mode & S_IFREG == S_IFREG`, open, true},
			{`open.filename == "/etc/cron.d/x.sh" && open.basename == "x.sh"`, open, true},
		},
		"addresses": {
			{`connect.addr.ip == 10.1.2.3`, connect, true},
			{`connect.addr.ip == 10.0.0.0/8`, connect, true},
			{`connect.addr.ip == 10.9.9.9/8`, connect, true}, // host bits do not count
			{`connect.addr.ip != 10.0.0.0/8`, connect, false},
			{`connect.addr.ip == ::ffff:10.1.2.3`, connect, true},
			{`connect.addr.ip in 10.0.0.0/8`, connect, true},
			{`connect.addr.ip not in 10.0.0.0/8`, connect, false},
			{`connect.addr.ip in [192.168.0.0/16, 10.1.2.3]`, connect, true},
			{`connect.addr.ip in [192.168.0.0/16, ::1]`, connect, false},
			{`connect.addr.ip allin [10.0.0.0/8, 10.1.0.0/16]`, connect, true},
			{`connect.addr.ip allin [10.0.0.0/8, 10.2.0.0/16]`, connect, false},
			{`connect.addr.ip in NETS && connect.addr.ip in NET && connect.addr.port in PORTS`, connect, true},
			{`connect.addr.ip in ${ips}`, connect, true},
			{`connect.addr.ip == ${ip}`, connect, true},
			{`${ips} in [10.0.0.0/8]`, connect, true},
			{`${ips} allin [10.0.0.0/8]`, connect, false},
			{`${ips} not in [11.0.0.0/8]`, connect, true},
			{`${ips} in ${ips}`, connect, true},
			{`connect.addr.ip == 10.1.2.3`, `{"type":"connect","connect.addr.ip":"10.0.0.0/8"}`, true}, // either holds the other
			{`connect.addr.ip == 2001:db8::/32`, `{"type":"connect","connect.addr.ip":"2001:db8::5"}`, true},
			{`connect.addr.ip == fe80::1`, `{"type":"connect","connect.addr.ip":"fe80::1"}`, true},
			{`connect.addr.ip == 0.0.0.0/0`, `{"type":"connect"}`, false},
			{`connect.addr.ip == 0.0.0.0/0`, `{"type":"connect","connect.addr.ip":"::1"}`, false},
			{`connect.addr.is_public`, connect, false},
			{`connect.addr.is_public`, `{"type":"connect","connect.addr.ip":"8.8.8.8"}`, true},
			{`connect.addr.family == AF_INET`, connect, true},
			{`connect.addr.hostname == "api.example.COM"`, connect, true},
			{`connect.addr.hostname in ["x", ~"*.EXAMPLE.org"]`, connect, true},
			{`connect.addr.hostname in ["x", ~"*.example.net"]`, connect, false},
			{`bind.addr.port == 80 && bind.addr.ip == 0.0.0.0`, `{"type":"bind","bind.addr.ip":"0.0.0.0","bind.addr.port":80}`, true},
		},
		"precedence": {
			// Same precedence, to the right: a && (b || c), a || (b && c).
			{`false && true || true`, process, false},
			{`(false && true) || true`, process, true},
			{`true || true && false`, process, true},
			{`process.pid == 0 && process.pid == 7 || process.pid == 7`, process, false},
			{`process.pid == 7 || process.pid == 7 && process.pid == 0`, process, true},
			{`process.pid == 0 and process.pid == 7 or process.pid == 7`, process, false},
			{`true == process.pid == 7`, process, true}, // true == (process.pid == 7)
		},
		"macros": {
			{`process.comm in SHELLS`, process, true},
			{`process.tty_name in SHELLS`, process, false},
			{`IS_ROOT`, process, false},
			{`!IS_ROOT && process.comm in SHELLS`, process, true},
			{`ROOT_SHELL`, `{"process.uid":0,"process.comm":"zsh"}`, true},
			{`open.flags & WRITE > 0`, open, true},
			{`process.comm == NAME`, process, true},
			{`process.comm in LIST`, `{"process.comm":"bx"}`, true},
			{`process.comm in LIST`, `{"process.comm":"cc"}`, true},
			{`process.comm in LIST`, `{"process.comm":"cd"}`, false},
			{`LATER`, process, true},
			{`process.pid in PORTS`, process, false},
			{`["bash"] in SHELLS`, process, true},
		},
		"iterators": {
			{`process.ancestors[A].comm == "nginx" && process.ancestors[A].pid == 2`, process, true},
			{`process.ancestors[A].comm == "nginx" && process.ancestors[A].pid == 3`, process, false},
			{`process.ancestors.comm == "nginx" && process.ancestors.pid == 3`, process, true},
			{`process.ancestors[A].comm == "nginx" && process.ancestors[B].pid == 3`, process, true},
			{`process.ancestors[A].comm == "nginx" && process.ancestors[B].pid == 3 && process.ancestors[B].uid == 33`, process, false},
			{`process.ancestors[A].comm != "x"`, process, true},
			{`process.ancestors[A].comm != "x"`, `{"process.pid":1}`, false}, // nothing to bind
			{`process.ancestors[A].argv in ["-c"] && process.ancestors[A].comm == "bash"`, process, true},
			{`process.ancestors[A].argv[0] == "-c"`, process, true},
			{`process.ancestors[0].comm == "bash"`, process, true},
			{`process.ancestors[1].comm == "bash"`, process, false},
			{`process.ancestors[9].comm == ""`, process, true},
			{`process.ancestors[9].argv[0] == ""`, process, true},
			{`process.parent.comm == "bash"`, process, true},
			{`process.parent.comm == ""`, `{"process.pid":1}`, true},
			{`process.parent.file.path == "/bin/bash"`, process, true},
			{`process.parent.interpreter.file.name == ""`, process, true},
			{`process.ancestors.filename == "/usr/sbin/nginx" && process.ancestors.name == "init"`, process, true},
		},
		"lineages of other processes": {
			{`signal.target.ancestors.file.name == "sshd"`, signal, true},
			{`signal.target.ancestors.file.name == "bash"`, signal, false}, // the sender's
			{`process.ancestors.file.name == "bash"`, signal, true},
			{`signal.target.ancestors.file.name != "sshd"`, signal, false},
			{`signal.target.ancestors.file.path =~ "/usr/**/sshd"`, signal, true},
			{`signal.target.ancestors.pid in [1, 5]`, signal, true},
			{`signal.target.ancestors.argv in ["-D"]`, signal, true},
			{`signal.target.ancestors[A].file.name == "sshd" && signal.target.ancestors[A].pid == 5`, signal, true},
			{`signal.target.ancestors[A].file.name == "sshd" && signal.target.ancestors[A].pid == 1`, signal, false},
			{`signal.target.ancestors[A].pid == 1 && process.ancestors[B].comm == "bash"`, signal, true},
			{`signal.target.ancestors[A].pid == 5 && process.ancestors[B].comm == "init"`, signal, false},
			{`signal.target.ancestors[A].pid == process.ancestors[B].pid`, signal, true}, // 1
			{`signal.target.ancestors[A].uid == 0 && process.ancestors[B].pid == signal.target.ancestors[A].pid`, signal, false},
			{`signal.target.ancestors[0].pid == 5 && signal.target.ancestors[1].pid == 1 && signal.target.ancestors[2].pid == 0`, signal, true},
			{`signal.target.ancestors[0].argv[0] == "-D"`, signal, true},
			{`signal.target.ancestors.length == 2 && process.ancestors.length == 2`, signal, true},
			{`signal.target.parent.pid == 5 && signal.target.pid == 9`, signal, true},
			{`signal.target.ancestors.length == 0`, `{"type":"signal"}`, true},
			{`signal.target.ancestors[A].pid != 1`, `{"type":"signal","process.ancestors":[{"pid":3}]}`, false},
			{`signal.target.ancestors.pid == 5`, `{"type":"open"}`, false},
			{`"%{signal.target.ancestors.pid}" == "5,1"`, signal, true},
			{
				`ptrace.tracee.ancestors[X].comm == "a" && ptrace.tracee.ancestors[X].interpreter.file.name == "python3"`,
				`{"type":"ptrace","ptrace.tracee.ancestors":[{"comm":"b"},{"comm":"a","interpreter.file.name":"python3"}]}`, true,
			},
			{`ptrace.tracee.ancestors.length == 1 && ptrace.tracee.parent.comm == "a"`, `{"type":"ptrace","ptrace.tracee.ancestors.comm":["a"]}`, true},
		},
		"variables": {
			{`${b}`, process, true},
			{`!${b}`, process, false},
			{`process.pid == ${i}`, process, true},
			{`${i} + 1 == 8`, process, true},
			{`process.comm == ${s}`, process, true},
			{`process.comm in ${names}`, process, true},
			{`process.tty_name in ${names}`, process, false},
			{`process.comm not in ${none}`, process, true},
			{`process.pid in ${ids}`, process, true},
			{`process.argv in ${names}`, process, false},
			{`${names} in ["ls"]`, process, true},
			{`${names} == "ls"`, process, true},
			{`${names.length} == 2 && ${none.length} == 0 && ${s.length} == 2`, process, true},
			{`${unset} == ""`, process, true},
			{`${process.key} == "k1"`, process, true},
			{`${process.pid} == 7`, process, true},
			{`${builtins.uuid4} != ${builtins.uuid4}`, process, true},
			{`"/proc/${process.pid}/%{process.comm}" == "/proc/7/sh"`, process, true},
			{`process.file.path == "/usr/bin/${s}"`, process, true},
			{`process.comm in ["x", "${s}"]`, process, true},
			{`process.comm in ["x", "${s}x", ~"b*"]`, process, false},
			{`"${names}|${ids}|${ip}|${unset}|" == "sh,ls|7,8|10.0.0.0/8||"`, process, true},
			{`"%{process.ancestors.comm}" == "bash,nginx,init"`, process, true},
			{`%{process.comm} == "sh"`, process, true},
			{`%{process.comm.length} == 2`, process, true},
			{`%{process.argv.length} == 5`, process, true},
			{`process.comm in %{process.argv}`, process, false},
			{`"a$b${" == "a$b${" && "100%" == "100%"`, process, true}, // no reference
			{`process.ancestors.comm =~ "n*" && "%{process.comm}-${i}" == "sh-7"`, process, true},
		},
		"event types": {
			{`open.flags == 0`, `{"type":"unlink"}`, false},
			{`open.flags == 0`, `{"type":"open"}`, true},
			{`process.comm == "sh"`, open, true},
			{`exec.comm == "sh" && process.comm == "sh"`, `{"type":"exec","exec.comm":"sh"}`, true},
			{`exec.comm == "sh"`, `{"type":"exec","process.comm":"sh"}`, true},
			{`exec.comm == "sh"`, `{"type":"exit","process.comm":"sh"}`, false},
			{`exit.cause == SIGNALED && exit.code == SIGKILL`, `{"type":"exit","exit.cause":"SIGNALED","exit.code":9}`, true},
			{`container.id == "c1" && process.container.id == container.id`, `{"container.id":"c1"}`, true},
			{`container.tags in ["image_name:x"]`, `{"container.tags":["image_name:x"]}`, true},
			{`cgroup.id == "/a"`, `{"process.cgroup.id":"/a"}`, true},
			{`chmod.mode == S_IXUSR && chmod.file.destination.rights == S_IXUSR`, `{"type":"chmod","chmod.file.destination.mode":"S_IXUSR"}`, true},
			{`rename.new.filename == "/b"`, `{"type":"rename","rename.file.destination.path":"/b"}`, true},
			{`chown.file.destination.uid == -1`, `{"type":"chown","chown.uid":-1}`, true},
			{`event.origin == "ebpf"`, `{}`, false},
			{`event.timestamp == 5`, `{"event.timestamp":5}`, true},
		},
		"words and spaces": {
			{"process.comm == \"sh\" # a comment", process, true},
			{"process.comm // who\n == \"sh\"\n\t&&\nprocess.pid == 7 // end", process, true},
			{`process.comm = = "sh"`, process, true}, // operators are two tokens
			{`process.comm ! = "x" & & process.pid > = 7 | | false`, process, true},
			{`process.comm not   in ["x"]`, process, true},
			{`process.comm == "sh" and not process.is_kworker or false`, process, true},
			{`process.comm =~r"^s"`, process, true},
			{`process.args == "a \" b"`, `{"process.args":"a \\\" b"}`, true}, // the backslash is kept
			{`process.args == "C:\dir\\"`, `{"process.args":"C:\\dir\\\\"}`, true},
			{`process.pid in [1,7]`, process, true},
			{`open.flags in [O_RDONLY,O_RDWR]`, open, false},
			{`process.comm == "ürsh"`, `{"process.comm":"ürsh"}`, true},
		},
	}
	env := environment(t)
	c := &Context{Now: now}
	for name, group := range groups {
		t.Run(name, func(t *testing.T) {
			for _, tt := range group {
				p, err := Compile(tt.expr, env)
				require.NoError(t, err, tt.expr)
				c.Event = flatEvent(t, tt.event)
				assert.Equal(t, tt.want, p.Match(c), "%s\n%s", tt.expr, tt.event)
				assert.Equal(t, tt.want, p.Match(c), "again: %s", tt.expr)
			}
		})
	}
}
