// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pid1 is the pid of init.
const pid1 = 1

// Kill sends a signal to the process of an event.
func (o *Origin) Kill(t *Target, signal int) error {
	if _, err := o.lastSeen(t.ProcessID); err != nil {
		return err
	}
	if t.PID <= pid1 || int(t.PID) == os.Getpid() {
		return ErrProtected
	}
	p, err := o.open(t)
	if err != nil {
		return err
	}
	defer p.close()
	return p.signal(signal)
}

func (p *process) signal(number int) error {
	if err := unix.PidfdSendSignal(p.pidfd, unix.Signal(number), nil, 0); err != nil {
		return gone(err, "pidfd_send_signal")
	}
	return nil
}

// KillCgroup sends a signal to all processes of the cgroup of an event and of those below it, or with container of the whole
// container that it belongs to, and says how many there were. The process of the event may have ended: the id of its cgroup tells whether
// that is still the same one.
func (o *Origin) KillCgroup(t *Target, signal int, container bool) (n int, err error) {
	if _, err := o.lastSeen(t.ProcessID); err != nil {
		return 0, err
	}
	if !o.hostPIDs {
		return 0, ErrNamespace
	}
	mount, err := cgroup2Mount()
	if err != nil {
		return 0, err
	}
	return killCgroup(mount, t, signal, container)
}

func killCgroup(mount string, t *Target, signal int, container bool) (n int, err error) {
	target := t.CgroupPath
	switch {
	case !path.IsAbs(target), target != path.Clean(target), t.CgroupID == 0: // what is above our root begins with /..
		return 0, errors.New("the cgroup of the process is not known")
	case target == "/":
		return 0, errors.New("the process is in the root cgroup, with much else of the host")
	case inode(mount+target) != t.CgroupID:
		return 0, errors.New("the cgroup is gone")
	}
	if container {
		if target = containerCgroup(target, t.ContainerID); target == "" {
			return 0, errors.New("the process is in no container with a cgroup of its own")
		}
	}
	dir := mount + target
	const rounds = 16 // for each process alone: who forks meanwhile is found by the next
	seen := map[int]bool{}
	for round := 0; ; round++ {
		pids, err := procs(dir)
		if err != nil {
			return len(seen), err
		}
		if slices.Contains(pids, pid1) || slices.Contains(pids, os.Getpid()) {
			return len(seen), ErrProtected
		}
		fresh := pids[:0]
		for _, pid := range pids {
			if !seen[pid] {
				seen[pid] = true
				fresh = append(fresh, pid)
			}
		}
		if len(fresh) == 0 {
			break // all have the signal, and who has SIGKILL forks no more
		}
		if round == rounds {
			return len(seen), errors.New("its processes fork faster than they can be killed")
		}
		// cgroup.kill is there since kernel 5.14, for root, and where the hierarchy is not mounted read-only, as it is in containers and
		// with systemd's ProtectControlGroups. Whatever it says, each process can be signalled without it.
		if signal == int(unix.SIGKILL) && os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0) == nil {
			break
		}
		for _, pid := range fresh {
			if err := signalMember(pid, target, signal); err != nil && !errors.Is(err, ErrGone) {
				return len(seen), err
			}
		}
		if signal != int(unix.SIGKILL) {
			break
		}
	}
	if len(seen) == 0 {
		return 0, ErrGone
	}
	return len(seen), nil
}

func inode(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// containerCgroup is the uppermost cgroup on the way to target that has the id of the container in its name.
func containerCgroup(target, id string) string {
	if id == "" {
		return ""
	}
	found := ""
	for ; target != "/"; target = path.Dir(target) {
		if strings.Contains(path.Base(target), id) {
			found = target
		}
	}
	return found
}

// Bounds of a walk through cgroups.
const (
	maxCgroups = 4096
	maxProcs   = 65536
)

var errTooMany = errors.New("too many cgroups or processes")

// procs lists the processes of a cgroup and of those below it.
func procs(dir string) (pids []int, err error) {
	dirs := []string{dir}
	for i := 0; i < len(dirs); i++ {
		entries, err := os.ReadDir(dirs[i])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() {
				dirs = append(dirs, dirs[i]+"/"+e.Name())
			}
		}
		if pids, err = appendProcs(pids, dirs[i]); err != nil {
			return nil, err
		}
		if len(dirs) > maxCgroups || len(pids) > maxProcs {
			return nil, errTooMany
		}
	}
	return pids, nil
}

func appendProcs(pids []int, dir string) ([]int, error) {
	f, err := os.Open(dir + "/cgroup.procs")
	if errors.Is(err, fs.ErrNotExist) {
		return pids, nil
	} else if err != nil {
		return pids, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if pid, err := strconv.Atoi(lines.Text()); err == nil && pid > 0 { // 0: of a pid namespace that is not ours
			pids = append(pids, pid)
		}
	}
	// The file of a threaded cgroup cannot be read; its processes are those of the cgroup above.
	if err := lines.Err(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENODEV) {
		return pids, err
	}
	return pids, nil
}

// signalMember signals a process if it is in the cgroup still, or below.
func signalMember(pid int, target string, signal int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return gone(err, "pidfd_open")
	}
	p := process{pidfd: pidfd, dir: -1}
	defer p.close()
	at := cgroupOf(pid)
	if at != target && !strings.HasPrefix(at, target+"/") {
		return nil
	}
	return p.signal(signal)
}

// cgroupOf is the path of a process on the v2 hierarchy; empty if it is gone.
func cgroupOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(p, "\n")
		}
	}
	return ""
}

// cgroup2Mount finds where the v2 hierarchy is mounted.
func cgroup2Mount() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", errors.New("the cgroup v2 hierarchy is not mounted")
}
