// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/secl"
)

// worker is what the evaluation of a batch needs and what is reused from batch to batch. It is for one goroutine at a time.
type worker struct {
	decoder   event.Decoder
	event     event.Event
	context   secl.Context
	matcher   policy.Matcher
	token     []byte // scratch
	decisions *decisions
	acting    acting

	resource  pcommon.Resource // at hand
	host      event.Host       // what resource says, if hostKnown
	hostKnown bool
	sender    *host // of the resource's records; nil before the first one of Picket
	numbers   numbers
}

func newWorker() *worker {
	w := &worker{}
	w.context.Event = &w.event
	return w
}

// leave forgets the batch: what was decoded may alias the text of its records.
func (w *worker) leave() {
	w.event = event.Event{}
	w.acting.origin, w.acting.rule, w.acting.reports = nil, nil, nil
	w.decisions = nil
	w.numbers.clear()
	w.enter(pcommon.Resource{})
}

// enter begins the records of a resource.
func (w *worker) enter(r pcommon.Resource) {
	w.resource, w.host, w.hostKnown = r, event.Host{}, false
	w.sender = nil
	w.context.Host = ""
}

// of returns an attribute of the resource as text.
func (w *worker) of(key string) string {
	v, ok := w.resource.Attributes().Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

// readHost reads the host from the resource, once.
func (w *worker) readHost() *event.Host {
	if !w.hostKnown {
		w.host, w.hostKnown = event.HostFromResource(w.resource), true
	}
	return &w.host
}
