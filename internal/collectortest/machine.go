// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package collectortest

import (
	"io"
	"net"
	"os"
	"path/filepath"
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

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on.
func FreePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
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
