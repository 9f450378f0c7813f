// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package delivery runs the ways from an event to Datadog's intake as people deploy them: agent, gateway and intake as
// processes of their own, with mutual TLS or Kafka between them. It kills them, and counts what arrives. Everything is on
// loopback; agents watch a process tree that the test starts, and nothing else.
package delivery

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary started again with one of these set is another process of the test.
const (
	openEnv   = "PICKET_DELIVERY_OPEN"   // an actor that opens files, as openFiles does with these arguments
	intakeEnv = "PICKET_DELIVERY_INTAKE" // is the intake; the value is its address
)

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(openEnv)); len(args) == 4 {
		if err := openFiles(args[0], args[1], args[2], args[3]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run()) // with intakeEnv, too: the intake is TestIntakeProcess
}

// openFiles opens files in dir for writing, rate a second, at least atLeast and until there is a file enough. The name of each is its
// number and the time at which it was opened.
func openFiles(atLeast, rate, dir, enough string) error {
	n, err := strconv.Atoi(atLeast)
	if err != nil {
		return err
	}
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil { // it ends with the actor
		return err
	}
	begin := time.Now()
	for i := 0; ; i++ {
		if i >= n && i%100 == 0 {
			if _, err := os.Stat(enough); err == nil {
				return nil
			}
		}
		if due := time.Duration(i) * time.Second / time.Duration(perSecond); due > time.Since(begin)+5*time.Millisecond {
			time.Sleep(due - time.Since(begin))
		}
		name := fmt.Sprintf("%s/%07d-%d", dir, i, time.Now().UnixNano())
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		_ = unix.Close(fd)
	}
}
