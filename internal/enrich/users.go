// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxNamespaces bounds the mount namespaces whose users are known at a time.
	maxNamespaces = 256
	// maxUserFile and maxUserLine bound what is read of a passwd or group file, in bytes; both are the watched
	// container's, who can write there what it likes.
	maxUserFile = 4 << 20
	maxUserLine = 64 << 10
	// maxUsers bounds the entries that are kept of one file.
	maxUsers = 65536
	// maxUserName is what useradd(8) allows on Debian and RHEL, several times over.
	maxUserName = 256
	// recheck is how often a file is looked at for changes at most.
	recheck = 5 * time.Second
	// patience is how long a container's file is waited for, and maxReaders how many may be read at a time: a reader that is
	// stuck in a file system of the container's own counts until that answers.
	patience   = 20 * time.Millisecond
	maxReaders = 8
)

// Users names user and group ids as a process's mount namespace has them in /etc/passwd and /etc/group. It belongs to one
// goroutine.
type Users struct {
	host   string // root directory of the collector's mount namespace
	proc   string
	self   uint32
	now    func() time.Time
	spaces *lru[uint32, *namespace]
	last   *namespace // that of the last call, which is mostly that of the next

	readers atomic.Int32
	read    func(mntns, pid uint32, file string, known fileContent) fileContent // readFile but for tests
}

// UsersOption changes where Users reads.
type UsersOption func(*Users)

// WithHostRoot makes dir the root in which the users of the collector's own mount namespace are, instead of /.
func WithHostRoot(dir string) UsersOption { return func(u *Users) { u.host = dir } }

// WithProc makes dir the proc file system, instead of /proc.
func WithProc(dir string) UsersOption { return func(u *Users) { u.proc = dir } }

// WithMountNamespace makes id the collector's own mount namespace, instead of what /proc says.
func WithMountNamespace(id uint32) UsersOption { return func(u *Users) { u.self = id } }

// WithTime makes now the clock, instead of time.Now.
func WithTime(now func() time.Time) UsersOption { return func(u *Users) { u.now = now } }

// NewUsers returns Users that read the files of the machine.
func NewUsers(opts ...UsersOption) *Users {
	u := &Users{host: "/", proc: "/proc", now: time.Now, spaces: newLRU[uint32, *namespace](maxNamespaces)}
	u.read = u.readFile
	for _, o := range opts {
		o(u)
	}
	if u.self == 0 {
		u.self = namespaceOf(filepath.Join(u.proc, "self/ns/mnt"))
	}
	return u
}

// namespaceOf returns the inode number of a namespace file, or 0.
func namespaceOf(path string) uint32 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return uint32(st.Ino) //nolint:gosec // the kernel numbers namespaces with 32 bits
}

// User returns the name of a user in the mount namespace mntns, which pid lives in. Empty if it has none, or if it cannot
// be read.
func (u *Users) User(mntns, pid, uid uint32) string {
	return u.space(mntns).users.name(u, mntns, pid, "etc/passwd", uid)
}

// Group is User for groups.
func (u *Users) Group(mntns, pid, gid uint32) string {
	return u.space(mntns).groups.name(u, mntns, pid, "etc/group", gid)
}

func (u *Users) space(mntns uint32) *namespace {
	if u.last != nil && u.last.id == mntns {
		return u.last
	}
	s, ok := u.spaces.get(mntns)
	if !ok {
		s = &namespace{id: mntns}
		u.spaces.put(mntns, s)
	}
	u.last = s
	return s
}

// namespace holds the names of a mount namespace.
type namespace struct {
	id            uint32
	users, groups nameTable
}

// nameTable is one file's content. The file is read when it is asked for first, and looked at again after recheck.
type nameTable struct {
	fileContent
	read    bool
	checked time.Time
	// pending delivers what a reader in the background has found; nil if there is none.
	pending chan fileContent
}

// fileContent is what was read of a file.
type fileContent struct {
	names map[uint32]string
	state fileState
}

// fileState tells a file from a changed one.
type fileState struct {
	dev, ino uint64
	size     int64
	mtime    int64
	ctime    int64
}

func (t *nameTable) name(u *Users, mntns, pid uint32, file string, id uint32) string {
	if t.pending != nil {
		select {
		case t.fileContent = <-t.pending:
			t.pending = nil
		default:
			return t.names[id]
		}
	}
	if now := u.now(); !t.read || now.Sub(t.checked) >= recheck || now.Before(t.checked) {
		t.read, t.checked = true, now
		t.refresh(u, mntns, pid, file)
	}
	return t.names[id]
}

// refresh looks at the file. A container's may be on a file system that its owner serves and that never answers (FUSE), so
// it is read in the background, and waited for only for a moment: the names come later, or never.
func (t *nameTable) refresh(u *Users, mntns, pid uint32, file string) {
	known := t.fileContent
	if mntns == u.self || mntns == 0 {
		t.fileContent = u.read(mntns, pid, file, known)
		return
	}
	if u.readers.Add(1) > maxReaders {
		u.readers.Add(-1)
		return
	}
	found := make(chan fileContent, 1)
	go func() {
		defer u.readers.Add(-1)
		found <- u.read(mntns, pid, file, known)
	}()
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case t.fileContent = <-found:
	case <-wait.C:
		t.pending = found
	}
}

// readFile reads the file if it has changed. If it cannot be opened, as when the process is gone, what was known stays.
func (u *Users) readFile(mntns, pid uint32, file string, known fileContent) fileContent {
	root, err := u.openRoot(mntns, pid)
	if err != nil {
		return known
	}
	f, st, err := openBelow(root, file)
	_ = unix.Close(root)
	if err != nil {
		return known
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if st == known.state {
		return known
	}
	return fileContent{names: parseNames(f), state: st}
}

// openRoot opens the root directory of a mount namespace, which is seen through a process. The error says, too, that the
// process is in another one: the pid was taken over.
func (u *Users) openRoot(mntns, pid uint32) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	if mntns == u.self || mntns == 0 {
		return unix.Open(u.host, flags, 0)
	}
	dir := filepath.Join(u.proc, strconv.FormatUint(uint64(pid), 10))
	fd, err := unix.Open(filepath.Join(dir, "root"), flags, 0)
	if err != nil {
		return -1, err
	}
	if namespaceOf(filepath.Join(dir, "ns/mnt")) != mntns {
		_ = unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// openBelow opens a regular file below the directory root; symbolic links cannot lead out of it. What else a container can
// put there does not block: a FIFO is opened without waiting for its other end, and not read.
func openBelow(root int, file string) (*os.File, fileState, error) {
	var st unix.Stat_t
	fd, err := unix.Openat2(root, file, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fileState{}, err
	}
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.EINVAL
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fileState{}, err
	}
	state := fileState{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()} //nolint:unconvert // 32 bits elsewhere
	return os.NewFile(uintptr(fd), file), state, nil
}

// parseNames reads lines of name:password:id:… as passwd(5) and group(5) have them. The first name of an id counts, as
// for getpwuid(3). What is no such line is left out, and so is what is beyond the limits.
func parseNames(r io.Reader) map[uint32]string {
	names := map[uint32]string{}
	br := bufio.NewReaderSize(io.LimitReader(r, maxUserFile), maxUserLine)
	for len(names) < maxUsers {
		line, err := br.ReadSlice('\n')
		for long := err; long == bufio.ErrBufferFull; { //nolint:errorlint // as ReadSlice documents
			line = nil
			_, long = br.ReadSlice('\n')
			err = long
		}
		if name, id, ok := parseName(bytes.TrimRight(line, "\r\n")); ok {
			if _, known := names[id]; !known {
				names[id] = name
			}
		}
		if err != nil {
			break
		}
	}
	return names
}

func parseName(line []byte) (name string, id uint32, ok bool) {
	n, rest, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(n) == 0 || len(n) > maxUserName || n[0] == '#' || n[0] == '+' || n[0] == '-' { // + and - are of NIS
		return "", 0, false
	}
	_, rest, ok = bytes.Cut(rest, []byte{':'})
	if !ok {
		return "", 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte{':'})
	v, err := strconv.ParseUint(string(digits), 10, 32)
	if err != nil {
		return "", 0, false
	}
	return string(n), uint32(v), true
}
