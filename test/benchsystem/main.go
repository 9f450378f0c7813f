// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command benchsystem measures what Picket costs the machine that it watches. Rounds with and without Picket alternate, so
// that both meet the same noise; medians are shown. Only the processes that it starts itself are in Picket's scope.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const workerEnv = "PICKET_BENCH_WORKER"

func main() {
	if os.Getenv(workerEnv) != "" {
		worker()
		return
	}
	var (
		picket = flag.String("picket", "bin/picket", "the collector")
		rounds = flag.Int("rounds", 5, "rounds with and rounds without Picket")
		opens  = flag.Int("opens", 200000, "open+close per round")
		execs  = flag.Int("execs", 1000, "fork+exec+wait per round")
		config = flag.String("config", "", "a further configuration file for the collector")
	)
	flag.Parse()
	if err := run(*picket, *config, *rounds, *opens, *execs); err != nil {
		fmt.Fprintln(os.Stderr, "benchsystem:", err)
		os.Exit(1)
	}
}

// sample is what one round measured, per operation.
type sample struct {
	openWall, openCPU, openPicket float64 // ns
	execWall, execCPU, execPicket float64 // µs
}

func run(picket, config string, rounds, opens, execs int) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed to load BPF programs")
	}
	dir, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := startWorker()
	if err != nil {
		return err
	}
	defer w.stop()
	if _, err := w.do("open", opens/10); err != nil { // warm up
		return err
	}

	var without, with []sample
	for i := range rounds {
		s, err := measure(w, nil, opens, execs)
		if err != nil {
			return err
		}
		without = append(without, s)
		c, err := startCollector(picket, config, dir, w.cmd.Process.Pid)
		if err != nil {
			return err
		}
		s, err = measure(w, c, opens, execs)
		err = errors.Join(err, c.stop())
		if err != nil {
			return err
		}
		with = append(with, s)
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, rounds)
	}
	pick := func(s []sample, f func(sample) float64) float64 {
		v := make([]float64, len(s))
		for i := range s {
			v[i] = f(s[i])
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	fmt.Printf("%-34s %12s %12s %10s %16s\n", "medians of "+strconv.Itoa(rounds)+" rounds", "without", "with", "more", "Picket's CPU")
	row := func(name, unit string, f, p func(sample) float64) {
		a, b := pick(without, f), pick(with, f)
		fmt.Printf("%-34s %9.2f %s %9.2f %s %+9.1f%%", name, a, unit, b, unit, 100*(b-a)/a)
		if p != nil {
			fmt.Printf(" %13.2f %s", pick(with, p), unit)
		}
		fmt.Println()
	}
	row("open+close, wall", "ns", func(s sample) float64 { return s.openWall }, nil)
	row("open+close, CPU of the workload", "ns", func(s sample) float64 { return s.openCPU }, func(s sample) float64 { return s.openPicket })
	row("fork+exec+wait, wall", "µs", func(s sample) float64 { return s.execWall }, nil)
	row("fork+exec+wait, CPU of the workload", "µs", func(s sample) float64 { return s.execCPU }, func(s sample) float64 { return s.execPicket })

	return untilLoss(picket, config, dir, w)
}

// untilLoss raises the rate of opens until the first event is lost.
func untilLoss(picket, config, dir string, w *workerProc) error {
	c, err := startCollector(picket, config, dir, w.cmd.Process.Pid)
	if err != nil {
		return err
	}
	defer func() { _ = c.stop() }()
	fmt.Printf("\n%-14s %14s %12s %12s %14s\n", "asked opens/s", "reached", "read", "not emitted", "Picket's CPU")
	for rate := 10000; rate <= 1280000; rate *= 2 {
		before, err := c.counts()
		if err != nil {
			return err
		}
		cpu := c.cpu()
		m, err := w.do("rate "+strconv.Itoa(rate), rate*2)
		if err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond) // what is still in the ring buffer and in batches
		after, err := c.counts()
		if err != nil {
			return err
		}
		bad := after.bad - before.bad
		fmt.Printf("%-14d %12.0f/s %12.0f %12.0f %11.2f µs\n", rate, float64(m.n)/m.wall.Seconds(), after.read-before.read, bad,
			float64(c.cpu()-cpu)/1e3/float64(m.n))
		if bad > 0 || float64(m.n)/m.wall.Seconds() < 0.6*float64(rate) {
			break
		}
	}
	return nil
}

func measure(w *workerProc, c *collector, opens, execs int) (s sample, err error) {
	cpu := c.cpu()
	m, err := w.do("open", opens)
	if err != nil {
		return s, err
	}
	s.openWall, s.openCPU = float64(m.wall)/float64(m.n), float64(m.cpu)/float64(m.n)
	time.Sleep(200 * time.Millisecond)
	s.openPicket = float64(c.cpu()-cpu) / float64(m.n)
	cpu = c.cpu()
	if m, err = w.do("exec", execs); err != nil {
		return s, err
	}
	s.execWall, s.execCPU = float64(m.wall)/1e3/float64(m.n), float64(m.cpu)/1e3/float64(m.n)
	time.Sleep(200 * time.Millisecond)
	s.execPicket = float64(c.cpu()-cpu) / 1e3 / float64(m.n)
	return s, nil
}

// collector is a running picket. A nil collector has used no CPU.
type collector struct {
	cmd *exec.Cmd
	url string
}

const metricsAddr = "127.0.0.1:18888"

func startCollector(picket, config, dir string, scope int) (*collector, error) {
	cfg := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`
receivers: {ebpf_security: {scope: {process_trees: [%d]}}}
exporters: {debug: {verbosity: basic}}
service:
  pipelines: {logs: {receivers: [ebpf_security], exporters: [debug]}}
  telemetry:
    logs: {level: warn}
    metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 18888}}}}]}
`, scope)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{"--config", cfg}
	if config != "" {
		args = append(args, "--config", config)
	}
	c := &collector{cmd: exec.Command(picket, args...), url: "http://" + metricsAddr + "/metrics"}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for range 300 {
		if n, err := c.counts(); err == nil && n.ready {
			return c, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = c.stop()
	return nil, errors.New("the collector did not become ready within 15 s")
}

func (c *collector) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// clockTick is USER_HZ, which is 100 on every architecture of Linux that Go knows.
const clockTick = 10 * time.Millisecond

// cpu is the CPU time that the collector has used, in ns.
func (c *collector) cpu() int64 {
	if c == nil {
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	u, _ := strconv.ParseInt(f[11], 10, 64)
	s, _ := strconv.ParseInt(f[12], 10, 64)
	return (u + s) * int64(clockTick)
}

type counts struct {
	read, bad float64
	ready     bool
}

// counts reads the collector's own metrics: bad is what was lost in the kernel or dropped on the way.
func (c *collector) counts() (n counts, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, http.NoBody)
	if err != nil {
		return n, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return n, err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20))
	for sc.Scan() {
		line := sc.Text()
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			continue
		}
		switch name := strings.TrimPrefix(line, "otelcol_"); {
		case strings.HasPrefix(name, "receiver_ebpf_security_ring_size"):
			n.ready = v > 0
		case strings.HasPrefix(name, "receiver_ebpf_security_events_read"):
			n.read += v
		case strings.HasPrefix(name, "receiver_ebpf_security_events_lost"), strings.HasPrefix(name, "receiver_ebpf_security_events_dropped"):
			n.bad += v
		}
	}
	return n, sc.Err()
}

// workerProc is the watched process: it does what it is told, and measures itself.
type workerProc struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

type result struct {
	n         int
	wall, cpu time.Duration
}

func startWorker() (*workerProc, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &workerProc{cmd: exec.Command(exe)}
	w.cmd.Env = []string{workerEnv + "=1", "PATH=/usr/bin:/bin"}
	w.cmd.Stderr = os.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReader(out)
	return w, w.cmd.Start()
}

func (w *workerProc) stop() {
	_ = w.in.Close()
	_ = w.cmd.Wait()
}

func (w *workerProc) do(what string, n int) (r result, err error) {
	if _, err := fmt.Fprintf(w.in, "%d %s\n", n, what); err != nil {
		return r, err
	}
	_, err = fmt.Fscanln(w.out, &r.n, &r.wall, &r.cpu)
	return r, err
}

func worker() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		n, _ := strconv.Atoi(f[0])
		cpu, start := usage(), time.Now()
		switch f[1] {
		case "open":
			n = opens(n, 0)
		case "rate":
			rate, _ := strconv.Atoi(f[2])
			n = opens(n, rate)
		case "exec":
			for range n {
				if err := exec.Command("/bin/true").Run(); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}
		fmt.Println(n, int64(time.Since(start)), int64(usage()-cpu))
	}
}

// opens opens and closes a file n times; with a rate, so many times a second, for at most three seconds.
func opens(n, rate int) int {
	start := time.Now()
	for i := range n {
		fd, err := unix.Open("/etc/hostname", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = unix.Close(fd)
		if rate > 0 && i%100 == 99 {
			due := time.Duration(i) * time.Second / time.Duration(rate)
			if wait := due - time.Since(start); wait > 100*time.Microsecond {
				time.Sleep(wait)
			}
			if time.Since(start) > 3*time.Second {
				return i + 1
			}
		}
	}
	return n
}

// usage is the CPU time of this process and its children.
func usage() time.Duration {
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var ru unix.Rusage
		if unix.Getrusage(who, &ru) == nil {
			total += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
		}
	}
	return total
}
