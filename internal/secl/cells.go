// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"maps"
	"sort"
	"strings"

	"github.com/picketsec/picket/internal/event"
)

// scopeKey is whose value a cell is: what of which host.
type scopeKey struct {
	host string
	owner
}

// owner is a process, container or cgroup of a host; the zero value stands for the host.
type owner struct {
	process uint64
	name    string // of a container or cgroup
}

// cell is one value of a variable. It is immutable: readers need no lock once they have it.
type cell struct {
	value    Value
	expires  event.Time   // 0: never
	elements []event.Time // of a list: when each element expires, 0 is never; the oldest element is first
}

func (x *cell) live(now event.Time) bool {
	return x != nil && (x.expires == 0 || now < x.expires)
}

// cellBytes is about what a cell takes without its texts and elements.
const cellBytes = 256

// bytes is about what the cell takes in memory.
func (x *cell) bytes() int {
	const text, number, address = 16 + 8, 8 + 8, 32 + 8 // of an element, with its end
	n := cellBytes + len(x.value.String) + len(x.value.Strings)*text + len(x.value.Ints)*number + len(x.value.IPs)*address
	for _, s := range x.value.Strings {
		n += len(s)
	}
	return n
}

// cells are the values of a variable, by host. All of them together are bounded, and so that no host takes the room of
// another: those that have most give way first. Whether a value has expired is up to the time of its own host's events:
// hosts may have other clocks, or send what they had queued.
type cells struct {
	hosts map[string]*hostCells
	n     int
	bytes int
}

type hostCells struct {
	cells map[owner]*cell
	bytes int
	now   event.Time // of its latest put. It may go back: one event from the future must not expire the host's later values
}

func (c *cells) get(k scopeKey) *cell {
	if h := c.hosts[k.host]; h != nil {
		return h.cells[k.owner]
	}
	return nil
}

// put sets a value at a time of its host and returns how many others had to go for it.
func (c *cells) put(k scopeKey, x *cell, now event.Time) (evicted int) {
	if h := c.hosts[k.host]; h != nil {
		h.now = now
	}
	size := x.bytes()
	if c.get(k) == nil && c.n >= MaxVariableCells || c.bytes+size > MaxVariableBytes {
		evicted = c.evict()
	}
	h := c.hosts[k.host]
	if h == nil {
		h = &hostCells{cells: map[owner]*cell{}, now: now}
		c.hosts[strings.Clone(k.host)] = h
	}
	if old := h.cells[k.owner]; old != nil {
		size -= old.bytes()
	} else {
		c.n++
		k.name = strings.Clone(k.name) // it may be a view of a whole record
	}
	h.cells[k.owner] = x
	h.bytes += size
	c.bytes += size
	return evicted
}

func (c *cells) remove(k scopeKey) {
	if h := c.hosts[k.host]; h != nil {
		c.removeOf(k.host, h, k.owner)
	}
}

func (c *cells) removeOf(host string, h *hostCells, o owner) {
	x := h.cells[o]
	if x == nil {
		return
	}
	delete(h.cells, o)
	size := x.bytes()
	c.n--
	h.bytes -= size
	c.bytes -= size
	if len(h.cells) == 0 {
		delete(c.hosts, host)
	}
}

// forget removes all values of a host.
func (c *cells) forget(host string) {
	if h := c.hosts[host]; h != nil {
		c.n -= len(h.cells)
		c.bytes -= h.bytes
		delete(c.hosts, host)
	}
}

// evict makes room and returns how many values that took: it drops what has expired, and if that is not enough a sixteenth
// of the rest, so that a variable that stays full does not search for room at every Set. Hosts with less than the others
// lose nothing; of a host any values go.
func (c *cells) evict() (evicted int) {
	room := c.bytes - c.bytes/16
	for host, h := range c.hosts {
		for o, x := range h.cells {
			if !x.live(h.now) {
				c.removeOf(host, h, o)
			}
		}
	}
	if c.bytes <= room {
		return 0
	}
	// The most that a host may keep.
	most := sort.Search(c.bytes, func(most int) bool {
		sum := 0
		for h := range maps.Values(c.hosts) {
			sum += min(h.bytes, most+1)
		}
		return sum > room
	})
	for host, h := range c.hosts {
		for o := range h.cells {
			if h.bytes <= most {
				break
			}
			c.removeOf(host, h, o)
			evicted++
		}
	}
	return evicted
}
