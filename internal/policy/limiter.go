// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/picketsec/picket/internal/event"
)

// The default rate of detections per rule and host: one per 100 ms, with a burst of 40, as Datadog's agent has it.
const (
	defaultRateInterval = 100 * time.Millisecond
	defaultRateBurst    = 40
)

// Bounds of tokens: of a rule and host, as Datadog's agent has it, and of all. The host that was quiet longest is forgotten,
// which gives it a new burst and drops its counts of suppressed detections. Of a token that is long only a hash is kept.
const (
	maxTokens     = 500
	maxAllTokens  = 1 << 18
	maxTokenBytes = 128
)

// Limiter keeps detections of each rule and host below the rule's rate. It runs on the events' own time and not on the
// clock: a queue that is worked off after an outage must not lose the detections that were hours apart when they happened.
// What could not be delivered is taken back with Undo, for the next time that it comes. After a long step back in time a bucket goes on from the
// earlier time, so that one record from the future cannot silence a rule. It is safe for concurrent use.
type Limiter struct {
	mu     sync.Mutex
	hosts  *simplelru.LRU[string, map[string]*buckets]
	tokens int // of all
}

// buckets are those of a rule on a host.
type buckets struct {
	one    *bucket                         // of rules without limiter_token
	tokens *simplelru.LRU[string, *bucket] // by token
}

type bucket struct {
	*rate.Limiter
	every      time.Duration
	last       event.Time // the latest time so far
	suppressed int64
	returned   int // how many are allowed beside the rate, because they were given back
}

// maxDisorder is how far back in time an event may be to count as late. What is further back means that the clock was set,
// or that the latest time was wrong.
const maxDisorder = event.Time(time.Minute)

// NewLimiter makes a Limiter with no history. Of more than so many hosts it forgets the one that was quiet longest.
func NewLimiter(hosts int) *Limiter {
	l := &Limiter{}
	l.hosts = newLRU(hosts, func(_ string, rules map[string]*buckets) {
		for _, b := range rules {
			l.tokens -= b.len()
		}
	})
	return l
}

func newLRU[T any](size int, evicted func(string, T)) *simplelru.LRU[string, T] {
	lru, err := simplelru.NewLRU(size, evicted)
	if err != nil { // only for a size that is not positive
		panic(err)
	}
	return lru
}

func (b *buckets) len() int {
	if b.tokens == nil {
		return 0
	}
	return b.tokens.Len()
}

// Forget drops the history of a host.
func (l *Limiter) Forget(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts.Remove(host)
}

// Allow says whether r may make a detection for host at t. token is what AppendToken made of the event; it is not kept. If
// so, suppressed is how many it was not allowed since the last; if not, it is 0.
func (l *Limiter) Allow(host string, r *Rule, token []byte, t event.Time) (suppressed int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(host, r, token)
	if !b.allow(t) {
		b.suppressed++
		return 0, false
	}
	suppressed, b.suppressed = b.suppressed, 0
	return suppressed, true
}

// Undo takes back what Allow said, because nothing of its batch could be delivered: the batch will come again, and what it has used up
// of the rate must be there then.
func (l *Limiter) Undo(host string, r *Rule, token []byte, suppressed int64, allowed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(host, r, token)
	if !allowed {
		b.suppressed = max(b.suppressed-1, 0) // 0 if the bucket was forgotten meanwhile
		return
	}
	b.suppressed += suppressed
	if b.returned < b.Burst() {
		b.returned++
	}
}

func (l *Limiter) bucket(host string, r *Rule, token []byte) *bucket {
	rules, found := l.hosts.Get(host)
	if !found {
		rules = map[string]*buckets{}
		l.hosts.Add(host, rules)
	}
	bs := rules[r.ID]
	if bs == nil {
		bs = &buckets{}
		rules[r.ID] = bs
	}
	if len(token) == 0 {
		if bs.one == nil || bs.one.every != r.Every {
			bs.one = newBucket(r.Every, bs.one)
		}
		return bs.one
	}
	if len(token) > maxTokenBytes {
		sum := sha256.Sum256(token)
		token = sum[:]
	}
	if bs.tokens == nil {
		bs.tokens = newLRU[*bucket](maxTokens, nil)
	}
	b, found := bs.tokens.Get(string(token))
	if !found || b.every != r.Every {
		b = newBucket(r.Every, b)
		before := bs.len()
		bs.tokens.Add(string(token), b)
		l.tokens += bs.len() - before
		for l.tokens > maxAllTokens && l.hosts.Len() > 1 {
			l.hosts.RemoveOldest()
		}
	}
	return b
}

// newBucket makes a full bucket, in the place of old if that is not nil.
func newBucket(every time.Duration, old *bucket) *bucket {
	interval, burst := defaultRateInterval, defaultRateBurst
	if every > 0 {
		interval, burst = every, 1
	}
	b := &bucket{Limiter: rate.NewLimiter(rate.Every(interval), burst), every: every}
	if old != nil {
		b.suppressed = old.suppressed
	}
	return b
}

func (b *bucket) allow(t event.Time) bool {
	at := time.Unix(0, int64(t))
	switch {
	case t >= b.last:
		b.last = t
	case t < b.last-maxDisorder:
		// A rate.Limiter waits for its time to come again. Go on from here, with an empty bucket, so that going back and forth
		// gains nothing.
		b.Limiter, b.last, b.returned = rate.NewLimiter(b.Limit(), b.Burst()), t, 0
		b.ReserveN(at, b.Burst())
	}
	if b.AllowN(at, 1) {
		return true
	}
	if b.returned > 0 {
		b.returned--
		return true
	}
	return false
}

// Retain forgets the rules that set does not have.
func (l *Limiter) Retain(set *Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rules := range l.hosts.Values() {
		for id, b := range rules {
			if !set.Has(id) {
				l.tokens -= b.len()
				delete(rules, id)
			}
		}
	}
}
