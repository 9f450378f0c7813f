// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
)

// The test binary is also what is watched: started under another name or with a variable set, it plays a part.
const (
	deniedEnv = "PICKET_E2E_DENIED" // opens this file as nobody
	netcat    = "nc"                // the name under which it connects to the address that it is given
)

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == netcat:
		os.Exit(connect(os.Args[len(os.Args)-1]))
	case os.Getenv(deniedEnv) != "":
		os.Exit(openDenied(os.Getenv(deniedEnv)))
	}
	os.Exit(m.Run())
}

func connect(addr string) int {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}} // which binds
	c, err := d.Dial("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = c.Close()
	return 0
}

// openDenied gives up root for good and tries to write a file of root's.
func openDenied(path string) int {
	if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(65534, 65534, 65534), unix.Setresuid(65534, 65534, 65534)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); !errors.Is(err, unix.EACCES) {
		fmt.Fprintln(os.Stderr, "want EACCES, got", err)
		return 1
	}
	return 0
}

// copyExe puts the test binary at path.
func copyExe(t *testing.T, path string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	collectortest.CopyProgram(t, exe, path)
}
