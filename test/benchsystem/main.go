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
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

const workerEnv = "PICKET_BENCH_WORKER"

// sizes is how much is done.
type sizes struct {
	rounds, opens, execs, memory, storm int
}

func main() {
	if os.Getenv(workerEnv) != "" {
		worker()
		return
	}
	var n sizes
	picket := flag.String("picket", "bin/picket", "the collector")
	config := flag.String("config", "", "a further configuration file for the collector")
	flag.IntVar(&n.rounds, "rounds", 5, "rounds of each mode")
	flag.IntVar(&n.opens, "opens", 200000, "open+close per round, and five times as many getpid")
	flag.IntVar(&n.execs, "execs", 2000, "fork+exec+wait per round")
	flag.IntVar(&n.memory, "memory", 100000, "execs after which the memory is looked at")
	flag.IntVar(&n.storm, "storm", 20000, "forks, and ten times as many opens, of each CPU in the storm")
	flag.Parse()
	if err := run(*picket, *config, n); err != nil {
		fmt.Fprintln(os.Stderr, "benchsystem:", err)
		os.Exit(1)
	}
}

// mode is a way to run the collector, or none at all.
type mode struct {
	name   string
	events string // configuration of the receiver's events
	none   bool
	// outside: the watched process is another one than the one that works.
	outside bool
}

const (
	without = iota
	all
	lifecycle
	noOpens
	outside
)

// modes are taken in turn in every round, so that all meet the same noise.
var modes = []mode{
	without: {name: "without", none: true},
	all:     {name: "all"},
	// What a fork, exec and exit cost by themselves.
	lifecycle: {name: "lifecycle", events: only("exec", "fork", "exit")},
	noOpens:   {name: "no opens", events: "{open: {enabled: false}}"},
	outside:   {name: "outside", outside: true},
}

// only is a configuration that leaves out all other types of events.
func only(names ...string) string {
	var b strings.Builder
	for _, t := range event.Types[1:] {
		if !t.OptIn && !slices.Contains(names, t.Name) {
			fmt.Fprintf(&b, "%s: {enabled: false}, ", t.Name)
		}
	}
	return "{" + b.String() + "}"
}

// sample is what one round measured, per operation, in ns of CPU.
type sample struct {
	getpid, open, exec     float64 // of the workload
	openPicket, execPicket float64
	openEvents, execEvents float64 // records
}

type bench struct {
	picket, config, dir string
	w, other            *workerProc
}

func run(picket, config string, n sizes) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed to load BPF programs")
	}
	dir, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{picket: picket, config: config, dir: dir}
	if b.w, err = startWorker(); err != nil {
		return err
	}
	defer b.w.stop()
	if b.other, err = startWorker(); err != nil {
		return err
	}
	defer b.other.stop()
	if _, err := b.w.do("open", n.opens/10); err != nil { // warm up
		return err
	}
	if err := b.costs(n); err != nil {
		return err
	}
	if err := b.untilLoss(); err != nil {
		return err
	}
	if err := b.memory(n.memory); err != nil {
		return err
	}
	return b.storms(n.storm)
}

// costs shows what the workload and Picket pay for a call.
func (b *bench) costs(n sizes) error {
	samples := make([][]sample, len(modes))
	for round := range n.rounds {
		for i, m := range modes {
			s, err := b.measure(m, n)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			samples[i] = append(samples[i], s)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, n.rounds)
	}
	median := func(mode int, f func(sample) float64) float64 {
		v := make([]float64, 0, n.rounds)
		for _, s := range samples[mode] {
			v = append(v, f(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	fmt.Printf("CPU per call, medians of %d rounds\n\n", n.rounds)
	fmt.Printf("%-44s %11s %11s %10s %13s %8s\n", "", "without", "with", "more", "Picket's", "records")
	const us = 1000 // ns
	row := func(name string, mode int, f, p, e func(sample) float64) {
		x, y := median(without, f)/us, median(mode, f)/us
		fmt.Printf("%-44s %8.3f µs %8.3f µs %+8.3f µs", name, x, y, y-x)
		if x > 100 {
			fmt.Printf(" (%+.1f%%)", 100*(y-x)/x)
		}
		if p != nil {
			fmt.Printf(" %8.2f µs %7.2f", median(mode, p)/us, median(mode, e))
		}
		fmt.Println()
	}
	getpid := func(s sample) float64 { return s.getpid }
	open := func(s sample) float64 { return s.open }
	exec := func(s sample) float64 { return s.exec }
	execPicket, execEvents := func(s sample) float64 { return s.execPicket }, func(s sample) float64 { return s.execEvents }
	row("getpid", all, getpid, nil, nil)
	row("open+close, traced", all, open, func(s sample) float64 { return s.openPicket }, func(s sample) float64 { return s.openEvents })
	row("open+close, the type is off", noOpens, open, nil, nil)
	row("open+close, outside of the scope", outside, open, nil, nil)
	row("fork+exec+exit, all types of events", all, exec, execPicket, execEvents)
	row("fork+exec+exit, only exec, fork and exit", lifecycle, exec, execPicket, execEvents)
	row("fork+exec+exit, outside of the scope", outside, exec, execPicket, execEvents)
	return nil
}

// measure does a round in a mode.
func (b *bench) measure(m mode, n sizes) (s sample, err error) {
	var c *collector
	if !m.none {
		scope := b.w
		if m.outside {
			scope = b.other
		}
		if c, err = b.start(scope, m.events); err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, c.stop()) }()
	}
	each := func(what string, n int) (cpu, picket, events float64, err error) {
		before, err1 := c.counts()
		used := c.cpu()
		r, err2 := b.w.do(what, n)
		time.Sleep(300 * time.Millisecond) // what is still in the ring buffer and in batches
		picket = float64(c.cpu()-used) / float64(r.n)
		after, err3 := c.counts()
		if bad := after.bad - before.bad; bad > 0 {
			fmt.Fprintf(os.Stderr, "%s: %s: %.0f events were lost or dropped\n", m.name, what, bad)
		}
		return float64(r.cpu) / float64(r.n), picket, (after.emitted() - before.emitted()) / float64(r.n), errors.Join(err1, err2, err3)
	}
	var errs [3]error
	s.getpid, _, _, errs[0] = each("getpid", 5*n.opens)
	s.open, s.openPicket, s.openEvents, errs[1] = each("open", n.opens)
	s.exec, s.execPicket, s.execEvents, errs[2] = each("exec", n.execs)
	return s, errors.Join(errs[:]...)
}

// untilLoss raises the rate of opens until the first event is lost.
func (b *bench) untilLoss() error {
	c, err := b.start(b.w, "")
	if err != nil {
		return err
	}
	defer func() { _ = c.stop() }()
	fmt.Printf("\n%-14s %14s %12s %12s %14s\n", "asked opens/s", "reached", "emitted", "not emitted", "Picket's CPU")
	for rate := 10000; rate <= 1280000; rate *= 2 {
		before, err := c.counts()
		if err != nil {
			return err
		}
		cpu := c.cpu()
		m, err := b.w.do("rate "+strconv.Itoa(rate), rate*2)
		if err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
		after, err := c.counts()
		if err != nil {
			return err
		}
		bad := after.bad - before.bad
		fmt.Printf("%-14d %12.0f/s %12.0f %12.0f %11.2f µs\n", rate, float64(m.n)/m.wall.Seconds(), after.emitted()-before.emitted(), bad,
			float64(c.cpu()-cpu)/1e3/float64(m.n))
		if bad > 0 || float64(m.n)/m.wall.Seconds() < 0.6*float64(rate) {
			break
		}
	}
	return nil
}

// memory shows what Picket holds at the start, what it uses when nothing happens, and what it holds after many execs.
func (b *bench) memory(execs int) error {
	c, err := b.start(b.w, "")
	if err != nil {
		return err
	}
	defer func() { _ = c.stop() }()
	const quiet = 5 * time.Second
	begin, cpu := time.Now(), c.cpu()
	time.Sleep(quiet)
	idle := 100 * float64(c.cpu()-cpu) / float64(time.Since(begin))
	start := c.memory()
	if _, err := b.w.do("execs", execs); err != nil {
		return err
	}
	time.Sleep(time.Second)
	end := c.memory()
	fmt.Printf("\nidle: %.2f%% of a CPU\n", idle)
	for _, m := range []struct {
		when string
		memory
	}{{"at the start", start}, {fmt.Sprintf("after %d execs", execs), end}} {
		fmt.Printf("resident memory %s: %.0f MiB, of it %.0f MiB anonymous; ring buffer %.0f MiB apart\n", m.when, m.resident, m.anonymous, m.ring)
	}
	return nil
}

// storms has all CPUs fork, then all open files, as fast as they can, and compares what was done with what was emitted and what
// was counted as lost.
func (b *bench) storms(n int) error {
	c, err := b.start(b.w, "")
	if err != nil {
		return err
	}
	defer func() { _ = c.stop() }()
	cpus := runtime.NumCPU()
	fmt.Printf("\n%-8s %10s %12s %10s %10s %10s %10s\n", "storm", "type", "done", "a second", "emitted", "lost", "missing")
	for _, s := range []struct {
		what  string
		types []string
		n     int
	}{{"forks", []string{"fork", "exit"}, n}, {"opens", []string{"open"}, 10 * n}} {
		before, err := c.counts()
		if err != nil {
			return err
		}
		r, err := b.w.do(s.what, s.n)
		if err != nil {
			return err
		}
		done := float64(s.n * cpus)
		if s.what == "forks" {
			done += float64(cpus) // the shells
		}
		var after counts
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if after, err = c.counts(); err != nil {
				return err
			}
			if missing := done - after.of(s.types[0]) + before.of(s.types[0]); missing <= 0 {
				break
			}
		}
		for _, t := range s.types {
			emitted, lost := after.events[t]-before.events[t], after.lost[t]-before.lost[t]
			fmt.Printf("%-8s %10s %12.0f %10.0f %10.0f %10.0f %10.0f\n", s.what, t, done, done/r.wall.Seconds(), emitted, lost, done-emitted-lost)
		}
	}
	return nil
}

// collector is a running picket. A nil collector has used no CPU.
type collector struct {
	cmd *exec.Cmd
	url string
}

const metricsAddr = "127.0.0.1:18888"

// start starts a collector that watches a worker.
func (b *bench) start(scope *workerProc, events string) (*collector, error) {
	if events == "" {
		events = "{}"
	}
	cfg := filepath.Join(b.dir, "config.yaml")
	text := fmt.Sprintf(`
receivers: {ebpf_security: {scope: {process_trees: [%d]}, events: %s}}
exporters: {debug: {verbosity: basic}}
service:
  pipelines: {logs: {receivers: [ebpf_security], exporters: [debug]}}
  telemetry:
    logs: {level: warn}
    metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 18888}}}}]}
`, scope.cmd.Process.Pid, events)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{"--config", cfg}
	if b.config != "" {
		args = append(args, "--config", b.config)
	}
	c := &collector{cmd: exec.Command(b.picket, args...), url: "http://" + metricsAddr + "/metrics"}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for range 300 {
		if n, err := c.counts(); err == nil && n.ring > 0 {
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

// cpu is the CPU time that the collector has used, in ns: the sum of its threads', which Go does not end.
func (c *collector) cpu() (total int64) {
	if c == nil {
		return 0
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.cmd.Process.Pid))
	for _, t := range threads {
		data, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(data), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		total += ns
	}
	return total
}

// memory is in MiB.
type memory struct{ resident, anonymous, ring float64 }

// memory returns what the collector holds. The pages of the ring buffer, which it maps twice, are not resident memory to the
// kernel, but some count as such once they were read.
func (c *collector) memory() (m memory) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			m.resident = kib / 1024
		case "RssAnon:":
			m.anonymous = kib / 1024
		}
	}
	if n, err := c.counts(); err == nil {
		m.ring = n.ring / (1 << 20)
	}
	return m
}

// counts are the collector's own metrics.
type counts struct {
	events, lost map[string]float64 // by type: emitted; lost in the kernel or dropped on the way
	bad          float64            // all that were lost
	ring         float64            // bytes; 0 until it is there
}

func (n *counts) emitted() (sum float64) {
	for _, v := range n.events {
		sum += v
	}
	return sum
}

func (n *counts) of(typ string) float64 { return n.events[typ] + n.lost[typ] }

func (c *collector) counts() (n counts, err error) {
	n = counts{events: map[string]float64{}, lost: map[string]float64{}}
	if c == nil {
		return n, nil
	}
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
		_, typ, _ := strings.Cut(line, `event_type="`)
		typ, _, _ = strings.Cut(typ, `"`)
		switch name := strings.TrimPrefix(line, "otelcol_receiver_ebpf_security_"); {
		case strings.HasPrefix(name, "ring_size"):
			n.ring = v
		case strings.HasPrefix(name, "events_emitted"):
			n.events[typ] += v
		case strings.HasPrefix(name, "events_lost"), strings.HasPrefix(name, "events_dropped"):
			n.lost[typ] += v
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
	if _, err = fmt.Fscanln(w.out, &r.n, &r.wall, &r.cpu); err == nil && r.n == 0 {
		err = fmt.Errorf("the worker could not do %q", what)
	}
	return r, err
}

func worker() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		n, _ := strconv.Atoi(f[0])
		cpu, start := usage(), time.Now()
		var err error
		switch f[1] {
		case "getpid":
			for range n {
				_, _, _ = syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
			}
		case "open":
			n, err = opens(n, 0)
		case "rate":
			rate, _ := strconv.Atoi(f[2])
			n, err = opens(n, rate)
		case "exec":
			err = execs(n)
		case "execs":
			err = onAllCPUs(func() error { return execs(n / runtime.NumCPU()) })
		case "opens":
			err = onAllCPUs(func() error {
				_, err := opens(n, 0)
				return err
			})
		case "forks":
			err = onAllCPUs(func() error { return forks(n) })
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			n = 0
		}
		fmt.Println(n, int64(time.Since(start)), int64(usage()-cpu))
	}
}

// onAllCPUs runs f as often as there are CPUs, at the same time.
func onAllCPUs(f func() error) error {
	errs := make([]error, runtime.NumCPU())
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// execs runs a program n times.
func execs(n int) error {
	for range n {
		if err := spawn("/bin/true", "true"); err != nil {
			return err
		}
	}
	return nil
}

// forks has a shell fork n times; the child ends at once. os/exec is not used, because it forks once more to find out what
// the kernel can do.
func forks(n int) error {
	script := "i=0; while [ $i -lt " + strconv.Itoa(n) + " ]; do (:); i=$((i+1)); done"
	return spawn("/bin/sh", "sh", "-c", script)
}

// spawn runs a program, with no more calls than it takes.
func spawn(path string, argv ...string) error {
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("%s ended with status %#x", path, int(status))
	}
	return nil
}

// opens opens and closes a file n times; with a rate, so many times a second, for at most three seconds.
func opens(n, rate int) (int, error) {
	start := time.Now()
	for i := range n {
		fd, err := unix.Open("/etc/hostname", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		_ = unix.Close(fd)
		if rate > 0 && i%100 == 99 {
			due := time.Duration(i) * time.Second / time.Duration(rate)
			if wait := due - time.Since(start); wait > 100*time.Microsecond {
				time.Sleep(wait)
			}
			if time.Since(start) > 3*time.Second {
				return i + 1, nil
			}
		}
	}
	return n, nil
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
