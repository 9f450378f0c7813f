// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

func benchmarkToRecord(b *testing.B, c *converter, rec []byte, host *event.Host) {
	b.Helper()
	logs := plog.NewLogRecordSlice()
	var r sensor.Record
	b.ReportAllocs()
	for b.Loop() {
		if logs.Len() == 512 { // a batch
			logs = plog.NewLogRecordSlice()
		}
		if _, err := r.Decode(rec); err != nil {
			b.Fatal(err)
		}
		event.EncodeRecord(c.convert(&r), host, logs.AppendEmpty())
	}
}

// htons is a port as sockets have it.
func htons(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

// fileFacts are the facts of a File that a test can know.
type fileFacts struct {
	path, name, err string
	inode           uint64
	mode            uint32
	uid, gid        int64
	has             event.FileHas
}

func factsOf(f *event.File) fileFacts {
	return fileFacts{f.Path, f.Name, f.PathResolutionError, f.Inode, f.Mode, f.UID, f.GID, f.Has}
}

// onDisk is what the kernel knows of a file, under a path.
func onDisk(t *testing.T, file, path string) fileFacts {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(file, &st))
	return fileFacts{path, filepath.Base(path), "", st.Ino, st.Mode, int64(st.Uid), int64(st.Gid), event.HasInode | event.HasMode | event.HasOwner | event.HasMountID}
}

// nameOnly is a path of which nothing else is known.
func nameOnly(path string) fileFacts { return fileFacts{path: path, name: filepath.Base(path)} }

// without is a file of which members are not known, because the call changed them.
func (f fileFacts) without(m memberSet) fileFacts {
	file := event.File{Path: f.path, Name: f.name, PathResolutionError: f.err, Inode: f.inode, Mode: f.mode, UID: f.uid, GID: f.gid, Has: f.has}
	forget(&file, m)
	return factsOf(&file)
}

// fileTree makes the files of these tests: d/f, d/g, link → d/sub, lf → d/f. It returns their directory without symbolic links.
func fileTree(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "d", "sub"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d", "f"), []byte("f"), 0o640))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d", "g"), []byte("g"), 0o600))
	require.NoError(t, os.Symlink("d/sub", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("d/f", filepath.Join(dir, "lf")))
	// That a new link was followed is noted on disk until its access time is later than its change time (relatime), and
	// that cannot be done from the cache alone. The clock of such times has steps of up to 10 ms.
	made := time.Now()
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	for _, link := range []string{"link", "lf"} {
		require.Eventually(t, func() bool {
			late := time.Since(made) > 20*time.Millisecond
			_, err := os.Stat(filepath.Join(dir, link))
			return late && err == nil && r.lookup(lineage{}, r.ns, filepath.Join(dir, link), lookFollow).ok
		}, 10*time.Second, time.Millisecond)
	}
	return dir
}

func TestConvertFileOps(t *testing.T) {
	dir := fileTree(t)
	base := seg{bpf.SegBase, 0, walk(dir)}
	base2 := seg{bpf.SegBase2, 0, walk(dir)}
	str := func(s string) seg { return seg{bpf.SegString, 0, s} }
	str2 := func(s string) seg { return seg{bpf.SegString2, 0, s} }
	open := bpf.File{Inode: 33, Mode: unix.S_IFREG | 0o600, Uid: 4000001, Gid: 4000002, MountId: 22, Flags: bpf.FileValid, Fstype: chars("xfs")}
	opened := func(path string) fileFacts {
		return fileFacts{path, filepath.Base(path), "", 33, unix.S_IFREG | 0o600, 4000001, 4000002, event.HasInode | event.HasMode | event.HasOwner | event.HasMountID}
	}
	old := func(change func(*bpf.File)) seg {
		f := open
		change(&f)
		return seg{bpf.SegOld, 0, string(bytesOf(&f))}
	}
	f, g := filepath.Join(dir, "d/f"), filepath.Join(dir, "d/g")
	type want struct {
		file        fileFacts
		dest        *fileFacts
		source      string
		outcome     event.Outcome
		flags       []string
		path, path2 string // as the process gave them
		mode        uint32
	}
	mode := func(m uint32) *fileFacts { return &fileFacts{mode: m, has: event.HasMode} }
	ptr := func(f fileFacts) *fileFacts { return &f }
	const (
		ok      = event.OutcomeSuccess
		refused = event.OutcomeRefused
	)
	eacces := -int64(unix.EACCES)
	for name, tt := range map[string]struct {
		typ    event.Type
		retval int64
		op     bpf.FileOp
		segs   []seg
		want   want
	}{
		"open": {
			event.TypeOpen, 5,
			bpf.FileOp{File: open, Flags: unix.O_RDWR | unix.O_APPEND},
			[]seg{{bpf.SegPath, 0, walk("/var/log/x")}},
			want{file: opened("/var/log/x"), source: event.FileSourceFD, outcome: ok, flags: []string{"O_RDWR", "O_APPEND"}},
		},
		"open that creates": {
			event.TypeOpen, 5,
			bpf.FileOp{File: open, Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, Mode: unix.S_IFREG | 0o4755},
			[]seg{{bpf.SegPath, 0, walk("/var/log/x")}},
			want{file: opened("/var/log/x"), dest: mode(0o4755), source: event.FileSourceFD, outcome: ok, flags: []string{"O_WRONLY", "O_CREAT", "O_TRUNC"}, mode: unix.S_IFREG | 0o4755},
		},
		"open of the root directory": {
			event.TypeOpen, 5,
			bpf.FileOp{File: open, Flags: unix.O_RDONLY},
			[]seg{{bpf.SegPath, 0, ""}},
			want{file: fileFacts{"/", "", "", 33, unix.S_IFREG | 0o600, 4000001, 4000002, opened("").has}, source: event.FileSourceFD, outcome: ok, flags: []string{"O_RDONLY"}},
		},
		"refused open": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_WRONLY},
			[]seg{str(f)},
			want{file: onDisk(t, f, f), source: event.FileSourcePostStat, outcome: refused, flags: []string{"O_WRONLY"}, path: f},
		},
		"refused open through a symbolic link": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{str("lf"), base},
			want{file: onDisk(t, f, f), source: event.FileSourcePostStat, outcome: refused, flags: []string{"O_RDONLY"}, path: "lf"},
		},
		"refused open of the symbolic link": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY | unix.O_NOFOLLOW},
			[]seg{str("lf"), base},
			want{file: onDisk(t, filepath.Join(dir, "lf"), filepath.Join(dir, "lf")), source: event.FileSourcePostStat, outcome: refused, flags: []string{"O_RDONLY", "O_NOFOLLOW"}, path: "lf"},
		},
		// link is d/sub, so link/../f is d/f, and not f in dir
		"parent of a symbolic link": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{str("./link/../f"), base},
			want{file: onDisk(t, f, f), source: event.FileSourcePostStat, outcome: refused, flags: []string{"O_RDONLY"}, path: "./link/../f"},
		},
		"refused creation behind a symbolic link": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_CREAT, Mode: 0o600},
			[]seg{str("link/../new"), base},
			want{
				file: nameOnly(filepath.Join(dir, "d/new")), dest: mode(0o600), source: event.FileSourceUserPath, outcome: refused,
				flags: []string{"O_RDONLY", "O_CREAT"}, path: "link/../new", mode: 0o600,
			},
		},
		"opted-in error": {
			event.TypeOpen, -int64(unix.ENOENT),
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{str("/no/../such/./file")},
			want{file: nameOnly("/such/file"), source: event.FileSourceUserPath, outcome: event.OutcomeError, flags: []string{"O_RDONLY"}, path: "/no/../such/./file"},
		},
		"truncate": {
			event.TypeOpen, 0,
			bpf.FileOp{Flags: unix.O_WRONLY | unix.O_TRUNC},
			[]seg{str("d/f"), base},
			want{file: onDisk(t, f, f), source: event.FileSourcePostStat, outcome: ok, flags: []string{"O_WRONLY", "O_TRUNC"}, path: "d/f"},
		},
		"user memory not readable": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{{bpf.SegString, bpf.StrFault, ""}},
			want{file: fileFacts{err: "user memory could not be read"}, source: event.FileSourceUserPath, outcome: refused, flags: []string{"O_RDONLY"}},
		},
		"no path at all": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			nil,
			want{file: fileFacts{err: "the call names no path"}, source: event.FileSourceUserPath, outcome: refused, flags: []string{"O_RDONLY"}},
		},
		"relative to what is not known": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{str("x")},
			want{file: fileFacts{err: "directory of a relative path is not known"}, source: event.FileSourceUserPath, outcome: refused, flags: []string{"O_RDONLY"}, path: "x"},
		},
		"directory of a relative path was renamed": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{str("gone"), {bpf.SegBase, bpf.WalkRaced, walk(dir)}},
			want{file: fileFacts{path: dir + "/gone", name: "gone", err: "renamed while the path was read"}, source: event.FileSourceUserPath, outcome: refused, flags: []string{"O_RDONLY"}, path: "gone"},
		},
		"path cut off": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{{bpf.SegString, bpf.StrTruncated, "/no/such"}},
			want{file: fileFacts{path: "/no/such", name: "such", err: "path is longer than 4096 bytes"}, source: event.FileSourceUserPath, outcome: refused, flags: []string{"O_RDONLY"}, path: "/no/such"},
		},
		"bytes that are not UTF-8": {
			event.TypeOpen, eacces,
			bpf.FileOp{Flags: unix.O_RDONLY},
			[]seg{str("\xff/\xfe"), base},
			want{file: nameOnly(dir + "/\xff/\xfe"), source: event.FileSourceUserPath, outcome: refused, flags: []string{"O_RDONLY"}, path: "\xff/\xfe"},
		},
		// A file of that name is there (again), but it is not the one that was removed.
		"unlink": {
			event.TypeUnlink, 0,
			bpf.FileOp{},
			[]seg{str("link/../f"), base},
			want{file: nameOnly(f), source: event.FileSourceUserPath, outcome: ok, path: "link/../f"},
		},
		"refused unlink": {
			event.TypeUnlink, eacces,
			bpf.FileOp{},
			[]seg{str("lf"), base},
			want{file: onDisk(t, filepath.Join(dir, "lf"), filepath.Join(dir, "lf")), source: event.FileSourcePostStat, outcome: refused, path: "lf"},
		},
		"rmdir": {
			event.TypeRmdir, 0,
			bpf.FileOp{Flags: unix.AT_REMOVEDIR},
			[]seg{str("gone/"), base},
			want{file: nameOnly(filepath.Join(dir, "gone")), source: event.FileSourceUserPath, outcome: ok, path: "gone/"},
		},
		// d/g is where the file is after the rename, d/old where it was
		"rename": {
			event.TypeRename, 0,
			bpf.FileOp{Flags: unix.RENAME_NOREPLACE},
			[]seg{str("d/old"), base, str2("d/g"), base2},
			want{file: onDisk(t, g, filepath.Join(dir, "d/old")), dest: ptr(onDisk(t, g, g)), source: event.FileSourcePostStat, outcome: ok, path: "d/old", path2: "d/g"},
		},
		"rename of what has a successor": {
			event.TypeRename, 0,
			bpf.FileOp{},
			[]seg{str("d/f"), base, str2("d/g"), base2},
			want{file: onDisk(t, g, f), dest: ptr(onDisk(t, g, g)), source: event.FileSourcePostStat, outcome: ok, path: "d/f", path2: "d/g"},
		},
		"rename whose result is gone": {
			event.TypeRename, 0,
			bpf.FileOp{},
			[]seg{str("d/f"), base, str2("d/new"), base2},
			want{file: nameOnly(f), dest: ptr(nameOnly(filepath.Join(dir, "d/new"))), source: event.FileSourceUserPath, outcome: ok, path: "d/f", path2: "d/new"},
		},
		"refused rename": {
			event.TypeRename, eacces,
			bpf.FileOp{},
			[]seg{str("d/f"), base, str2("d/new"), base2},
			want{file: onDisk(t, f, f), dest: ptr(nameOnly(filepath.Join(dir, "d/new"))), source: event.FileSourcePostStat, outcome: refused, path: "d/f", path2: "d/new"},
		},
		"mkdir": {
			event.TypeMkdir, 0,
			bpf.FileOp{Mode: 0o1777},
			[]seg{str("d/sub/"), base},
			want{file: onDisk(t, filepath.Join(dir, "d/sub"), filepath.Join(dir, "d/sub")), dest: mode(0o1777), source: event.FileSourcePostStat, outcome: ok, path: "d/sub/", mode: 0o1777},
		},
		"chmod": {
			event.TypeChmod, 0,
			bpf.FileOp{Mode: 0o4711},
			[]seg{str("lf"), base},
			want{file: onDisk(t, f, f).without(memberMode), dest: mode(0o4711), source: event.FileSourcePostStat, outcome: ok, path: "lf", mode: 0o4711},
		},
		"refused chmod": {
			event.TypeChmod, -int64(unix.EPERM),
			bpf.FileOp{Mode: 0o4711},
			[]seg{str("lf"), base},
			want{file: onDisk(t, f, f), dest: mode(0o4711), source: event.FileSourcePostStat, outcome: refused, path: "lf", mode: 0o4711},
		},
		"fchmod": {
			event.TypeChmod, 0,
			bpf.FileOp{File: open, Mode: 0o700},
			[]seg{{bpf.SegPath, 0, walk("/srv/x")}, old(func(f *bpf.File) { f.Mode = unix.S_IFREG | 0o4755 })},
			want{
				file: fileFacts{"/srv/x", "x", "", 33, unix.S_IFREG | 0o4755, 4000001, 4000002, opened("").has}, dest: mode(0o700),
				source: event.FileSourceFD, outcome: ok, mode: 0o700,
			},
		},
		"fchmod whose file before is not known": {
			event.TypeChmod, 0,
			bpf.FileOp{File: open, Mode: 0o700},
			[]seg{{bpf.SegPath, 0, walk("/srv/x")}, {bpf.SegOld, 0, "cut"}},
			want{file: opened("/srv/x").without(memberMode), dest: mode(0o700), source: event.FileSourceFD, outcome: ok, mode: 0o700},
		},
		"refused fchmod": {
			event.TypeChmod, -int64(unix.EPERM),
			bpf.FileOp{File: open, Mode: 0o700},
			[]seg{{bpf.SegPath, 0, walk("/srv/x")}},
			want{file: opened("/srv/x"), dest: mode(0o700), source: event.FileSourceFD, outcome: refused, mode: 0o700},
		},
		"fchmod of a descriptor that another thread replaces": {
			event.TypeChmod, 0,
			bpf.FileOp{File: open, Mode: 0o700},
			[]seg{{bpf.SegPath, 0, walk("/srv/x")}, old(func(f *bpf.File) { f.Inode = 34 })},
			want{
				file: fileFacts{"/srv/x", "x", "the descriptor was another file after the call", 34, unix.S_IFREG | 0o600, 4000001, 4000002, opened("").has},
				dest: mode(0o700), source: event.FileSourceFD, outcome: ok, mode: 0o700,
			},
		},
		"fchown": {
			event.TypeChown, 0,
			bpf.FileOp{File: open, Uid: 0, Gid: 1 << 31},
			[]seg{{bpf.SegPath, 0, walk("/srv/x")}, old(func(f *bpf.File) { f.Uid, f.Gid = 4000003, 4000004 })},
			want{
				file: fileFacts{"/srv/x", "x", "", 33, unix.S_IFREG | 0o600, 4000003, 4000004, opened("").has},
				dest: &fileFacts{uid: 0, gid: 1 << 31, has: event.HasOwner}, source: event.FileSourceFD, outcome: ok,
			},
		},
		"temporary file without a name": {
			event.TypeOpen, 5,
			bpf.FileOp{File: open, Flags: unix.O_RDWR | unix.O_TMPFILE, Mode: 0o640},
			[]seg{{bpf.SegPath, 0, walk("/tmp/#33")}},
			want{
				file: opened("/tmp/#33"), dest: mode(0o640), source: event.FileSourceFD, outcome: ok,
				flags: []string{"O_RDWR", "O_DIRECTORY", "O_TMPFILE"}, mode: 0o640,
			},
		},
		"symlink": {
			event.TypeSymlink, 0,
			bpf.FileOp{},
			[]seg{{bpf.SegName, 0, "../else/where"}, str("lf"), base},
			want{file: onDisk(t, filepath.Join(dir, "lf"), filepath.Join(dir, "lf")), source: event.FileSourcePostStat, outcome: ok, path: "lf", path2: "../else/where"},
		},
		"refused symlink whose target could not be read": {
			event.TypeSymlink, eacces,
			bpf.FileOp{},
			[]seg{{bpf.SegName, bpf.StrFault, ""}, str("new"), base},
			want{file: nameOnly(dir + "/new"), source: event.FileSourceUserPath, outcome: refused, path: "new"},
		},
		"chdir": {
			event.TypeChdir, 0,
			bpf.FileOp{File: open},
			[]seg{{bpf.SegPath, 0, walk("/srv/x")}, str("../x"), base},
			want{file: opened("/srv/x"), source: event.FileSourceFD, outcome: ok, path: "../x"},
		},
		"refused chdir": {
			event.TypeChdir, eacces,
			bpf.FileOp{},
			[]seg{str("link"), base},
			want{file: onDisk(t, filepath.Join(dir, "d/sub"), filepath.Join(dir, "d/sub")), source: event.FileSourcePostStat, outcome: refused, path: "link"},
		},
		"chroot": {
			event.TypeChroot, 0,
			bpf.FileOp{File: open},
			[]seg{{bpf.SegPath, bpf.WalkUnreachable, walk("/srv/x")}, str("."), base},
			want{file: opened("/srv/x"), source: event.FileSourceFD, outcome: ok, path: "."},
		},
		"failed exec": {
			event.Type(bpf.TypeExecFailed), -int64(unix.ENOENT),
			bpf.FileOp{},
			[]seg{str("./nothing"), base},
			want{file: nameOnly(dir + "/nothing"), source: event.FileSourceUserPath, outcome: event.OutcomeError, path: "./nothing"},
		},
		"refused exec": {
			event.Type(bpf.TypeExecFailed), eacces,
			bpf.FileOp{},
			[]seg{str("lf"), base},
			want{file: onDisk(t, f, f), source: event.FileSourcePostStat, outcome: refused, path: "lf"},
		},
		"chown": {
			event.TypeChown, 0,
			bpf.FileOp{Uid: 4000003, Gid: ^uint32(0)},
			[]seg{str("lf"), base},
			want{file: onDisk(t, f, f).without(memberMode | memberOwner), dest: &fileFacts{uid: 4000003, gid: -1, has: event.HasOwner}, source: event.FileSourcePostStat, outcome: ok, path: "lf"},
		},
		"lchown": {
			event.TypeChown, 0,
			bpf.FileOp{Uid: ^uint32(0), Gid: 4000004, Flags: unix.AT_SYMLINK_NOFOLLOW},
			[]seg{str("lf"), base},
			want{
				file: onDisk(t, filepath.Join(dir, "lf"), filepath.Join(dir, "lf")).without(memberMode | memberOwner), dest: &fileFacts{uid: -1, gid: 4000004, has: event.HasOwner},
				source: event.FileSourcePostStat, outcome: ok, path: "lf",
			},
		},
		"link": {
			event.TypeLink, 0,
			bpf.FileOp{},
			[]seg{str("d/f"), base, str2("d/hard"), base2},
			want{file: onDisk(t, f, f), dest: ptr(onDisk(t, f, filepath.Join(dir, "d/hard"))), source: event.FileSourcePostStat, outcome: ok, path: "d/f", path2: "d/hard"},
		},
		"link to a symbolic link": {
			event.TypeLink, 0,
			bpf.FileOp{},
			[]seg{str("lf"), base, str2("hard"), base2},
			want{
				file: onDisk(t, filepath.Join(dir, "lf"), filepath.Join(dir, "lf")), dest: ptr(onDisk(t, filepath.Join(dir, "lf"), filepath.Join(dir, "hard"))),
				source: event.FileSourcePostStat, outcome: ok, path: "lf", path2: "hard",
			},
		},
		"link that follows": {
			event.TypeLink, 0,
			bpf.FileOp{Flags: unix.AT_SYMLINK_FOLLOW},
			[]seg{str("lf"), base, str2("hard"), base2},
			want{file: onDisk(t, f, f), dest: ptr(onDisk(t, f, filepath.Join(dir, "hard"))), source: event.FileSourcePostStat, outcome: ok, path: "lf", path2: "hard"},
		},
		"link of an open file": {
			event.TypeLink, 0,
			bpf.FileOp{Flags: unix.AT_EMPTY_PATH},
			[]seg{str(""), {bpf.SegBase, 0, walk(f)}, str2("hard"), base2},
			want{file: onDisk(t, f, f), dest: ptr(onDisk(t, f, filepath.Join(dir, "hard"))), source: event.FileSourcePostStat, outcome: ok, path2: "hard"},
		},
		"refused link": {
			event.TypeLink, -int64(unix.EPERM),
			bpf.FileOp{},
			[]seg{str("d/f"), base, str2("hard"), base2},
			want{file: onDisk(t, f, f), dest: ptr(nameOnly(filepath.Join(dir, "hard"))), source: event.FileSourcePostStat, outcome: refused, path: "d/f", path2: "hard"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h := selfHeader(t)
			h.Retval = tt.retval
			ev := c.mustConvert(t, wire(tt.typ, h, tt.op, tt.segs...))
			w := tt.want
			assert.Equal(t, w.file, factsOf(&ev.File.File))
			if w.dest == nil {
				assert.Nil(t, ev.File.Destination)
			} else if assert.NotNil(t, ev.File.Destination) {
				assert.Equal(t, *w.dest, factsOf(ev.File.Destination))
			}
			assert.Equal(t, w.source, ev.Facts.FileSource)
			assert.Equal(t, w.outcome, ev.Evt.Outcome)
			assert.Equal(t, w.flags, ev.File.Flags)
			assert.Equal(t, []string{w.path, w.path2}, []string{ev.Facts.SyscallPath, ev.Facts.SyscallDestinationPath})
			assert.Equal(t, w.mode, ev.Facts.SyscallMode)
			assert.Equal(t, []any{tt.retval, tt.op.Flags, uint64(selfID)}, []any{ev.Facts.Retval, ev.Facts.Flags, ev.Facts.ProcessID})

			// The facts of one event are not those of the next.
			other := c.mustConvert(t, hostnameOpen(t))
			assert.Equal(t, "/etc/hostname", other.File.Path)
			assert.Nil(t, other.File.Destination)
			assert.Empty(t, other.Facts.SyscallPath)
		})
	}
}

// Owner names and times come with the facts; what a call changes is not known of before it.
func TestConvertOwnerNames(t *testing.T) {
	dir := fileTree(t)
	f := filepath.Join(dir, "d/f")
	_, _, userName, groupName := ownNames(t)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(f, &st))
	c := newTestConverter(t)
	h := selfHeader(t)
	h.Retval = -int64(unix.EPERM)
	ev := c.mustConvert(t, wire(event.TypeChown, h, bpf.FileOp{}, seg{bpf.SegString, 0, f}))
	assert.Equal(t, []string{userName, groupName}, []string{ev.File.User, ev.File.Group})
	assert.Equal(t, []string{"root", "root"}, []string{ev.File.Destination.User, ev.File.Destination.Group})
	assert.Equal(t, event.Time(st.Mtim.Nano()), ev.File.ModificationTime)
	assert.Equal(t, event.Time(st.Ctim.Nano()), ev.File.ChangeTime)
	assert.NotEmpty(t, ev.File.Filesystem)

	ev = c.mustConvert(t, wire(event.TypeChown, selfHeader(t), bpf.FileOp{}, seg{bpf.SegString, 0, f}))
	assert.Equal(t, []string{"", ""}, []string{ev.File.User, ev.File.Group})
	assert.Equal(t, []event.Time{event.Time(st.Mtim.Nano()), 0}, []event.Time{ev.File.ModificationTime, ev.File.ChangeTime})

	// The body says so, too, and rules do not take it for root.
	var d event.Decoder
	var back event.Event
	ev.File.Destination.GID = -1
	require.NoError(t, d.Decode(ev.AppendJSON(nil), event.NeedAll, &back))
	assert.Equal(t, []int64{-1, -1}, []int64{back.File.UID, back.File.GID})
	assert.Zero(t, back.File.Has&event.HasOwner)
	assert.Equal(t, event.HasOwner, back.File.Destination.Has)
}

// The 16-bit calls of 32-bit programs have another number for an owner that stays.
func TestConvertShortOwners(t *testing.T) {
	_, compat := sensorNumbers(t)
	c := newTestConverter(t)
	for name, want := range map[string][2]int64{"chown": {-1, 7}, "lchown": {-1, 7}, "fchown": {-1, 7}, "chown32": {0x3ffff, 7}, "fchownat": {0x3ffff, 7}} {
		h := selfHeader(t)
		h.Flags |= bpf.Compat
		h.Nr = uint16(compat[name])
		ev := c.mustConvert(t, wire(event.TypeChown, h, bpf.FileOp{Uid: 0x3ffff, Gid: 7}, seg{bpf.SegString, 0, "/nothing"}))
		assert.Equal(t, want, [2]int64{ev.File.Destination.UID, ev.File.Destination.GID}, name)
	}
}

// sensorNumbers are the numbers of syscalls by name: of the kernel's own tasks, and of 32-bit ones.
func sensorNumbers(t *testing.T) (native, compat map[string]int) {
	t.Helper()
	native, compat = map[string]int{}, map[string]int{}
	for nr := range uint16(bpf.MaxSyscalls) {
		native[sensor.SyscallName(nr, false)], compat[sensor.SyscallName(nr, true)] = int(nr), int(nr)
	}
	require.NotZero(t, native["utimensat"])
	require.NotZero(t, compat["utimensat_time64"])
	return native, compat
}

// words are numbers as a program has them in memory.
func words(width int, v ...int64) string {
	var b []byte
	for _, n := range v {
		if width == 4 {
			b = binary.NativeEndian.AppendUint32(b, uint32(n))
		} else {
			b = binary.NativeEndian.AppendUint64(b, uint64(n))
		}
	}
	return string(b)
}

func TestConvertTimes(t *testing.T) {
	dir := fileTree(t)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir+"/d/f", &st))
	atime, mtime := event.Time(st.Atim.Nano()), event.Time(st.Mtim.Nano())
	native, compat := sensorNumbers(t)
	const now = event.Time(wallBase + bootTime)
	data := func(s string) []seg { return []seg{{bpf.SegData, 0, s}} }
	for name, tt := range map[string]struct {
		call   string
		compat bool
		retval int64
		segs   []seg
		want   [2]event.Time
	}{
		"nanoseconds":             {call: "utimensat", segs: data(words(8, 1, 2, -3, 4)), want: [2]event.Time{1e9 + 2, -3e9 + 4}},
		"refused":                 {call: "utimensat", retval: -1, segs: data(words(8, 1, 2, 3, 4)), want: [2]event.Time{1e9 + 2, 3e9 + 4}},
		"now, and as it was":      {call: "utimensat", segs: data(words(8, 9, unix.UTIME_NOW, 9, unix.UTIME_OMIT)), want: [2]event.Time{atime, 0}},
		"refused now":             {call: "utimensat", retval: -1, segs: data(words(8, 0, unix.UTIME_OMIT, 0, unix.UTIME_NOW)), want: [2]event.Time{0, now}},
		"no times":                {call: "utimensat", want: [2]event.Time{atime, mtime}},
		"refused without times":   {call: "utimensat", retval: -1, want: [2]event.Time{now, now}},
		"not readable":            {call: "utimensat", segs: []seg{{bpf.SegData, bpf.StrFault, ""}}},
		"cut off":                 {call: "utimensat", segs: data(words(8, 1, 2, 3))},
		"no such nanoseconds":     {call: "utimensat", retval: -1, segs: data(words(8, 1, 1e9, 1, -1))},
		"centuries away":          {call: "utimensat", segs: data(words(8, 1<<62, 0, -1<<62, 0))},
		"32 bits":                 {call: "utimensat", compat: true, segs: data(words(4, 1, 2, -3, 4)), want: [2]event.Time{1e9 + 2, -3e9 + 4}},
		"32 bits, wide":           {call: "utimensat_time64", compat: true, segs: data(words(8, 1, 2|1<<40, 3, 4)), want: [2]event.Time{1e9 + 2, 3e9 + 4}},
		"microseconds, 32 bits":   {call: "utimes", compat: true, segs: data(words(4, 1, 2, 3, 4)), want: [2]event.Time{1e9 + 2e3, 3e9 + 4e3}},
		"microseconds, directory": {call: "futimesat", compat: true, segs: data(words(4, 1, 999999, 3, 1000000)), want: [2]event.Time{1e9 + 999999e3, 0}},
		// the numbers that mean something else to utimensat are too large here
		"microseconds that are not special": {call: "utimes", compat: true, segs: data(words(4, 1, unix.UTIME_NOW, 1, unix.UTIME_OMIT))},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h := selfHeader(t)
			h.Retval = tt.retval
			h.Nr = uint16(native[tt.call])
			if tt.compat {
				h.Nr = uint16(compat[tt.call])
				h.Flags |= bpf.Compat
			}
			ev := c.mustConvert(t, wire(event.TypeUtimes, h, bpf.FileOp{}, append(tt.segs, seg{bpf.SegString, 0, dir + "/d/f"})...))
			d := ev.File.Destination
			assert.Equal(t, tt.want, [2]event.Time{d.AccessTime, d.ModificationTime})
			if tt.retval < 0 {
				assert.Equal(t, mtime, ev.File.ModificationTime)
			} else {
				assert.Zero(t, ev.File.ModificationTime, "that before the call is not known")
			}
			assert.Equal(t, st.Ino, ev.File.Inode)
		})
	}
	// seconds only, which not every architecture has
	for _, width := range []int{4, 8} {
		got := givenTimes(sensor.Segment{Present: true, Data: []byte(words(width, 5, -6))}, timeForms["utime"], width == 4)
		assert.Equal(t, [2]givenTime{{time: 5e9}, {time: -6e9}}, got)
	}
	for _, call := range sensor.SyscallNames(event.TypeUtimes) {
		assert.Contains(t, timeForms, call)
	}
}

// The times of a descriptor are known from before and after the call.
func TestConvertTimesOfDescriptor(t *testing.T) {
	native, _ := sensorNumbers(t)
	h := selfHeader(t)
	h.Nr = uint16(native["utimensat"])
	old := bpf.File{Inode: 1, Flags: bpf.FileValid, Atime: 10, Mtime: 11, Ctime: 12}
	after := bpf.File{Inode: 1, Flags: bpf.FileValid, Atime: 20, Mtime: 21, Ctime: 22}
	segs := []seg{{bpf.SegPath, 0, walk("/srv/x")}, {bpf.SegOld, 0, string(bytesOf(&old))}}
	ev := newTestConverter(t).mustConvert(t, wire(event.TypeUtimes, h, bpf.FileOp{File: after}, segs...))
	f, d := ev.File.File, ev.File.Destination
	assert.Equal(t, []event.Time{10, 11, 12}, []event.Time{f.AccessTime, f.ModificationTime, f.ChangeTime})
	assert.Equal(t, []event.Time{20, 21, 0}, []event.Time{d.AccessTime, d.ModificationTime, d.ChangeTime})
	assert.Equal(t, event.FileSourceFD, ev.Facts.FileSource)
	assert.Empty(t, ev.Facts.SyscallPath)
}

func TestConvertXattr(t *testing.T) {
	c := newTestConverter(t)
	for _, typ := range []event.Type{event.TypeSetXattr, event.TypeRemoveXattr} {
		for name, want := range map[string][2]string{
			"user.test":               {"user.test", "user"},
			"security.a.b":            {"security.a.b", "security"},
			"nothing":                 {"nothing", ""},
			".":                       {".", ""},
			"user.\xff\n":             {"user.\xff\n", "user"},
			"":                        {"", ""},
			strings.Repeat("a", 5000): {strings.Repeat("a", 5000), ""},
		} {
			ev := c.mustConvert(t, wire(typ, selfHeader(t), bpf.FileOp{}, seg{bpf.SegString, 0, "/nothing"}, seg{bpf.SegName, 0, name}))
			assert.Equal(t, want, [2]string{ev.File.Destination.AttributeName, ev.File.Destination.AttributeNamespace})
		}
		for _, segs := range [][]seg{nil, {{bpf.SegName, bpf.StrFault, "user.x"}}} {
			ev := c.mustConvert(t, wire(typ, selfHeader(t), bpf.FileOp{}, segs...))
			assert.Empty(t, ev.File.Destination.AttributeName)
			assert.Equal(t, "the call names no path", ev.File.PathResolutionError)
		}
	}
}

// A failed exec is about its caller, which stays what it was.
func TestConvertFailedExec(t *testing.T) {
	c := newTestConverter(t)
	h := selfHeader(t)
	h.Retval = -int64(unix.ENOENT)
	ev := c.mustConvert(t, wire(event.Type(bpf.TypeExecFailed), h, bpf.FileOp{}, seg{bpf.SegString, 0, "/nothing"}))
	assert.Equal(t, []any{event.TypeExec, "/usr/bin/sh", "/nothing", uint64(selfID)}, []any{ev.Type, ev.Process.Executable.Path, ev.File.Path, ev.Facts.ProcessID})
	other := c.mustConvert(t, hostnameOpen(t))
	assert.Equal(t, []any{"/usr/bin/sh", uint64(selfID)}, []any{other.Process.Executable.Path, other.Facts.ProcessID})
}

func FuzzGivenTimes(f *testing.F) {
	f.Add("utime", false, true, uint8(0), []byte(words(8, 1, 2)))
	f.Add("utimes", true, true, uint8(0), []byte(words(4, 1, 2, 3, 4)))
	f.Add("utimensat", false, true, uint8(0), []byte(words(8, 1, unix.UTIME_NOW, 3, unix.UTIME_OMIT)))
	f.Add("utimensat_time64", true, false, bpf.StrFault, []byte{})
	f.Add("", true, true, uint8(255), []byte{1})
	f.Fuzz(func(t *testing.T, call string, compat, present bool, flags uint8, data []byte) {
		for _, g := range givenTimes(sensor.Segment{Present: present, Flags: flags, Data: data}, timeForms[call], compat) {
			if g.now && g.time != 0 {
				t.Fatal("now, and another time")
			}
		}
	})
}
