// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// hosts are those that records came from of late. Whatever is kept of a host is forgotten with its place here: anybody who can
// send records can make up hosts without end. It is safe for concurrent use.
type hosts struct {
	mu  sync.Mutex
	lru *simplelru.LRU[string, *host]
}

// host is what is kept of a host, beside what policy.Set and policy.Limiter keep.
type host struct {
	id string // as the key of all state of the host

	mu        sync.Mutex
	boots     []*numbering // the one of the last record first
	forgotten bool         // it has lost its place, but what is at work on a batch may still have it
}

// newHosts calls forget for each host that loses its place to another.
func newHosts(limit int, forget func(*host)) *hosts {
	lru, err := simplelru.NewLRU(limit, func(_ string, h *host) { forget(h) })
	if err != nil { // only for a limit that is not positive
		panic(err)
	}
	return &hosts{lru: lru}
}

func (hs *hosts) get(id string) *host {
	id = bounded(id)
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h, ok := hs.lru.Get(id)
	if !ok {
		h = &host{id: strings.Clone(id)}
		hs.lru.Add(h.id, h)
	}
	return h
}

func (hs *hosts) len() int {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.lru.Len()
}

// maxIDBytes bounds an id that is kept. Of a longer one, which no machine has, it is a hash.
const maxIDBytes = 255

func bounded(id string) string {
	if len(id) <= maxIDBytes {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// maxBoots is how many boots of a host are followed: records of the one before may still be on the way.
const maxBoots = 2

// count takes numbers of records of a boot and adds what they tell to c.
func (h *host) count(boot string, numbers []number, now time.Time, c *sequenceCounts) {
	boot = bounded(boot)
	h.mu.Lock()
	defer h.mu.Unlock()
	i := 0
	for i < len(h.boots) && h.boots[i].boot != boot {
		i++
	}
	if i == len(h.boots) {
		if i == maxBoots {
			i--
			h.boots[i].giveUp(c)
			h.boots = h.boots[:i]
		}
		h.boots = append(h.boots, &numbering{boot: strings.Clone(boot)})
	}
	n := h.boots[i]
	copy(h.boots[1:i+1], h.boots[:i])
	h.boots[0] = n
	n.expire(now.Add(-patience), c)
	for _, x := range numbers {
		n.add(x, now, c)
	}
	if h.forgotten {
		n.giveUp(c)
	}
}

// giveUp counts what is still missing, as nobody will ask for it again. The host has lost its place.
func (h *host) giveUp(c *sequenceCounts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten = true
	for _, n := range h.boots {
		n.giveUp(c)
	}
}
