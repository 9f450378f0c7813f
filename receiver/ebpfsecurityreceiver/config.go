// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ebpfsecurityreceiver

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// Config is the configuration of the receiver. Every field has a default that works.
type Config struct {
	// Backend is how the kernel is watched: auto, function or syscall.
	Backend Backend `mapstructure:"backend"`
	// Events changes single event types; all types are on by default.
	Events map[string]EventConfig `mapstructure:"events"`
	// Scope limits what is watched. Empty is everything on the machine.
	Scope ScopeConfig `mapstructure:"scope"`
	// Schema is the form of the body: standard, or extended by members of Datadog's newer schema.
	Schema Schema `mapstructure:"schema"`
	// RingBufferSize is in bytes: a power of two, and at least a page.
	RingBufferSize uint32      `mapstructure:"ring_buffer_size"`
	Drain          DrainConfig `mapstructure:"drain"`
	Batch          BatchConfig `mapstructure:"batch"`
	// HostID overrides host.id.
	HostID string `mapstructure:"host_id"`
	// Args says what of the arguments of processes is recorded.
	Args ArgsConfig `mapstructure:"args"`
	// EnvsWithValue lists the environment variables whose values are recorded; of all others only the name is.
	EnvsWithValue []string `mapstructure:"envs_with_value"`
	// ProcessTree bounds the process tree.
	ProcessTree ProcessTreeConfig `mapstructure:"process_tree"`
	// Policies names a security_policies extension: events that none of its rules can match become no records.
	Policies *component.ID `mapstructure:"policies"`
	// Storage names a storage extension, in which the last sequence number is kept; without it a restart cannot tell what
	// was missed.
	Storage *component.ID `mapstructure:"storage"`

	_ struct{}
}

// EventConfig changes one event type.
type EventConfig struct {
	// Enabled is true unless said otherwise, and false for syscalls.
	Enabled *bool `mapstructure:"enabled"`
	// Errors names error numbers (ENOENT, …) that make an event of the type, beside EACCES and EPERM, which always do.
	Errors []string `mapstructure:"errors"`
	// All is for types of which not everything is an event by default: of mmap and mprotect only what makes memory
	// executable, of signal only what processes send.
	All bool `mapstructure:"all"`

	_ struct{}
}

// ScopeConfig limits what is watched. The lists are OR-ed, ContainersOnly is AND-ed.
type ScopeConfig struct {
	// Cgroups are paths below the root of the v2 hierarchy (of the v1 memory hierarchy where v2 has no such path).
	Cgroups []string `mapstructure:"cgroups"`
	// ProcessTrees are process ids: the process, its running descendants, and all that they start.
	ProcessTrees []int `mapstructure:"process_trees"`
	// PIDNamespaces are inode numbers of pid namespaces, as /proc/<pid>/ns/pid has them.
	PIDNamespaces []uint32 `mapstructure:"pid_namespaces"`
	// Pod is "self" for the pod that the collector runs in.
	Pod string `mapstructure:"pod"`
	// ContainersOnly leaves out what runs in no container.
	ContainersOnly bool `mapstructure:"containers_only"`

	_ struct{}
}

// DrainConfig says how often the ring buffer is read.
type DrainConfig struct {
	// MinInterval is used under load. When idle the intervals grow to MaxInterval, and the first event ends one.
	MinInterval time.Duration `mapstructure:"min_interval"`
	MaxInterval time.Duration `mapstructure:"max_interval"`

	_ struct{}
}

// BatchConfig says when records go to the pipeline.
type BatchConfig struct {
	// MaxRecords is the number of records that are sent at once at the latest.
	MaxRecords int `mapstructure:"max_records"`
	// Timeout is how long a record waits for others.
	Timeout time.Duration `mapstructure:"timeout"`
	// QueueSize is the number of batches that wait for a slow pipeline; what comes beyond them is dropped and counted.
	QueueSize int `mapstructure:"queue_size"`

	_ struct{}
}

// ArgsConfig says what of the arguments of processes is recorded.
type ArgsConfig struct {
	// Scrub replaces what looks like a secret; on by default.
	Scrub bool `mapstructure:"scrub"`
	// SensitiveWords are further words (with * as a wildcard) whose values are secrets.
	SensitiveWords []string `mapstructure:"sensitive_words"`

	_ struct{}
}

// ProcessTreeConfig bounds the process tree.
type ProcessTreeConfig struct {
	// MaxProcesses is the number of process images, running and exited.
	MaxProcesses int `mapstructure:"max_processes"`
	// Retention is how long an exited process is kept at most for events that name it.
	Retention time.Duration `mapstructure:"retention"`

	_ struct{}
}

// Backend is how the kernel is watched.
type Backend string

// The backends.
const (
	BackendAuto     Backend = "auto"
	BackendFunction Backend = "function"
	BackendSyscall  Backend = "syscall"
)

// UnmarshalText accepts the names of the backends.
func (b *Backend) UnmarshalText(text []byte) error {
	switch v := Backend(text); v {
	case BackendAuto, BackendFunction, BackendSyscall:
		*b = v
		return nil
	}
	return fmt.Errorf("backend %q: must be auto, function or syscall", text)
}

// Schema is the form of the body.
type Schema string

// The schemas.
const (
	SchemaStandard Schema = "standard"
	SchemaExtended Schema = "extended"
)

// UnmarshalText accepts the names of the schemas.
func (s *Schema) UnmarshalText(text []byte) error {
	switch v := Schema(text); v {
	case SchemaStandard, SchemaExtended:
		*s = v
		return nil
	}
	return fmt.Errorf("schema %q: must be standard or extended", text)
}

const (
	maxTreePID = 1 << 22 // PID_MAX_LIMIT
	// minDuration is also what catches a number without a unit, which the Collector takes for nanoseconds.
	minDuration = time.Millisecond
)

// Validate reports all mistakes at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.Backend == BackendFunction {
		bad("backend: function is not part of this version; use auto or syscall")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Events)) {
		if _, ok := event.TypeByName(name); !ok {
			bad("events: there is no event type %q (there are %v)", name, typeNames())
		}
		if t, _ := event.TypeByName(name); c.Events[name].All && all[t] == 0 {
			bad("events: %s: all: is for mmap, mprotect and signal", name)
		}
		for _, e := range c.Events[name].Errors {
			if errnoByName(e) == 0 {
				bad("events: %s: errors: %q is no error number; give names such as ENOENT", name, e)
			}
		}
	}
	page := uint32(os.Getpagesize())
	if c.RingBufferSize < page || c.RingBufferSize&(c.RingBufferSize-1) != 0 {
		bad("ring_buffer_size: %d must be a power of two and at least a page of %d bytes", c.RingBufferSize, page)
	}
	if c.Drain.MinInterval < minDuration || c.Drain.MaxInterval < c.Drain.MinInterval || c.Drain.MaxInterval > time.Second {
		bad("drain: need %v <= min_interval (%v) <= max_interval (%v) <= 1s", minDuration, c.Drain.MinInterval, c.Drain.MaxInterval)
	}
	if c.Batch.MaxRecords < 1 || c.Batch.MaxRecords > 65536 {
		bad("batch: max_records: %d must be from 1 to 65536", c.Batch.MaxRecords)
	}
	if c.Batch.Timeout < minDuration || c.Batch.Timeout > time.Minute {
		bad("batch: timeout: %v must be from %v to 1m", c.Batch.Timeout, minDuration)
	}
	if c.Batch.QueueSize < 1 || c.Batch.QueueSize > 65536 {
		bad("batch: queue_size: %d must be from 1 to 65536", c.Batch.QueueSize)
	}
	for _, pid := range c.Scope.ProcessTrees {
		if pid < 1 || pid > maxTreePID {
			bad("scope: process_trees: %d is no process id", pid)
		}
	}
	if c.Scope.Pod != "" && c.Scope.Pod != "self" {
		bad("scope: pod: %q must be self or empty", c.Scope.Pod)
	}
	if c.ProcessTree.MaxProcesses < 1024 {
		bad("process_tree: max_processes: %d must be at least 1024", c.ProcessTree.MaxProcesses)
	}
	if c.ProcessTree.Retention < 0 {
		bad("process_tree: retention: %v must not be negative", c.ProcessTree.Retention)
	}
	return errors.Join(errs...)
}

func typeNames() (names []string) {
	for _, t := range event.Types[1:] {
		names = append(names, t.Name)
	}
	return names
}

// errnoByName is the inverse of unix.ErrnoName; 0 if there is none.
func errnoByName(name string) unix.Errno {
	for e := unix.Errno(1); e < 192; e++ {
		if n := unix.ErrnoName(e); n == name && n != "" { // some numbers have no name
			return e
		}
	}
	return 0
}

// enabled returns the wanted event types.
func (c *Config) enabled() (types event.TypeSet) {
	for _, t := range event.Types[1:] {
		on := !t.OptIn
		if e, ok := c.Events[t.Name]; ok && e.Enabled != nil {
			on = *e.Enabled
		}
		if on {
			types |= event.Set(t.Type)
		}
	}
	return types
}

// all is a switch of event types by which the kernel side sends more than what it sends by default.
var all = map[event.Type]uint32{event.TypeMMap: bpf.AllMMap, event.TypeMProtect: bpf.AllMProtect, event.TypeSignal: bpf.KernelSignals}

// flags returns the switches of the kernel side.
func (c *Config) flags() (flags uint32) {
	for t, flag := range all {
		if c.Events[t.String()].All {
			flags |= flag
		}
	}
	return flags
}
