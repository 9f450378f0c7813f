// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package hostinfo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

// fakeClocks are clocks of which each reading takes some time.
type fakeClocks struct {
	wall, boot int64
	takes      []int64 // what each reading takes in turn; the last one for all others
	step       int64   // by which the wall clock is set at each reading of the boot clock
	err        error
}

func (f *fakeClocks) read(clock int32) (int64, error) {
	if f.err != nil {
		return 0, f.err
	}
	d := f.takes[0]
	if len(f.takes) > 1 {
		f.takes = f.takes[1:]
	}
	f.wall += d
	f.boot += d
	if clock == unix.CLOCK_BOOTTIME {
		f.wall += f.step
		return f.boot, nil
	}
	return f.wall, nil
}

func TestClockTakesTheTightestSample(t *testing.T) {
	// The first two samples are interrupted; the third takes 10 + 10 ns and is right to the ns.
	f := &fakeClocks{wall: 1_000_000, boot: 1000, takes: []int64{10, 5000, 10, 10, 700, 10, 10, 10, 10, 10, 300}}
	c := &Clock{read: f.read}
	offset, err := c.sample()
	require.NoError(t, err)
	assert.Equal(t, int64(999_000), offset)
	c.offset.Store(offset)
	assert.Equal(t, event.Time(999_500), c.Wall(500))
	assert.Equal(t, event.Time(0), c.Wall(0))

	f.wall += 7_000
	assert.Equal(t, 7*time.Microsecond, c.Resample())
	assert.Equal(t, event.Time(1_006_500), c.Wall(500))
	f.wall -= 9_000
	assert.Equal(t, -9*time.Microsecond, c.Resample())
	assert.Zero(t, c.Resample())

	f.err = unix.EINVAL
	assert.Zero(t, c.Resample())
	assert.Equal(t, event.Time(997_500), c.Wall(500))
	_, err = c.sample()
	require.ErrorIs(t, err, unix.EINVAL)
}

func TestClockIsSetBackAllTheTime(t *testing.T) {
	f := &fakeClocks{takes: []int64{1}, step: -1000}
	_, err := (&Clock{read: f.read}).sample()
	require.EqualError(t, err, "the wall clock was set back at every reading")
}

func TestClockHere(t *testing.T) {
	c, err := NewClock()
	require.NoError(t, err)
	before := time.Now()
	boot, err := readClock(unix.CLOCK_BOOTTIME)
	require.NoError(t, err)
	after := time.Now()
	at := time.Unix(0, int64(c.Wall(uint64(boot))))
	// The clocks run apart by what adjtime does meanwhile.
	assert.False(t, at.Before(before.Add(-time.Millisecond)), "%s, %s", before, at)
	assert.False(t, at.After(after.Add(time.Millisecond)), "%s, %s", at, after)
	assert.Less(t, c.Resample().Abs(), time.Millisecond)
}

func BenchmarkWall(b *testing.B) {
	c, err := NewClock()
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		c.Wall(123456789)
	}
}

func BenchmarkResample(b *testing.B) {
	c, err := NewClock()
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		c.Resample()
	}
}
