// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
)

// Provider gives the rules in use, and tells of new ones. The extension security_policies is one.
type Provider interface {
	// Current is the set in use; it is never nil after the provider has started.
	Current() *Set
	// Subscribe calls fn with the set in use and the report of the last load, now and after each load, also of one that
	// changed nothing because the previous set was kept (Report.Kept). fn must not block, nor call the provider. Calls do not
	// overlap, and none begins after unsubscribe has returned.
	Subscribe(fn func(*Set, *Report)) (unsubscribe func())
}

// OnRuleError says what a load does if a macro or rule has an error.
type OnRuleError string

const (
	// OnRuleErrorLoad uses all the other rules.
	OnRuleErrorLoad OnRuleError = "load"
	// OnRuleErrorKeepPrevious goes on with the whole previous set, if there is one.
	OnRuleErrorKeepPrevious OnRuleError = "keep_previous"
)

// Store holds the set in use and replaces it when its files change. It is a Provider, and safe for concurrent use.
type Store struct {
	paths       []string
	opts        Options
	onRuleError OnRuleError

	current atomic.Pointer[Set]

	mu          sync.Mutex // load and subscribers
	loaded      *Set       // what the last load gave, in use or not
	report      *Report
	subscribers map[int]func(*Set, *Report)
	nextID      int
}

// NewStore makes a Store that has loaded nothing.
func NewStore(paths []string, opts Options, onRuleError OnRuleError) *Store {
	return &Store{paths: paths, opts: opts, onRuleError: onRuleError, subscribers: map[int]func(*Set, *Report){}}
}

// Current implements Provider.
func (s *Store) Current() *Set { return s.current.Load() }

// Subscribe implements Provider.
func (s *Store) Subscribe(fn func(*Set, *Report)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.nextID
	s.nextID++
	s.subscribers[id] = fn
	if s.report != nil {
		fn(s.current.Load(), s.report)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, id)
	}
}

// Load reads the files, and puts the new set to use unless that would be worse than what there is: a set without any rule
// never replaces one with rules. The report says so. changed is false if the files are as they were at the last load;
// nobody is told of that.
func (s *Store) Load() (report *Report, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	opts := s.opts
	opts.Previous = s.current.Load()
	set, report := Load(s.paths, opts)
	if s.report != nil && set.sameContent(s.loaded) && reflect.DeepEqual(report.Policies, s.report.Policies) {
		return s.report, false
	}
	previous := s.current.Load()
	switch {
	case previous.hasRules() && !set.hasRules():
		report.Kept, report.Reason = true, "no rule could be loaded; the previous rules stay in use"
	case previous.hasRules() && s.onRuleError == OnRuleErrorKeepPrevious && report.Errors() > 0:
		report.Kept, report.Reason = true, fmt.Sprintf("%d errors, and on_rule_error is %s; the previous rules stay in use", report.Errors(), OnRuleErrorKeepPrevious)
	default:
		s.current.Store(set)
	}
	s.loaded, s.report = set, report
	for _, fn := range s.subscribers {
		fn(s.current.Load(), report)
	}
	return report, true
}

func (s *Set) hasRules() bool { return s != nil && len(s.ids) > 0 }
