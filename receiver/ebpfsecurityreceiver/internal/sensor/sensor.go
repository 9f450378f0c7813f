// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package sensor drives the kernel side: it loads and attaches the programs, reads their records and counts what was lost.
package sensor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// Options say what the kernel side watches.
type Options struct {
	Types    event.TypeSet                // lifecycle types are always watched
	Errors   [event.NumTypes][]unix.Errno // further errors that are events, by type
	RingSize uint32                       // bytes: a power of two, and a multiple of the page size
	Scope    Scope
	Flags    uint32 // bpf.AllMMap and the like

	object string // name of the only object that may be used, in tests; empty: the first that the kernel takes
}

// objects are the forms in which the programs are compiled, the fastest first.
var objects = []struct {
	name string
	load func() (*ebpf.CollectionSpec, error)
}{
	{"direct", bpf.LoadSyscallDirect}, // reads kernel memory through typed pointers: bpf_rdonly_cast, since 6.2
	{"portable", bpf.LoadSyscall},
}

// Scope limits what is watched. Lists are OR-ed, Containers is AND-ed; the zero value is everything.
type Scope struct {
	Trees      []uint32 // process ids; their running descendants are found by Snapshot
	Cgroups    []uint64 // cgroup ids, all on the same hierarchy
	CgroupV1   bool     // Cgroups are of the v1 memory hierarchy
	PIDNS      []uint32 // inode numbers of pid namespaces
	Containers bool
}

// Sensor is a running kernel side.
type Sensor struct {
	Object string // form of the BPF object that the kernel took: direct or portable

	coll   *ebpf.Collection
	links  []link.Link
	reader *ringbuf.Reader
	rec    ringbuf.Record
	asleep *ebpf.Variable // of the kernel side: the next record wakes Drain
	idle   uint32         // 1: the last Drain found nothing
	cpus   int
}

// reserveNum / reserveDen is the share of the ring buffer that other than lifecycle records may fill.
const (
	reserveNum = 3
	reserveDen = 4
	// scratchPerCPU is PK_SCRATCH_PER_CPU of lib/maps.h.
	scratchPerCPU = 2
)

// Open loads and attaches the kernel side. Its errors say what is missing and what to do about it; those of a kernel or a
// user that cannot run it match ErrUnsupported or ErrPrivilege.
func Open(o *Options) (_ *Sensor, err error) {
	if err := Probe(); err != nil {
		return nil, err
	}
	s := &Sensor{}
	if s.cpus, err = ebpf.PossibleCPU(); err != nil {
		return nil, fmt.Errorf("count the CPUs: %w", err)
	}
	var refused []error
	for _, obj := range objects {
		if o.object != "" && o.object != obj.name {
			continue
		}
		err = s.load(obj.load, o)
		if err == nil {
			s.Object = obj.name
			break
		}
		refused = append(refused, fmt.Errorf("load the BPF programs (%s): %w", obj.name, err))
	}
	if s.Object == "" {
		return nil, errors.Join(refused...)
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	one := uint8(1)
	for _, pid := range o.Scope.Trees {
		if err := s.coll.Maps["scope_trees"].Put(pid, one); err != nil {
			return nil, fmt.Errorf("scope: process tree %d: %w", pid, err)
		}
	}
	for _, id := range o.Scope.Cgroups {
		if err := s.coll.Maps["scope_cgroups"].Put(id, one); err != nil {
			return nil, fmt.Errorf("scope: cgroup %d: %w", id, err)
		}
	}
	for _, ino := range o.Scope.PIDNS {
		if err := s.coll.Maps["scope_pidns"].Put(ino, one); err != nil {
			return nil, fmt.Errorf("scope: pid namespace %d: %w", ino, err)
		}
	}
	if s.reader, err = ringbuf.NewReader(s.coll.Maps["events"]); err != nil {
		return nil, fmt.Errorf("open the ring buffer: %w", err)
	}
	s.asleep = s.coll.Variables["reader_asleep"]
	return s, s.attach()
}

// load gives an object to the kernel.
func (s *Sensor) load(read func() (*ebpf.CollectionSpec, error), o *Options) error {
	spec, err := read()
	if err != nil {
		return fmt.Errorf("read the embedded object: %w", err)
	}
	if err := configure(spec, o); err != nil {
		return err
	}
	spec.Maps["scratch"].MaxEntries = uint32(s.cpus) * scratchPerCPU
	if err := leaveOut(spec, o.recordTypes()); err != nil {
		return err
	}
	s.coll, err = ebpf.NewCollection(spec)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		err = fmt.Errorf("%w\n%s", err, verifierLog(ve))
	}
	return err
}

// verifierLog is the whole of what the kernel said about a program that it refused.
func verifierLog(ve *ebpf.VerifierError) string { return fmt.Sprintf("%+v", ve) }

func configure(spec *ebpf.CollectionSpec, o *Options) error {
	if o.RingSize < uint32(os.Getpagesize()) || o.RingSize&(o.RingSize-1) != 0 {
		return fmt.Errorf("ring buffer of %d bytes: must be a power of two and at least a page", o.RingSize)
	}
	spec.Maps["events"].MaxEntries = o.RingSize
	cfg := bpf.Config{
		Types: uint64(o.recordTypes()), Self: uint32(os.Getpid()), Options: o.Flags,
		RingSize: uint64(o.RingSize), RingReserve: uint64(o.RingSize) / reserveDen * reserveNum,
	}
	if len(o.Scope.Trees) > 0 {
		cfg.Scope |= bpf.ScopeTrees
	}
	if len(o.Scope.Cgroups) > 0 {
		cfg.Scope |= bpf.ScopeCgroups
	}
	if o.Scope.CgroupV1 {
		cfg.Scope |= bpf.ScopeCgroupV1
	}
	if len(o.Scope.PIDNS) > 0 {
		cfg.Scope |= bpf.ScopePIDNS
	}
	if o.Scope.Containers {
		cfg.Scope |= bpf.ScopeContainers
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/1/ns/mnt", &st); err == nil {
		cfg.HostMntns = uint32(st.Ino)
	}
	for t, errnos := range o.Errors {
		typ := event.Type(t)
		if typ == event.TypeExec {
			typ = typeExecFailed
		}
		for _, e := range errnos {
			if int(e) < 64*len(cfg.Errors[typ]) {
				cfg.Errors[typ][e/64] |= 1 << (e % 64)
			}
		}
	}
	cfg.RenameLock = renameLock()
	for name, value := range map[string]any{"config": cfg, "syscalls": table(runtime.GOARCH, o.recordTypes())} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s of the BPF object: %w", name, err)
		}
	}
	return nil
}

// hook is a program and what it is attached to.
type hook struct {
	program    string
	tracepoint string        // that the kernel may not have; the program is left out then
	types      event.TypeSet // it is for one of these; 0: always
	state      string        // map that is left out together with it
	needed     func(event.TypeSet) bool
	helper     string // that the kernel may not have: only with it
	without    string // only without this helper
	// Where neither a helper nor a tracepoint tells, the version of the kernel does; zero: any.
	since, before version
}

// version is a kernel's: major and minor.
type version [2]int

func (v version) less(w version) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }

func kernelVersion() (v version, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return v, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &v[0], &v[1]); err != nil {
		return v, fmt.Errorf("kernel version %q: %w", release, err)
	}
	return v, nil
}

// hooks lists the programs in the order in which they are attached: those of the lifecycle before all others, so that when
// an event is seen, its process is known. sys_enter comes before sys_exit, which would find no state.
var hooks = []hook{
	{program: "picket_fork"},
	{program: "picket_exec"},
	{program: "picket_exit"},
	{program: "picket_signal", types: event.Set(event.TypeSignal)},
	{program: "picket_packet", types: event.Set(event.TypeDNS), before: version{6, 12}},
	{program: "picket_packet_dynptr", types: event.Set(event.TypeDNS), since: version{6, 12}}, // bpf_dynptr_from_skb in tracepoints
	{program: "picket_module", tracepoint: "module_load", types: event.Set(event.TypeLoadModule)},
	{program: "picket_used_exec", types: event.Set(event.TypeSyscalls)},
	{program: "picket_used_exit", types: event.Set(event.TypeSyscalls)},
	{program: "picket_used", types: event.Set(event.TypeSyscalls), state: "used_sets"},
	{program: "picket_sys_enter", needed: needsEntry, without: "BPF_FUNC_find_vma"},
	{program: "picket_sys_enter_vma", needed: needsEntry, helper: "BPF_FUNC_find_vma"}, // 5.17
	{program: "picket_sys_exit", needed: needsExit},
}

func (h *hook) wanted(types event.TypeSet) bool {
	return (h.types == 0 || h.types&types != 0) && (h.needed == nil || h.needed(types))
}

// leaveOut takes the programs out of the object that are not used, or that this kernel has no tracepoint for.
func leaveOut(spec *ebpf.CollectionSpec, types event.TypeSet) error {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("read the kernel's type information: %w", err)
	}
	running, err := kernelVersion()
	if err != nil {
		return err
	}
	var funcs *btf.Enum
	if err := kernel.TypeByName("bpf_func_id", &funcs); err != nil {
		return fmt.Errorf("read the helpers that the kernel has: %w", err)
	}
	helpers := make(map[string]bool, len(funcs.Values))
	for _, v := range funcs.Values {
		helpers[v.Name] = true
	}
	for i := range hooks {
		h := &hooks[i]
		keep := h.wanted(types)
		if keep && h.tracepoint != "" {
			var t *btf.Typedef
			keep = kernel.TypeByName("btf_trace_"+h.tracepoint, &t) == nil
		}
		keep = keep && (h.helper == "" || helpers[h.helper]) && (h.without == "" || !helpers[h.without]) &&
			!running.less(h.since) && (h.before == version{} || running.less(h.before))
		if !keep {
			delete(spec.Programs, h.program)
			delete(spec.Maps, h.state)
		}
	}
	return nil
}

func (s *Sensor) attach() error {
	for i := range hooks {
		p := s.coll.Programs[hooks[i].program]
		if p == nil {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return fmt.Errorf("attach %s: %w", p, err)
		}
		s.links = append(s.links, l)
	}
	return nil
}

// InUpperLayer says of a file on overlayfs, by a descriptor of this process, whether it is in the upper layer. ok is false if it
// is not on overlayfs, or if the kernel does not run programs for user space.
func (s *Sensor) InUpperLayer(fd int) (upper, ok bool) {
	flags, err := s.coll.Programs["picket_layer"].Run(&ebpf.RunOptions{Context: [1]uint64{uint64(fd)}})
	return flags&bpf.FileUpper != 0, err == nil && flags&bpf.FileOverlay != 0
}

// Close detaches everything. It may be called more than once, and not during a Drain.
func (s *Sensor) Close() error {
	errs := []error{s.Detach()}
	s.asleep = nil
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.coll != nil {
		s.coll.Close()
	}
	return errors.Join(errs...)
}

// Detach stops the events; what is in the ring buffer can still be drained.
func (s *Sensor) Detach() error {
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	s.links = nil
	return errors.Join(errs...)
}

// MaxDrained is how many records one Drain gives at most, so that its caller gets to do something else. Fewer were all
// that there were.
const MaxDrained = 1 << 16

// Drain waits until wait has passed or the ring buffer is half full, then gives every record that is there to handle, up to
// MaxDrained. It returns the number of records. After a Drain that found none, the first record ends the wait too. A record that
// cannot be decoded is given to handle as its error. After Close the error is os.ErrClosed.
func (s *Sensor) Drain(wait time.Duration, handle func(*Record, error)) (int, error) {
	if s.asleep == nil {
		return 0, os.ErrClosed
	}
	if err := s.asleep.Set(s.idle); err != nil {
		return 0, fmt.Errorf("tell the kernel side to wake this one: %w", err)
	}
	// What was written before has not seen it, and what is just being written need not have: the caller's waits after a
	// Drain without records are short at first, and find that.
	if s.idle != 0 && s.reader.AvailableBytes() > 0 {
		wait = 0
	}
	s.idle = 1
	var rec Record
	n := 0
	s.reader.SetDeadline(time.Now().Add(wait))
	for n < MaxDrained {
		err := s.reader.ReadInto(&s.rec)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
			return n, nil
		case errors.Is(err, ringbuf.ErrClosed):
			return n, os.ErrClosed
		case err != nil:
			return n, fmt.Errorf("read the ring buffer: %w", err)
		}
		if n++; n == 1 {
			s.idle = 0
			s.reader.SetDeadline(time.Unix(1, 0)) // no more waiting
		}
		_, err = rec.Decode(s.rec.RawSample)
		handle(&rec, err)
	}
	return n, nil
}

// Interrupt makes a Drain in another goroutine, or else the next one, wait no longer.
func (s *Sensor) Interrupt() { _ = s.reader.Flush() } // fails only if it is closed, and then nobody waits

// Snapshot gives a record of type exec with the flag bpf.Snapshot for every process, also those outside of the scope.
func (s *Sensor) Snapshot(handle func(*Record, error)) error {
	it, err := link.AttachIter(link.IterOptions{Program: s.coll.Programs["picket_tasks"]})
	if err != nil {
		return fmt.Errorf("attach the task iterator: %w", err)
	}
	defer it.Close()
	rd, err := it.Open()
	if err != nil {
		return fmt.Errorf("open the task iterator: %w", err)
	}
	defer rd.Close()
	// An iterator's read returns whole records only as long as they fit; what is left of one comes with the next read.
	data, err := io.ReadAll(rd)
	if err != nil {
		return fmt.Errorf("read the task iterator: %w", err)
	}
	var (
		rec Record
		buf []byte
	)
	for len(data) > 0 {
		if len(data) < 4 {
			handle(nil, fmt.Errorf("%w: %d bytes left in the snapshot", ErrRecord, len(data)))
			return nil
		}
		size := int(uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24)
		if size < headerSize || size > len(data) {
			handle(nil, fmt.Errorf("%w: snapshot record of %d bytes", ErrRecord, size))
			return nil
		}
		buf = append(buf[:0], data[:size]...) // records follow each other without alignment
		_, err := rec.Decode(buf)
		handle(&rec, err)
		data = data[size:]
	}
	return nil
}

// AddTree adds a process to the scope's process trees.
func (s *Sensor) AddTree(pid uint32) error { return s.coll.Maps["scope_trees"].Put(pid, uint8(1)) }

// InTrees says whether a process is in the scope's process trees.
func (s *Sensor) InTrees(pid uint32) bool {
	var v uint8
	return s.coll.Maps["scope_trees"].Lookup(pid, &v) == nil
}

// Losses is what the kernel side counted since Open, by type and reason.
type Losses struct {
	Count [event.NumTypes][bpf.NumLosses]uint64
	// Recursion counts runs that the kernel skipped because the program was already running on the CPU (5.12 and later).
	Recursion uint64
}

// Types of records that are no event type of their own: bits of the kernel side's set of types.
const (
	typeExecFailed = event.Type(bpf.TypeExecFailed)
	typeIOUring    = event.Type(bpf.TypeIOUring)
)

// TypeOf is the event type that a type of record counts as.
func TypeOf(record uint8) event.Type {
	switch t := event.Type(record); {
	case t < event.NumTypes:
		return t
	case t == typeExecFailed:
		return event.TypeExec
	}
	return event.TypeAny
}

// recordTypes adds to the event types the records that are none: failed execs where an error of exec was asked for, and
// io_uring where there is something that it hides. Where there is no SELinux, no write has to be looked at.
func (o *Options) recordTypes() event.TypeSet {
	types := o.Types
	if !hasSELinux() {
		types &^= event.Set(event.TypeSELinux)
	}
	if needsExit(types) {
		types |= 1 << typeIOUring
	}
	if len(o.Errors[event.TypeExec]) > 0 {
		types |= 1 << typeExecFailed
	}
	return types
}

func hasSELinux() bool { return hasFileSystem("selinuxfs") }

func hasFileSystem(name string) bool {
	text, err := os.ReadFile("/proc/filesystems")
	return err == nil && bytes.Contains(text, []byte("\t"+name+"\n"))
}

// Losses reads the loss ledger.
func (s *Sensor) Losses() (l Losses, err error) {
	perCPU := make([][bpf.NumLosses]uint64, s.cpus)
	for record := range uint32(bpf.NumTypes) {
		if err := s.coll.Maps["losses"].Lookup(record, &perCPU); err != nil {
			return l, fmt.Errorf("read the loss ledger: %w", err)
		}
		typ := TypeOf(uint8(record))
		for _, c := range perCPU {
			for why, n := range c {
				l.Count[typ][why] += n
			}
		}
	}
	for i := range hooks {
		p := s.coll.Programs[hooks[i].program]
		if p == nil {
			continue
		}
		if st, err := p.Stats(); err == nil {
			l.Recursion += st.RecursionMisses
		}
	}
	return l, nil
}

// Size returns the bytes of the ring buffer, and how many of them are in use.
func (s *Sensor) Size() (size, used int) { return s.reader.BufferSize(), s.reader.AvailableBytes() }
