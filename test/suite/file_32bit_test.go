// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// bits32 is where the static 32-bit program is: beside the test binary, which is also the actor's.
func bits32() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(exe), "bits32")
}

// only leaves out what an architecture's 32-bit programs have not got.
func only(goarch string, w ...want) []want {
	if runtime.GOARCH != goarch {
		return nil
	}
	return w
}

// of32 is an event of the program.
func of32(typ string, attrs members, more ...members) want {
	return want{typ: typ, other: true, members: with(members{"evt.outcome": "Success", "process.executable.name": "bits32"}, more...), attrs: attrs}
}

var (
	f32  = members{"file.path": "$DIR/f", "file.inode": present, "file.path_resolution_error": absent}
	none = members{}
)

func run32(string) error {
	cmd := exec.Command(bits32())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, &out)
	}
	return nil
}

var cases32 = cases("bits32", []testcase{{
	name: "file",
	do:   run32,
	want: append(only("amd64",
		of32("open", opened, f32, flags("O_WRONLY")),
		of32("open", opened, members{"file.path": "$DIR/c"}, newMode(0o600), flags("O_WRONLY O_CREAT O_TRUNC")),
		of32("chmod", byPath("f"), f32, noMode, newMode(0o601)),
		of32("chown", byPath("f"), f32, noOwner, owner(-1, 7)),
		of32("chown", byPath("f"), f32, noOwner, owner(8, -1)),
		of32("chown", byFD, f32, owner(9, -1), members{"file.uid": 8, "file.gid": 7}),
		of32("chown", byPath("f"), f32, noOwner, owner(70000, -1)),
		of32("chown", byFD, f32, owner(0, 0), members{"file.uid": 70000, "file.gid": 7}),
		of32("utimes", byPath("f"), f32, noTimes, members{"file.destination.access_time": "1970-01-01T00:00:10Z", "file.destination.modification_time": "1969-12-31T23:59:40Z"}),
		of32("mkdir", none, members{"file.path": "$DIR/m"}, newMode(0o700)),
		of32("rmdir", byUserPath("m"), gone("m")),
	),
		of32("open", opened, f32, newMode(0o644), flags("O_RDWR O_CREAT")),
		of32("open", opened, members{"file.path": "$DIR/d/c2", "file.mode": unix.S_IFREG | 0o604}, newMode(0o604), flags("O_RDWR O_CREAT")),
		of32("open", byPath("f"), f32, flags("O_WRONLY O_TRUNC")),
		of32("open", byFD, f32, flags("O_WRONLY O_TRUNC")),
		of32("chmod", byFD, f32, newMode(0o602), members{"file.mode": present}),
		of32("chmod", byPath("../f"), f32, noMode, newMode(0o603)),
		of32("utimes", byPath("f"), f32, noTimes, times("00:00:01.000002Z", "00:00:03.000004Z")),
		of32("utimes", byPath("../f"), f32, noTimes, times("00:00:01.000003Z", "00:00:03.000005Z")),
		of32("utimes", byPath("f"), f32, noTimes, times("00:00:01.000000004Z", "00:00:03.000000006Z")),
		of32("utimes", byFD, f32, times("00:00:01.000000005Z", "00:00:03.000000007Z"), members{"file.access_time": "1970-01-01T00:00:01.000000004Z"}),
		of32("utimes", byPath("f"), f32, noTimes, members{
			"file.destination.access_time": "2106-02-07T06:28:16.000000006Z", "file.destination.modification_time": "1970-01-01T00:00:03.000000008Z",
		}),
		of32("setxattr", byPath("f"), f32, xattr("user.a")),
		of32("setxattr", byFD, f32, xattr("user.b")),
		of32("removexattr", byPath("f"), f32, xattr("user.a")),
		of32("removexattr", byFD, f32, xattr("user.b")),
		of32("symlink", with(byPath("l"), target("to")), members{"file.path": "$DIR/d/l"}),
		of32("link", target("h"), f32, members{"file.destination.path": "$DIR/d/h"}),
		of32("rename", target("h2"), members{"file.path": "$DIR/d/h", "file.destination.path": "$DIR/d/h2"}),
		of32("rename", target("h3"), members{"file.path": "$DIR/d/h2", "file.destination.path": "$DIR/d/h3"}),
		of32("unlink", byUserPath("h3"), gone("d/h3")),
		of32("mkdir", none, members{"file.path": "$DIR/m2"}, newMode(0o700)),
		of32("rmdir", byUserPath("m2"), gone("m2")),
		of32("chdir", members{"picket.syscall.path": "d", "picket.file.source": "fd"}, members{"file.path": "$DIR/d"}),
		of32("chdir", byFD, members{"file.path": "$DIR/d"}),
		of32("chmod", byPath("../f"), f32, newMode(0o777), members{"evt.outcome": "Refused", "file.mode": unix.S_IFREG | 0o603}),
		of32("chown", byFD, f32, owner(1, 1), members{"evt.outcome": "Refused"}),
		of32("chroot", byPath("/"), members{"evt.outcome": "Refused", "file.path": "/"}),
		of32("exec", members{"picket.syscall.path": "./missing"}, members{"evt.outcome": "Error", "file.path": "$DIR/d/missing"}),
	),
}})

// build32 makes the 32-bit program. The test is skipped if it cannot run here.
func build32(t *testing.T) {
	t.Helper()
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	twin := map[string]string{"amd64": "386", "arm64": "arm"}[runtime.GOARCH]
	build := exec.Command("go", "build", "-o", bits32(), "./testdata/bits32")
	build.Env = append(os.Environ(), "GOARCH="+twin, "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	probe := exec.Command(bits32())
	probe.Dir = t.TempDir()
	var exit *exec.ExitError
	if out, err := probe.CombinedOutput(); err != nil && !errors.As(err, &exit) {
		t.Skipf("this machine runs no 32-bit programs: %v: %s", err, out)
	}
}

// A static 32-bit program has calls, numbers and structs of its own.
func TestFile32Bit(t *testing.T) {
	build32(t)
	run(t, cases32, func(cfg *ebpfsecurityreceiver.Config) {
		cfg.Events = map[string]ebpfsecurityreceiver.EventConfig{"exec": {Errors: []string{"ENOENT"}}}
	})
}
