// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"cmp"
	"slices"
	"time"
)

// numbers are those of a batch. They are told to their hosts together and in ascending order, which is that of the receiver: the
// records of a host may be in several resources, as after a component that groups them by container.
type numbers struct {
	list  []number
	boots []boot
	index map[boot]uint32 // of boots
	at    uint32          // the boot at hand
}

// boot is one of a host. Its id may be the text of a record.
type boot struct {
	host *host
	id   string
}

// What is kept from batch to batch, so that a single large one does not hold memory for ever.
const (
	maxKeptNumbers = 64 << 10
	maxKeptBoots   = 1 << 10
)

// enter begins the numbers of a boot, or goes on with them.
func (ns *numbers) enter(b boot) {
	at, ok := ns.index[b]
	if !ok {
		if ns.index == nil {
			ns.index = map[boot]uint32{}
		}
		at = uint32(len(ns.boots)) //nolint:gosec // there are no more than resources in a batch
		ns.boots, ns.index[b] = append(ns.boots, b), at
	}
	ns.at = at
}

// add takes the number of a record.
func (ns *numbers) add(x number) {
	x.boot = ns.at
	ns.list = append(ns.list, x)
}

// count adds what the numbers tell to c.
func (ns *numbers) count(now time.Time, c *sequenceCounts) {
	slices.SortFunc(ns.list, number.compare) // takes no time if they are in order, as they usually are
	for list := ns.list; len(list) > 0; {
		at, n := list[0].boot, 1
		for n < len(list) && list[n].boot == at {
			n++
		}
		b := &ns.boots[at]
		b.host.count(b.id, list[:n], now, c)
		list = list[n:]
	}
}

// compare orders numbers by boot. Of equal ones, an event comes first: after a detection of it, it would have come again.
func (x number) compare(y number) int {
	switch {
	case x.boot != y.boot:
		return cmp.Compare(x.boot, y.boot)
	case x.seq != y.seq:
		return cmp.Compare(x.seq, y.seq)
	case x.event == y.event:
		return 0
	case x.event:
		return -1
	}
	return 1
}

// clear ends the batch.
func (ns *numbers) clear() {
	clear(ns.boots)
	clear(ns.index)
	ns.list, ns.boots = ns.list[:0], ns.boots[:0]
	if cap(ns.list) > maxKeptNumbers {
		ns.list = nil
	}
	if cap(ns.boots) > maxKeptBoots {
		ns.boots, ns.index = nil, nil
	}
}
