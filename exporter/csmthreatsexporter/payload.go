// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

// The limits of the intake: of the agent's own sender, which the intake is made for.
const (
	maxPayloadEntries = 1000
	maxPayloadBytes   = 5_000_000 // of JSON, before compression
)

// limits bound one payload.
type limits struct {
	entries int
	bytes   int // of the whole array, brackets included
}

// payload is a JSON array of log entries under construction. One entry may lie beyond the limits: it was added, did not
// fit, and becomes the first one of the next payload.
//
//	[entry,entry,entry,overflowing entry
//	^                 ^ end
type payload struct {
	limits        limits
	buf           []byte
	end           int // where the entries that fit end
	fitting       int // their number
	lastTimestamp int64
	// of the entry beyond end, if there is one
	overflow          bool
	overflowTimestamp int64
}

func (p *payload) reset(l limits) {
	*p = payload{limits: l, buf: append(p.buf[:0], '['), end: 1}
}

// add appends the entry of a record. When it does not fit, full reports true until next is called. add must not be called
// while full.
func (p *payload) add(o *entryOptions, r *record) dropReason {
	const brackets = len("[]")
	// Escaping only adds bytes: there is no need to build what is too large already.
	if len(r.record.Body().Str()) > p.limits.bytes-brackets {
		return dropTooLarge
	}
	separator := 0
	if p.fitting > 0 {
		p.buf = append(p.buf, ',')
		separator = 1
	}
	buf, timestamp := o.appendEntry(p.buf, r.facts, r.record)
	if len(buf)-p.end-separator > p.limits.bytes-brackets {
		p.buf = buf[:p.end]
		return dropTooLarge
	}
	p.buf = buf
	if p.fitting == p.limits.entries || len(buf)+len("]") > p.limits.bytes {
		p.overflow, p.overflowTimestamp = true, timestamp
		return keep
	}
	p.end = len(buf)
	p.fitting++
	p.lastTimestamp = timestamp
	return keep
}

// full reports whether an entry has been added that did not fit.
func (p *payload) full() bool { return p.overflow }

// entries returns the number of entries that fit.
func (p *payload) entries() int { return p.fitting }

// bytes returns the array of the entries that fit. It is valid until next is called.
func (p *payload) bytes() []byte {
	if !p.overflow {
		p.buf = append(p.buf[:p.end], ']')
		return p.buf
	}
	p.buf[p.end] = ']' // over the comma before the overflowing entry
	return p.buf[:p.end+1]
}

// next begins the next payload, with the entry that did not fit into this one.
func (p *payload) next() {
	if !p.overflow {
		p.reset(p.limits)
		return
	}
	p.buf[p.end] = '['
	p.buf = p.buf[:copy(p.buf, p.buf[p.end:])]
	p.end, p.fitting, p.lastTimestamp = len(p.buf), 1, p.overflowTimestamp
	p.overflow = false
}
