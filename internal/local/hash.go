// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"crypto/sha1" //nolint:gosec // what lists of known files have
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/picketsec/picket/internal/event"
)

// Bounds of hashing.
const (
	hashCacheSize = 500
	hashBytes     = 64 << 20 // per second, and at once
	hashTimeout   = 500 * time.Millisecond
	hashPause     = 10 * time.Second // after one that took longer
)

// fileVersion is a file as it is between two changes.
type fileVersion struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// Hasher hashes files. It is safe for concurrent use.
//
// A watched process can mount a file system that answers late or never, so a file is hashed by a goroutine of its own: one at
// a time, and none for a while after one that took too long.
type Hasher struct {
	cache  *lru.Cache[fileVersion, []string]
	budget *rate.Limiter // bytes
	// Timeout is how long a file may take; it is for tests.
	Timeout time.Duration

	mu    sync.Mutex
	busy  bool
	pause time.Time
	ns    uint32 // mount namespace of the collector
}

// NewHasher makes a Hasher.
func NewHasher() *Hasher {
	cache, err := lru.New[fileVersion, []string](hashCacheSize)
	if err != nil {
		panic(err) // only of a size that is not positive
	}
	return &Hasher{
		cache: cache, budget: rate.NewLimiter(hashBytes, hashBytes), Timeout: hashTimeout,
		ns: uint32(inodeOf("/proc/self/ns/mnt")), //nolint:gosec // proc's inode numbers have 32 bits
	}
}

func inodeOf(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// slowFilesystems answer from elsewhere: another process, or another machine.
var slowFilesystems = []string{"fuse", "nfs", "cifs", "smb", "9p", "ceph", "afs", "autofs"}

// Hash hashes a file of an event of at most limit bytes: "sha1:hex", "sha256:hex". executable says that it is what the process
// runs. state is what Datadog's agent has as hash_state; err says more if that is not Done.
func (h *Hasher) Hash(o *Origin, t *Target, f *event.File, executable bool, limit int64) (hashes []string, state string, err error) {
	if _, err := o.lastSeen(t.ProcessID); err != nil {
		return nil, event.HashFailed, err
	}
	switch {
	case f == nil || f.Path == "" || f.Inode == 0:
		return nil, event.HashPathnameResolutionError, errors.New("the file is not known")
	case isSlow(f.Filesystem):
		return nil, event.HashFailed, fmt.Errorf("files on %s are not hashed", f.Filesystem)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy || time.Now().Before(h.pause) {
		return nil, event.HashWasRateLimited, errors.New("a file system does not answer")
	}
	type result struct {
		hashes []string
		state  string
		err    error
	}
	done := make(chan result, 1)
	job := hashJob{hasher: h, origin: o, target: *t, path: strings.Clone(f.Path), inode: f.Inode, executable: executable, limit: limit}
	h.busy = true
	go func() {
		var r result
		r.hashes, r.state, r.err = job.run()
		done <- r
	}()
	timeout := time.NewTimer(h.Timeout)
	defer timeout.Stop()
	select {
	case r := <-done:
		h.busy = false
		return r.hashes, r.state, r.err
	case <-timeout.C:
		h.pause = time.Now().Add(hashPause)
		go func() {
			<-done
			h.mu.Lock()
			h.busy = false
			h.mu.Unlock()
		}()
		return nil, event.HashFailed, fmt.Errorf("reading the file took longer than %s", h.Timeout)
	}
}

func isSlow(filesystem string) bool {
	for _, s := range slowFilesystems {
		if strings.HasPrefix(filesystem, s) {
			return true
		}
	}
	return false
}

// hashJob has copies of all that it reads: it may outlive the event.
type hashJob struct {
	hasher     *Hasher
	origin     *Origin
	target     Target
	path       string
	inode      uint64
	executable bool
	limit      int64
}

func (j *hashJob) run() ([]string, string, error) {
	file, err := j.open()
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, ErrGone) {
			return nil, event.HashFileNotFound, err
		}
		return nil, event.HashFileOpenError, err
	}
	defer unix.Close(file)
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil {
		return nil, event.HashFileOpenError, fmt.Errorf("fstat: %w", err)
	}
	switch {
	case st.Size > j.limit:
		return nil, event.HashFileTooBig, fmt.Errorf("the file has %d bytes", st.Size)
	case st.Size == 0:
		return nil, event.HashFileEmpty, errors.New("the file is empty")
	}
	version := fileVersion{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
	if hashes, ok := j.hasher.cache.Get(version); ok {
		return hashes, event.HashDone, nil
	}
	if !j.hasher.budget.AllowN(time.Now(), int(st.Size)) {
		return nil, event.HashWasRateLimited, fmt.Errorf("more than %d bytes in a second", hashBytes)
	}
	hashes, n, err := sum(file, j.limit)
	switch {
	case err != nil:
		return nil, event.HashFailed, err
	case n > j.limit:
		return nil, event.HashFileTooBig, errors.New("the file grew while it was read")
	}
	j.hasher.cache.Add(version, hashes)
	return hashes, event.HashDone, nil
}

// sum reads up to a byte more than limit.
func sum(pathFD int, limit int64) (hashes []string, n int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", pathFD)) // a regular file, so that opening it has no effect
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	sums := []struct {
		name string
		hash.Hash
	}{{"sha1", sha1.New()}, {"sha256", sha256.New()}} //nolint:gosec // as above
	n, err = io.Copy(io.MultiWriter(sums[0], sums[1]), io.LimitReader(f, limit+1))
	if err != nil {
		return nil, n, err
	}
	for _, s := range sums {
		hashes = append(hashes, s.name+":"+hex.EncodeToString(s.Sum(nil)))
	}
	return hashes, n, nil
}

var errOther = errors.New("another file is there by now")

// open finds the file as the process sees it, and returns an O_PATH descriptor. It is the file of the event if the inode number is the same.
func (j *hashJob) open() (int, error) {
	fd, err := j.openOf()
	// A process may end at any moment; its files are still there if they are the collector's too.
	ended := errors.Is(err, ErrGone) || errors.Is(err, ErrReused) || errors.Is(err, ErrNamespace)
	if !ended || j.target.MntNS != j.hasher.ns || j.hasher.ns == 0 {
		return fd, err
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return j.openIn(root)
}

// openOf finds it through the process.
func (j *hashJob) openOf() (int, error) {
	p, err := j.origin.open(&j.target)
	if err != nil {
		return -1, err
	}
	defer p.close()
	if j.executable {
		if fd, err := j.check(unix.Openat(p.dir, "exe", unix.O_PATH|unix.O_CLOEXEC, 0)); err == nil {
			return fd, nil
		}
	}
	root, err := unix.Openat(p.dir, "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, gone(err, "open /proc/<pid>/root")
	}
	defer unix.Close(root)
	return j.openIn(root)
}

func (j *hashJob) openIn(root int) (int, error) {
	return j.check(unix.Openat2(root, j.path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}))
}

// check refuses what is not the regular file of the event.
func (j *hashJob) check(fd int, err error) (int, error) {
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("it is no regular file")
	case st.Ino != j.inode:
		err = errOther
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
