// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/picketsec/picket/internal/event"
)

// testHosts bounds the hosts of a Limiter under test.
const testHosts = 100

const start = event.Time(1_700_000_000_000_000_000)

func after(d time.Duration) event.Time { return start + event.Time(d) }

func TestLimiterDefaultRate(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r"}
	allowed := 0
	for range 100 { // a burst of 40, and no more at that instant
		if suppressed, ok := l.Allow("h", r, nil, start); ok {
			allowed++
			assert.Zero(t, suppressed)
		}
	}
	assert.Equal(t, 40, allowed)
	_, ok := l.Allow("h", r, nil, after(99*time.Millisecond))
	assert.False(t, ok)
	suppressed, ok := l.Allow("h", r, nil, after(100*time.Millisecond))
	assert.True(t, ok)
	assert.EqualValues(t, 61, suppressed)
	suppressed, ok = l.Allow("h", r, nil, after(200*time.Millisecond))
	assert.True(t, ok)
	assert.Zero(t, suppressed)
}

func TestLimiterEvery(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r", Every: 10 * time.Second}
	tests := []struct {
		at         time.Duration
		ok         bool
		suppressed int64
	}{
		{0, true, 0},
		{time.Second, false, 0},
		{9 * time.Second, false, 0},
		{10 * time.Second, true, 2},
		{time.Hour, true, 0},
		{time.Hour + time.Second, false, 0}, // one, however long it was quiet
	}
	for _, tt := range tests {
		suppressed, ok := l.Allow("h", r, nil, after(tt.at))
		assert.Equal(t, tt.ok, ok, tt.at)
		assert.Equal(t, tt.suppressed, suppressed, tt.at)
	}
}

func TestLimiterUndo(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r", Every: 10 * time.Second}
	allow := func(at time.Duration, want bool, wantSuppressed int64) {
		t.Helper()
		suppressed, ok := l.Allow("h", r, nil, after(at))
		assert.Equal(t, want, ok)
		assert.Equal(t, wantSuppressed, suppressed)
	}
	allow(0, true, 0)
	allow(1, false, 0)
	allow(2, false, 0)
	l.Undo("h", r, nil, 0, false) // that of the last
	l.Undo("h", r, nil, 7, true)
	l.Undo("h", r, nil, 0, true) // never more than a burst
	allow(0, true, 8)
	allow(1, false, 0)
	allow(10*time.Second, true, 1)
	l.Undo("h", r, nil, 0, true)
	allow(-time.Hour, false, 0) // a step back in time gains nothing
	l.Undo("h", r, nil, 0, false)
	l.Undo("h", r, nil, 0, false) // of a bucket that was forgotten
	allow(time.Hour, true, 0)
}

func TestLimiterKeepsHostsAndRulesApart(t *testing.T) {
	l := NewLimiter(testHosts)
	for _, host := range []string{"a", "b"} {
		for _, id := range []string{"r1", "r2"} {
			_, ok := l.Allow(host, &Rule{ID: id, Every: time.Hour}, nil, start)
			assert.True(t, ok, "%s %s", host, id)
			_, ok = l.Allow(host, &Rule{ID: id, Every: time.Hour}, nil, start)
			assert.False(t, ok, "%s %s", host, id)
		}
	}
}

func TestLimiterTimeSteps(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r", Every: 10 * time.Second}
	_, ok := l.Allow("h", r, nil, after(24*time.Hour)) // a record from the future
	assert.True(t, ok)
	_, ok = l.Allow("h", r, nil, start)
	assert.False(t, ok)
	allowed := 0
	for i := range 100 {
		if _, ok := l.Allow("h", r, nil, after(time.Duration(i)*time.Second)); ok {
			allowed++
		}
	}
	assert.GreaterOrEqual(t, allowed, 9, "the rule is not silenced by the record from the future")
	assert.LessOrEqual(t, allowed, 11)
}

func TestLimiterChangedRule(t *testing.T) {
	l := NewLimiter(testHosts)
	slow, fast := &Rule{ID: "r", Every: time.Hour}, &Rule{ID: "r", Every: time.Second}
	l.Allow("h", slow, nil, start)
	l.Allow("h", slow, nil, start)
	suppressed, ok := l.Allow("h", fast, nil, start)
	assert.True(t, ok)
	assert.EqualValues(t, 1, suppressed, "the count survives the change")

	l.Retain(newSet(""))
	assert.Equal(t, []map[string]*buckets{{}}, l.hosts.Values())
}

func TestLimiterBound(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r"}
	for i := range testHosts + 100 {
		l.Allow(fmt.Sprint(i), r, nil, start)
	}
	assert.Equal(t, testHosts, l.hosts.Len())
}

func TestLimiterForgets(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r", Every: time.Hour}
	for _, host := range []string{"a", "b"} {
		for _, token := range []string{"", "x", "y"} {
			_, ok := l.Allow(host, r, []byte(token), start)
			assert.True(t, ok)
		}
	}
	assert.Equal(t, 4, l.tokens)
	l.Forget("a")
	assert.Equal(t, 2, l.tokens)
	_, ok := l.Allow("a", r, nil, start)
	assert.True(t, ok)
	_, ok = l.Allow("b", r, nil, start)
	assert.False(t, ok)
	l.Retain(newSet(""))
	assert.Zero(t, l.tokens)
}

// TestLimiterAllTokens: hosts with many tokens each do not add up without end.
func TestLimiterAllTokens(t *testing.T) {
	l := NewLimiter(testHosts)
	var rules [maxTokens]*Rule
	for i := range rules {
		rules[i] = &Rule{ID: fmt.Sprint(i), Every: time.Hour}
	}
	for host := range 2 {
		for _, r := range rules {
			for token := range maxTokens {
				l.Allow(fmt.Sprint(host), r, fmt.Append(nil, token), start)
			}
		}
	}
	assert.Equal(t, []string{"1"}, l.hosts.Keys())
	assert.Equal(t, maxTokens*maxTokens, l.tokens)
	assert.LessOrEqual(t, l.tokens, maxAllTokens)
}

func TestLimiterLongTokens(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r", Every: time.Hour}
	long := bytes.Repeat([]byte("x"), 1<<20)
	for i := range 2 {
		long[len(long)-1] = byte(i)
		_, ok := l.Allow("h", r, long, start)
		assert.True(t, ok)
		_, ok = l.Allow("h", r, long, start)
		assert.False(t, ok)
	}
	rules, _ := l.hosts.Get("h")
	for _, token := range rules["r"].tokens.Keys() {
		assert.Len(t, token, sha256.Size)
	}
}

func TestLimiterTokens(t *testing.T) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r", Every: time.Hour}
	for i := range maxTokens {
		_, ok := l.Allow("h", r, fmt.Append(nil, i), start)
		assert.True(t, ok)
	}
	_, ok := l.Allow("h", r, []byte("0"), start)
	assert.False(t, ok)
	_, ok = l.Allow("h", r, []byte("new"), start) // in the place of the one that was quiet longest
	assert.True(t, ok)
	_, ok = l.Allow("h", r, []byte("1"), start)
	assert.True(t, ok)
	suppressed, ok := l.Allow("h", r, []byte("0"), after(time.Hour))
	assert.True(t, ok)
	assert.EqualValues(t, 1, suppressed)
}

func BenchmarkLimiter(b *testing.B) {
	l, r := NewLimiter(testHosts), &Rule{ID: "r"}
	b.ReportAllocs()
	t := start
	for b.Loop() {
		t += 1000
		l.Allow("h", r, nil, t)
	}
}
