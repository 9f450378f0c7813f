// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is a running process that cannot be mistaken for another any more.
type process struct {
	pidfd int
	dir   int // O_PATH descriptor of its directory in /proc
}

func (p *process) close() {
	_ = unix.Close(p.pidfd)
	_ = unix.Close(p.dir)
}

// nsPerTick is the unit of starttime in /proc/<pid>/stat: USER_HZ is 100 on every architecture that Picket runs on.
const nsPerTick = 1_000_000_000 / 100

// open takes hold of the process of an event. A pid that was given to another process since is told by its start: who acted
// at a time of the boot clock had started before, and who came after that process had ended started later.
func (o *Origin) open(t *Target) (*process, error) {
	boot, err := o.lastSeen(t.ProcessID)
	if err != nil {
		return nil, err
	}
	if !o.hostPIDs {
		return nil, ErrNamespace
	}
	pidfd, err := unix.PidfdOpen(int(t.PID), 0)
	if err != nil {
		return nil, gone(err, "pidfd_open")
	}
	p := &process{pidfd: pidfd, dir: -1}
	if p.dir, err = unix.Open("/proc/"+strconv.FormatUint(uint64(t.PID), 10), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		_ = unix.Close(pidfd)
		return nil, gone(err, "open /proc/<pid>")
	}
	start, err := p.start()
	switch {
	case err != nil:
	case start > boot:
		err = ErrReused
	case p.ended():
		err = ErrGone
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func gone(err error, what string) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ended says whether all threads have ended; a process may outlive its first one.
func (p *process) ended() bool {
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// start is when the process started, by the boot clock in ns, rounded down to a tick.
func (p *process) start() (uint64, error) {
	fd, err := unix.Openat(p.dir, "stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err, "open /proc/<pid>/stat")
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return 0, gone(err, "read /proc/<pid>/stat")
	}
	return startOf(buf[:n])
}

var errStat = errors.New("/proc/<pid>/stat has another form than proc(5) says")

// startOf reads the field starttime, the 22nd. The second is a name in parentheses, which may hold anything.
func startOf(stat []byte) (uint64, error) {
	const afterName = 22 - 3 // from the third on
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= afterName {
		return 0, errStat
	}
	ticks, err := strconv.ParseUint(string(fields[afterName]), 10, 64)
	if err != nil || ticks > 1<<63/nsPerTick {
		return 0, errStat
	}
	return ticks * nsPerTick, nil
}
