// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package collectortest

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// LoadBPF is what most tests need root for.
const LoadBPF = "to load BPF programs"

// NeedRoot skips the test if it does not run as root, which it needs for what.
func NeedRoot(tb testing.TB, what string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root " + what)
	}
}

// Binary returns the absolute path of a built program: in $PICKET_BIN, else in bin/ of the repository for the tests two
// levels below it. The test is skipped if it was not built; `make test` builds it.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	dir := os.Getenv("PICKET_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	require.NoError(tb, err)
	if _, err := os.Stat(path); err != nil { //nolint:gosec // who runs the tests says where it is
		tb.Skipf("needs %s: run make build", path)
	}
	return path
}

// firstEphemeralPort is where the ports begin that the kernel gives to connections and to listeners without one
// (net.ipv4.ip_local_port_range, by default).
const firstEphemeralPort = 32768

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. The kernel gives it to nobody else until it is used.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := firstEphemeralPort - 1 - rand.IntN(firstEphemeralPort/2) //nolint:gosec // tests at the same time must not try the same ones
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			require.NoError(tb, l.Close())
			return port
		}
	}
	require.FailNow(tb, "no port is free")
	return 0
}

// OpenDir makes a directory that everybody can get to, and removes it after the test. Its path has no symbolic links.
func OpenDir(tb testing.TB) string {
	tb.Helper()
	dir, err := filepath.EvalSymlinks(tb.TempDir())
	require.NoError(tb, err)
	top, err := filepath.EvalSymlinks(os.TempDir())
	require.NoError(tb, err)
	for d := dir; d != "/" && d != top; d = filepath.Dir(d) {
		require.NoError(tb, os.Chmod(d, 0o755))
	}
	return dir
}

// CopyProgram copies a program to where there is nothing; everybody can run it there.
func CopyProgram(tb testing.TB, from, to string) {
	tb.Helper()
	in, err := os.Open(from)
	require.NoError(tb, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	require.NoError(tb, err)
	_, err = io.Copy(out, in)
	require.NoError(tb, err)
	require.NoError(tb, out.Close())
	require.NoError(tb, os.Chmod(to, 0o755))
}
