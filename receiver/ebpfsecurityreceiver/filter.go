// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/secl"
)

// ruleFilter leaves out the events that certainly match no rule. It is used by one goroutine; the rules may change meanwhile.
type ruleFilter struct {
	sets        atomic.Pointer[ruleSets]
	unsubscribe func()

	matcher policy.Matcher
	context secl.Context
}

// ruleSets are the rules in use and, for some time, those before: the processor that has the last word may still have these.
type ruleSets struct {
	current, previous *policy.Set
	until             event.Time
}

// ruleOverlap is how long a replaced set of rules counts: longer than a batch is on its way to the processor.
const ruleOverlap = 10 * time.Second

// newRuleFilter takes the rules of an extension into use.
func newRuleFilter(host component.Host, id component.ID) (*ruleFilter, error) {
	ext, ok := host.GetExtensions()[id]
	if !ok {
		return nil, fmt.Errorf("`policies` names the extension %q, which is not there: configure it and list it in service::extensions", id)
	}
	provider, ok := ext.(policy.Provider)
	if !ok {
		return nil, fmt.Errorf("`policies` names the extension %q, which has no rules: it must be of type security_policies", id)
	}
	if provider.Current() == nil {
		return nil, fmt.Errorf("`policies` names the extension %q, which has not loaded any rules", id)
	}
	f := &ruleFilter{}
	f.unsubscribe = provider.Subscribe(func(set *policy.Set, _ *policy.Report) { f.use(set, event.Time(time.Now().UnixNano())) })
	return f, nil
}

func (f *ruleFilter) use(set *policy.Set, now event.Time) {
	old := f.sets.Load()
	switch {
	case old == nil:
		f.sets.Store(&ruleSets{current: set})
	case old.current != set:
		f.sets.Store(&ruleSets{current: set, previous: old.current, until: now + event.Time(ruleOverlap)})
	}
}

// keeps says whether an event may match a rule, at the time that it was read.
func (f *ruleFilter) keeps(ev *event.Event, host string) bool {
	sets := f.sets.Load()
	f.context.Event, f.context.Now, f.context.Host = ev, ev.Date, host
	return f.matcher.MayMatch(sets.current, &f.context) ||
		sets.previous != nil && ev.Facts.Observed < sets.until && f.matcher.MayMatch(sets.previous, &f.context)
}

func (f *ruleFilter) close() {
	if f != nil {
		f.unsubscribe()
	}
}
