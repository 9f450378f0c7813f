// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

const (
	intakeFileEnv  = "PICKET_DELIVERY_INTAKE_FILE"  // where it writes the logs that it accepts
	intakeCrashEnv = "PICKET_DELIVERY_INTAKE_CRASH" // the number of the request that it dies of, after it has written its logs
)

// TestIntakeProcess is the intake as a process of its own. It answers a request only after its logs are in a file, so that
// what it has accepted outlives it.
func TestIntakeProcess(t *testing.T) {
	addr := os.Getenv(intakeEnv)
	if addr == "" {
		t.Skip("is started by the other tests")
	}
	file, err := os.OpenFile(os.Getenv(intakeFileEnv), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	require.NoError(t, cutLastLine(file))
	crash := 0
	if v := os.Getenv(intakeCrashEnv); v != "" {
		crash, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	intake := intaketest.Start(t)
	var mu sync.Mutex
	n := 0
	listener, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	server := http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		answer := httptest.NewRecorder()
		intake.ServeHTTP(answer, r)
		var lines []byte
		for _, request := range intake.Requests() {
			if request.Problem != "" {
				lines = fmt.Appendf(lines, "%s\n", must(json.Marshal(accepted{Problem: request.Problem})))
			}
			n++
		}
		for _, l := range intake.Logs() {
			lines = fmt.Appendf(lines, "%s\n", must(json.Marshal(accepted{Log: l})))
		}
		intake.Reset()
		must(file.Write(lines))
		if n == crash {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		must(w.Write(answer.Body.Bytes()))
	})}
	require.NoError(t, server.Serve(listener)) // until it is killed
}

// cutLastLine removes what is after the last line break: of a line that was being written when the intake before was killed, and whose
// request it has not answered.
func cutLastLine(f *os.File) error {
	end, err := f.Seek(0, io.SeekEnd)
	buf := make([]byte, 1<<20)
	for err == nil && end > 0 {
		start := max(0, end-int64(len(buf)))
		part := buf[:end-start]
		if _, err = f.ReadAt(part, start); err != nil {
			break
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return f.Truncate(start + int64(i) + 1)
		}
		end = start
	}
	if err != nil {
		return err
	}
	return f.Truncate(0)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// accepted is a line of the intake's file.
type accepted struct {
	Log     intaketest.Log
	Problem string `json:",omitempty"` // why it refused a request
}

// intakeProcess is the intake as the other tests see it.
type intakeProcess struct {
	t    testing.TB
	addr string
	file string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended

	offset   int64 // up to where the file has been read
	messages []message
}

// startIntake starts an intake that dies with its crash-th request, after it has taken it; 0 for never.
func startIntake(tb testing.TB, crash int) *intakeProcess {
	tb.Helper()
	p := &intakeProcess{t: tb, addr: fmt.Sprintf("127.0.0.1:%d", collectortest.FreePort(tb)), file: filepath.Join(tb.TempDir(), "accepted.json")}
	p.start(crash)
	tb.Cleanup(p.kill)
	return p
}

func (p *intakeProcess) url() string { return "http://" + p.addr }

func (p *intakeProcess) start(crash int) {
	p.t.Helper()
	exe, err := os.Executable()
	require.NoError(p.t, err)
	p.cmd = exec.Command(exe, "-test.run", "^TestIntakeProcess$", "-test.timeout", "0")
	p.cmd.Env = append(os.Environ(), intakeEnv+"="+p.addr, intakeFileEnv+"="+p.file, intakeCrashEnv+"="+strconv.Itoa(crash))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = os.Stderr
	require.NoError(p.t, p.cmd.Start())
	done := make(chan struct{})
	p.done = done
	go func(cmd *exec.Cmd) {
		defer close(done)
		_ = cmd.Wait()
	}(p.cmd)
	eventually(p.t, 20*time.Second, func() bool {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, "the intake does not listen")
}

// dead says whether the process has ended by itself.
func (p *intakeProcess) dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *intakeProcess) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// read reads what the intake has accepted since the last time.
func (p *intakeProcess) read() {
	p.t.Helper()
	f, err := os.Open(p.file)
	require.NoError(p.t, err)
	defer f.Close()
	_, err = f.Seek(p.offset, io.SeekStart)
	require.NoError(p.t, err)
	for lines := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // the rest is still being written
		}
		p.offset += int64(len(line))
		var a accepted
		require.NoError(p.t, json.Unmarshal(line, &a))
		require.Empty(p.t, a.Problem, "why the intake refused a request")
		m := message{log: a.Log}
		require.NoError(p.t, json.Unmarshal([]byte(a.Log.Message), &m), "%s", a.Log.Message)
		m.log.Message = "" // tens of thousands of them are large
		p.messages = append(p.messages, m)
	}
}

// opened counts by path the detections of a rule called opened.
func (p *intakeProcess) opened() map[string]int {
	p.t.Helper()
	p.read()
	n := map[string]int{}
	for i := range p.messages {
		if m := &p.messages[i]; m.Agent.RuleID == "opened" {
			n[m.File.Path]++
		}
	}
	return n
}

// message is what the tests look at of a log.
type message struct {
	log intaketest.Log // without its message

	Title   string
	Service string
	Date    time.Time
	Agent   struct {
		RuleID        string           `json:"rule_id"`
		PolicyName    string           `json:"policy_name"`
		KernelVersion string           `json:"kernel_version"`
		Distribution  string           `json:"distribution"`
		RuleActions   []map[string]any `json:"rule_actions"`
	}
	Evt     struct{ Name, Outcome string }
	File    struct{ Path, Name string }
	Process struct {
		PID, PPID  int
		Comm, User string
		Args       []string
		Executable struct{ Path string }
	}
	From, To time.Time
	Duration int64 `json:"duration_ns"`
	Lost     []struct {
		Type, Reason string
		Count        uint64
	} `json:"lost_events"`
	Restart *struct {
		LastSequence uint64 `json:"last_sequence"`
		Clean        bool   `json:"clean"`
	}
}

// An intake that was killed in the middle of a line leaves it out.
func TestCutLastLine(t *testing.T) {
	for content, want := range map[string]string{
		"": "", "a\n": "a\n", "a\nb": "a\n", "a": "", "\n": "\n", "a\n\nb\n": "a\n\nb\n",
		"x\n" + strings.Repeat("y", 3<<20): "x\n", strings.Repeat("z", 2<<20): "",
	} {
		f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		_, err = f.WriteString(content)
		require.NoError(t, err)
		require.NoError(t, cutLastLine(f))
		must(f.WriteString("next\n"))
		got, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.Equal(t, want+"next\n", string(got))
		require.NoError(t, f.Close())
	}
}
