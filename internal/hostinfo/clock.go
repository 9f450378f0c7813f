// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package hostinfo

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

// samples is how often both clocks are read for one offset. The tightest pair counts: the others were interrupted.
const samples = 16

// Clock turns times of the boot clock (CLOCK_BOOTTIME), which the kernel side stamps records with, into wall-clock times.
// It may be used by several goroutines.
type Clock struct {
	offset atomic.Int64 // wall − boot, in ns
	read   func(clock int32) (int64, error)
}

// NewClock samples the clocks. The error says that the kernel has no boot clock.
func NewClock() (*Clock, error) {
	c := &Clock{read: readClock}
	offset, err := c.sample()
	if err != nil {
		return nil, err
	}
	c.offset.Store(offset)
	return c, nil
}

func readClock(clock int32) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, err
	}
	return ts.Nano(), nil
}

// Wall returns the wall-clock time of a time of the boot clock in ns. 0, which is absent, stays 0.
func (c *Clock) Wall(bootNS uint64) event.Time {
	if bootNS == 0 {
		return 0
	}
	return event.Time(int64(bootNS) + c.offset.Load()) //nolint:gosec // 292 years
}

// Resample takes the offset anew and returns by how much the wall clock was set forward, or back if negative, since it was
// taken last. If the clocks cannot be read, nothing changes.
func (c *Clock) Resample() (step time.Duration) {
	offset, err := c.sample()
	if err != nil {
		return 0
	}
	return time.Duration(offset - c.offset.Swap(offset))
}

// sample reads the boot clock between two readings of the wall clock, several times.
func (c *Clock) sample() (offset int64, err error) {
	best := int64(-1)
	for range samples {
		before, err := c.read(unix.CLOCK_REALTIME)
		if err != nil {
			return 0, fmt.Errorf("reading the wall clock: %w", err)
		}
		boot, err := c.read(unix.CLOCK_BOOTTIME)
		if err != nil {
			return 0, fmt.Errorf("reading the boot clock: %w", err)
		}
		after, err := c.read(unix.CLOCK_REALTIME)
		if err != nil {
			return 0, fmt.Errorf("reading the wall clock: %w", err)
		}
		// The width is negative if the wall clock was set back in between.
		if width := after - before; width >= 0 && (best < 0 || width < best) {
			best, offset = width, before+width/2-boot
		}
	}
	if best < 0 {
		return 0, errors.New("the wall clock was set back at every reading")
	}
	return offset, nil
}
