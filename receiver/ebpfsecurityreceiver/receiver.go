// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/enrich"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/hostinfo"
	"github.com/picketsec/picket/internal/local"
	"github.com/picketsec/picket/internal/privacy"
	"github.com/picketsec/picket/internal/proctree"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadata"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// kernel is the kernel side as the receiver uses it; tests replace it.
type kernel interface {
	Drain(wait time.Duration, handle func(*sensor.Record, error)) (int, error)
	Interrupt()
	Snapshot(handle func(*sensor.Record, error)) error
	AddTree(pid uint32) error
	InTrees(pid uint32) bool
	Losses() (sensor.Losses, error)
	InUpperLayer(fd int) (upper, ok bool)
	Size() (size, used int)
	Detach() error
	Close() error
}

func openSensor(o *sensor.Options) (kernel, error) {
	s, err := sensor.Open(o)
	if err != nil {
		return nil, err // not s: an interface that holds a nil *Sensor is not nil
	}
	return s, nil
}

// Reasons for which an event is dropped after it was read.
const (
	dropMalformed = iota // the record could not be decoded
	dropQueueFull        // the pipeline was too slow
	dropRefused          // the pipeline returned an error
	numDrops
)

var dropNames = [numDrops]string{"malformed", "queue_full", "refused"}

// counters are read by the metrics' callbacks while the drain goroutine writes them.
type counters struct {
	read, emitted [event.NumTypes]atomic.Int64
	filtered      [event.NumTypes]atomic.Int64
	dropped       [event.NumTypes][numDrops]atomic.Int64
	lost          [event.NumTypes][bpf.NumLosses]atomic.Int64
	recursion     atomic.Int64
	ioUring       atomic.Int64
}

// batch is what goes to the pipeline at once.
type batch struct {
	logs    plog.Logs
	records plog.LogRecordSlice
	types   [event.NumTypes]int // number of records by type; TypeAny are reports
	origin  *local.Origin       // what lets rules act on the host for these records, and for no others
	since   time.Time
	end     progress     // how far the pipeline is with this one
	reports []lossReport // that are among the records
}

type securityReceiver struct {
	cfg  *Config
	set  receiver.Settings
	next consumer.Logs
	obs  *receiverhelper.ObsReport
	open func(*sensor.Options) (kernel, error)

	comp      component.Host
	host      event.Host
	clock     *hostinfo.Clock
	kernel    kernel
	conv      *converter
	filter    *ruleFilter // nil: everything becomes a record
	store     stateStore
	telemetry *metadata.TelemetryBuilder
	count     counters

	stopping atomic.Bool
	drained  sync.WaitGroup
	queue    chan *batch
	deliver  sync.WaitGroup
	saves    chan state
	saved    sync.WaitGroup
	// saveFailed is of the goroutine that saves; what Start and Shutdown save, they do while it does not run.
	saveFailed bool
	delivered  atomic.Pointer[progress] // how far the pipeline is; what it refused is counted
	// undelivered are reports that were dropped with their batches.
	undelivered struct {
		sync.Mutex
		reports []lossReport
	}

	// Of the drain goroutine.
	batch       *batch
	types       event.TypeSet
	seq         uint64
	lastLoss    sensor.Losses
	lastDropped [event.NumTypes][numDrops]int64
	losses      lossReport
	emptied     event.Time // all that happened before was read
	handedOn    uint64     // sequence of the last record in queue
	owed        progress   // the last report on losses, and since when these are if none is delivered before it
	ended       bool       // the ring buffer was read to its end
	running     bool
}

func newReceiver(set receiver.Settings, cfg *Config, next consumer.Logs) (receiver.Logs, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, Transport: "ebpf", ReceiverCreateSettings: set})
	if err != nil {
		return nil, err
	}
	return &securityReceiver{cfg: cfg, set: set, next: next, obs: obs, open: openSensor}, nil
}

// Start loads and attaches the kernel side, takes the snapshot of the processes, and begins to read.
func (r *securityReceiver) Start(ctx context.Context, host component.Host) (err error) {
	defer func() {
		if err != nil {
			_ = r.release(ctx)
		}
	}()
	r.stopping.Store(false)
	r.comp = host
	if r.host, err = hostinfo.Detect(r.cfg.HostID); err != nil {
		return fmt.Errorf("find out about the host: %w", err)
	}
	if r.clock, err = hostinfo.NewClock(); err != nil {
		return fmt.Errorf("read the clocks: %w", err)
	}
	if r.store, err = openStateStore(ctx, host, r.cfg.Storage, r.set.ID); err != nil {
		return err
	}
	if r.conv, err = r.newConverter(); err != nil {
		return err
	}
	if !r.conv.paths.hostPIDs {
		// The kernel side tells pids of the initial namespace; here the same numbers are other processes.
		const hint = "the collector is in a pid namespace of its own; run it in the host's (in Kubernetes hostPID: true)"
		if len(r.cfg.Scope.ProcessTrees) > 0 {
			return errors.New("scope: process_trees: " + hint)
		}
		r.set.Logger.Warn(hint + ": arguments of processes that run already, and names of users of containers, are not known")
	}
	if r.cfg.Policies != nil {
		if r.filter, err = newRuleFilter(host, *r.cfg.Policies); err != nil {
			return err
		}
	}
	scope, err := r.cfg.Scope.resolveScope()
	if err != nil {
		return err
	}
	r.types = r.cfg.enabled()
	opts := sensor.Options{Types: r.types, RingSize: r.cfg.RingBufferSize, Scope: scope, Flags: r.cfg.flags()}
	for name, e := range r.cfg.Events {
		t, _ := event.TypeByName(name)
		for _, errno := range e.Errors {
			opts.Errors[t] = append(opts.Errors[t], errnoByName(errno))
		}
	}
	if r.kernel, err = r.open(&opts); err != nil {
		return err
	}
	r.conv.paths.layer = r.kernel.InUpperLayer
	if r.telemetry, err = r.newTelemetry(); err != nil {
		return err
	}
	attached, err := r.snapshot(scope.Trees)
	if err != nil {
		return err
	}
	r.lastLoss = sensor.Losses{}
	r.losses = lossReport{since: attached}
	r.newBatch()
	if err := r.resume(ctx, attached); err != nil {
		return err
	}

	r.queue = make(chan *batch, r.cfg.Batch.QueueSize)
	r.saves = make(chan state, 1)
	r.deliver.Go(r.deliverLoop)
	r.saved.Go(r.saveLoop)
	r.drained.Go(r.drainLoop)
	r.running = true
	size, _ := r.kernel.Size()
	r.set.Logger.Info("watching the kernel", zap.String("backend", string(BackendSyscall)), zap.Int("ring_buffer_bytes", size),
		zap.Int64("processes", int64(r.conv.tree.Stats().Processes)), zap.String("host.id", r.host.ID), zap.String("host.id.source", r.host.IDSource))
	return nil
}

func (r *securityReceiver) newConverter() (*converter, error) {
	scrubber, err := privacy.NewScrubber(r.cfg.Args.Scrub, r.cfg.Args.SensitiveWords)
	if err != nil {
		return nil, fmt.Errorf("args: %w", err)
	}
	paths, err := newResolver()
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	c := &converter{
		users: enrich.NewUsers(), scrubber: scrubber, envs: privacy.NewEnvFilter(r.cfg.EnvsWithValue), paths: paths,
		wall: r.clock.Wall, containersOnly: r.cfg.Scope.ContainersOnly, extended: r.cfg.Schema == SchemaExtended,
	}
	c.tree = proctree.New(proctree.Config{
		MaxProcesses: r.cfg.ProcessTree.MaxProcesses, Retention: r.cfg.ProcessTree.Retention,
		Users: c.users, Containers: enrich.NewContainers(), CgroupPath: paths.cgroupPath,
		Alive: paths.alive,
	})
	return c, nil
}

// maxSnapshots bounds the search for descendants that are forked while it goes on.
const maxSnapshots = 5

// snapshot fills the process tree with what runs already. The descendants of the scope's process trees are found here:
// from then on the kernel side adds their children itself. It returns since when nothing of the scope is missed.
func (r *securityReceiver) snapshot(trees []uint32) (attached event.Time, err error) {
	attached = event.Time(time.Now().UnixNano())
	var bad error
	each := func(handle func(*sensor.Record)) error {
		return r.kernel.Snapshot(func(rec *sensor.Record, err error) {
			if err != nil {
				bad = err
				return
			}
			handle(rec)
		})
	}
	for range maxSnapshots {
		if len(trees) == 0 {
			break
		}
		parents := map[uint32]uint32{}
		if err := each(func(rec *sensor.Record) { parents[rec.Pid] = rec.Exec().Ppid }); err != nil {
			return 0, err
		}
		added := false
		for pid := range parents {
			if !r.kernel.InTrees(pid) && descends(pid, parents, r.kernel.InTrees) {
				if err := r.kernel.AddTree(pid); err != nil {
					return 0, fmt.Errorf("scope: process_trees: %w", err)
				}
				added = true
			}
		}
		if !added {
			break
		}
		attached = event.Time(time.Now().UnixNano()) // what these did before is not seen
	}
	if err := each(func(rec *sensor.Record) { r.conv.convert(rec) }); err != nil {
		return 0, err
	}
	return attached, bad
}

// descends says whether one of pid's ancestors is in the set. A chain of parents has no more than len(parents) steps.
func descends(pid uint32, parents map[uint32]uint32, in func(uint32) bool) bool {
	for range parents {
		parent, ok := parents[pid]
		if !ok || parent == pid {
			return false
		}
		if in(parent) {
			return true
		}
		pid = parent
	}
	return false
}

// resume decides where the sequence goes on, and reports what was missed since the receiver before this one.
func (r *securityReceiver) resume(ctx context.Context, attached event.Time) error {
	st, ok, err := r.store.load(ctx, r.host.BootID)
	if err != nil {
		r.set.Logger.Warn("the state of the last run is lost", zap.Error(err))
	}
	if ok && st.Clean {
		r.seq = st.Sequence
	} else {
		// Microseconds since the boot: more than any earlier run of this boot has used, as it would have had to emit a
		// million records a second from the start.
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
			return fmt.Errorf("read the boot clock: %w", err)
		}
		r.seq = max(uint64(ts.Nano())/1000, st.Sequence)
	}
	r.emptied, r.owed, r.ended = attached, progress{}, false
	if !ok {
		r.handedOn = r.seq
		r.delivered.Store(&progress{r.seq, attached})
	} else {
		r.handedOn = st.Sequence
		r.delivered.Store(&progress{st.Sequence, attached})
		r.appendReport(lossReport{since: st.Time, restart: &st}, attached)
	}
	// From now on numbers are given, which must not be given again, and what is not delivered is missing.
	r.save(r.stateAt(*r.delivered.Load(), false))
	return nil
}

func (r *securityReceiver) newBatch() {
	b := &batch{logs: plog.NewLogs(), since: time.Now(), origin: local.NewOrigin(r.conv.paths.hostPIDs)}
	rl := b.logs.ResourceLogs().AppendEmpty()
	r.host.ToResource(rl.Resource())
	rl.SetSchemaUrl(event.SchemaURL)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.SetSchemaUrl(event.SchemaURL)
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(r.set.BuildInfo.Version)
	b.records = sl.LogRecords()
	b.records.EnsureCapacity(min(r.cfg.Batch.MaxRecords, 64))
	r.batch = b
}

// housekeeping intervals
const (
	tick        = time.Second
	clockPeriod = 10 * time.Second
	lossPeriod  = 10 * time.Second
	clockStep   = time.Millisecond
)

func (r *securityReceiver) drainLoop() {
	interval := r.cfg.Drain.MinInterval
	lastTick, lastClock, lastReport := time.Now(), time.Now(), time.Now()
	for !r.stopping.Load() {
		began := event.Time(time.Now().UnixNano())
		n, err := r.kernel.Drain(interval, r.handle)
		if err != nil {
			r.set.Logger.Error("the kernel side can no longer be read; no events from here on", zap.Error(err))
			componentstatus.ReportStatus(r.comp, componentstatus.NewPermanentErrorEvent(err))
			r.flush() // what was read before; the state stays that of the last second, from where the gap counts
			return
		}
		if n < sensor.MaxDrained {
			r.emptied = began
		}
		last := interval
		interval = r.cfg.Drain.MinInterval
		if n == 0 {
			interval = min(2*last, r.cfg.Drain.MaxInterval)
		}
		now := time.Now()
		switch age := now.Sub(r.batch.since); {
		case r.batch.records.Len() == 0:
			r.batch.since = now
		case age >= r.cfg.Batch.Timeout:
			r.flush()
		default:
			interval = min(interval, r.cfg.Batch.Timeout-age)
		}
		if now.Sub(lastTick) < tick {
			continue
		}
		lastTick = now
		r.conv.tree.Expire(event.Time(now.UnixNano()))
		at := r.reached()
		r.collectLosses()
		select {
		case r.saves <- r.stateAt(at, false):
		default: // the one before is still being written
		}
		if now.Sub(lastReport) >= lossPeriod {
			lastReport = now
			r.reportLosses(at.time)
		}
		if now.Sub(lastClock) >= clockPeriod {
			lastClock = now
			if step := r.clock.Resample(); step.Abs() >= clockStep {
				r.set.Logger.Info("the clock was set; event times follow", zap.Duration("step", step))
			}
		}
	}
	// What happened until now is still in the ring buffer.
	r.emptied = event.Time(time.Now().UnixNano())
	if err := r.kernel.Detach(); err != nil {
		r.set.Logger.Warn("detach from the kernel", zap.Error(err))
	}
	if _, err := r.kernel.Drain(0, r.handle); err != nil {
		r.set.Logger.Warn("read what was left in the ring buffer", zap.Error(err))
	}
	at := r.reached()
	r.collectLosses()
	r.reportLosses(at.time)
	r.flush()
	r.ended = true
}

// reached is how far the pipeline is: what it does not have dies with the process. It is to be called before collectLosses,
// so that what was refused up to there is counted.
func (r *securityReceiver) reached() progress {
	at := *r.delivered.Load()
	if at.sequence == r.handedOn && r.batch.records.Len() == 0 {
		return progress{r.seq, r.emptied} // nothing is on its way
	}
	return at
}

// stateAt is the state when the pipeline is so far: losses that it has no report of yet count as not watched.
func (r *securityReceiver) stateAt(at progress, clean bool) state {
	if len(r.losses.lost) > 0 {
		at.time = min(at.time, r.losses.since)
	}
	if at.sequence < r.owed.sequence {
		at.time = min(at.time, r.owed.time)
	}
	return state{BootID: r.host.BootID, Sequence: at.sequence, Time: at.time, Clean: clean}
}

// handle takes one record of the ring buffer.
func (r *securityReceiver) handle(rec *sensor.Record, err error) {
	if err != nil {
		r.count.dropped[event.TypeAny][dropMalformed].Add(1)
		return
	}
	typ := sensor.TypeOf(rec.Type)
	r.count.read[typ].Add(1)
	ev := r.conv.convert(rec)
	if r.conv.malformed {
		r.count.dropped[typ][dropMalformed].Add(1)
	}
	if ev == nil {
		return
	}
	ev.Facts.Observed = event.Time(time.Now().UnixNano())
	switch {
	case int(rec.Type) == bpf.TypeIOUring:
		r.reportRing(ev)
	case r.types.Has(typ) && r.filter != nil && !r.filter.keeps(ev, r.host.ID):
		r.count.filtered[typ].Add(1)
		return
	case r.types.Has(typ):
		r.seq++
		ev.Facts.Sequence = r.seq
		event.EncodeRecord(ev, &r.host, r.batch.records.AppendEmpty())
		r.batch.origin.Saw(ev.Facts.ProcessID, rec.Time)
		r.batch.types[typ]++
	default:
		return
	}
	if r.batch.records.Len() >= r.cfg.Batch.MaxRecords {
		r.flush()
	}
}

// flush hands the batch over. The drain goroutine never waits: if the pipeline is too slow, the batch is dropped.
func (r *securityReceiver) flush() {
	b := r.batch
	if b.records.Len() == 0 {
		return
	}
	r.newBatch()
	b.end = progress{r.seq, r.emptied}
	select {
	case r.queue <- b:
		r.handedOn = r.seq
	default:
		r.drop(b, dropQueueFull)
	}
}

func (r *securityReceiver) drop(b *batch, why int) {
	if len(b.reports) > 0 { // first: who sees the numbers sees these
		r.undelivered.Lock()
		r.undelivered.reports = append(r.undelivered.reports, b.reports...)
		r.undelivered.Unlock()
	}
	for typ, n := range b.types {
		r.count.dropped[typ][why].Add(int64(n))
	}
}

// Retries of a batch that the pipeline refused: few, because the kernel does not wait.
const (
	maxAttempts = 4
	firstPause  = 50 * time.Millisecond
)

func (r *securityReceiver) deliverLoop() {
	for b := range r.queue {
		n := b.records.Len()
		ctx := r.obs.StartLogsOp(local.NewContext(context.Background(), b.origin))
		var err error
		for attempt, pause := 0, firstPause; attempt < maxAttempts; attempt, pause = attempt+1, pause*2 {
			if attempt > 0 {
				if r.stopping.Load() {
					break // a full queue would hold up the shutdown
				}
				time.Sleep(pause)
			}
			if err = r.next.ConsumeLogs(ctx, b.logs); err == nil || consumererror.IsPermanent(err) {
				break
			}
		}
		r.obs.EndLogsOp(ctx, "ebpf", n, err)
		if err != nil {
			r.drop(b, dropRefused)
		} else {
			for typ, n := range b.types {
				r.count.emitted[typ].Add(int64(n))
			}
		}
		r.delivered.Store(&b.end)
	}
}

func (r *securityReceiver) saveLoop() {
	for st := range r.saves {
		r.save(st)
	}
}

func (r *securityReceiver) save(st state) {
	err := r.store.save(context.Background(), st)
	if err != nil && !r.saveFailed { // once: the next second would only say it again
		r.set.Logger.Warn("the state could not be stored; after a restart it will not be known what was missed", zap.Error(err))
	}
	r.saveFailed = err != nil
}

// Shutdown detaches, hands on what was read, and frees everything. It may be called without Start and more than once.
func (r *securityReceiver) Shutdown(ctx context.Context) error {
	if !r.running {
		return nil
	}
	r.running = false
	r.stopping.Store(true)
	r.kernel.Interrupt()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.drained.Wait()
		close(r.queue)
		close(r.saves)
		r.deliver.Wait()
		r.saved.Wait()
		if r.ended { // else the gap counts from the last second before
			r.collectLosses() // what was refused at last is in no report
			r.save(r.stateAt(progress{r.seq, r.emptied}, true))
		}
	}()
	select {
	case <-done:
		return r.release(ctx)
	case <-ctx.Done():
		go func() { // everything is freed as soon as the pipeline returns
			<-done
			_ = r.release(context.WithoutCancel(ctx))
		}()
		return fmt.Errorf("the pipeline did not take the last records: %w", ctx.Err())
	}
}

func (r *securityReceiver) release(ctx context.Context) error {
	var errs []error
	r.filter.close()
	r.filter = nil
	if r.telemetry != nil {
		r.telemetry.Shutdown()
		r.telemetry = nil
	}
	if r.kernel != nil {
		errs = append(errs, r.kernel.Close())
		r.kernel = nil
	}
	if r.conv != nil {
		r.conv.paths.close()
		r.conv = nil
	}
	errs = append(errs, r.store.close(ctx))
	r.store = stateStore{}
	return errors.Join(errs...)
}
