// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package ruletest runs the rules of policies over events outside of a collector: for rule authors, and for tests.
package ruletest

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/secl"
)

// Engine evaluates the rules of policies on events, one after the other. Variables keep their values from event to event.
// Rate limits do not hold here. It is for one goroutine.
type Engine struct {
	paths   []string
	options policy.Options
	set     *policy.Set
	report  *policy.Report
	context secl.Context
	matcher policy.Matcher
	acted   bool // variables may have been set
	decoder event.Decoder
}

// NewEngine loads the policies. What did not load is in the Report.
func NewEngine(paths []string, agentVersion string) *Engine {
	e := &Engine{paths: paths, options: policy.Options{AgentVersion: agentVersion, KeepSource: true}}
	e.set, e.report = policy.Load(paths, e.options)
	return e
}

// Report says what became of the policies.
func (e *Engine) Report() *policy.Report { return e.report }

// Set is the rules that are evaluated.
func (e *Engine) Set() *policy.Set { return e.set }

// Reset forgets the values of all variables.
func (e *Engine) Reset() {
	if e.acted { // the values live as long as the set
		e.set, e.report = policy.Load(e.paths, e.options)
		e.context, e.acted = secl.Context{}, false
	}
}

// Action is what an action of a matched rule did. Only variables are set; actions of other kinds are named and not executed.
type Action struct {
	Rule     string `json:"rule"`
	Kind     string `json:"kind"`
	Variable string `json:"variable,omitempty"`
	Value    any    `json:"value,omitempty"` // what the variable reads as after the action; nil if it was not set
	Error    string `json:"error,omitempty"`
	Message  string `json:"message,omitempty"` // of log
}

// Result is what the rules make of an event.
type Result struct {
	Matches []string `json:"matches"` // ids in the order of evaluation, each once
	Actions []Action `json:"actions"`
}

// Eval evaluates the rules on an event. Time is that of the event, or else that of the clock.
func (e *Engine) Eval(ev *event.Event) Result {
	result := Result{Matches: []string{}, Actions: []Action{}}
	e.context.Event, e.context.Now = ev, timeOf(ev)
	e.matcher.Match(e.set, &e.context)
	for r := e.matcher.Next(); r != nil; r = e.matcher.Next() {
		if !slices.Contains(result.Matches, r.ID) {
			result.Matches = append(result.Matches, r.ID)
		}
		r.ActTraced(&e.context, func(a policy.Acted) {
			e.acted = true
			out := Action{Rule: r.ID, Kind: a.Kind, Variable: a.Variable, Message: a.Message}
			switch {
			case a.Err != nil:
				out.Error = a.Err.Error()
			case a.Variable != "":
				out.Value = a.Value.Plain()
			}
			result.Actions = append(result.Actions, out)
		})
	}
	if ev.Type == event.TypeExit {
		e.set.Exited(e.context.Host, secl.ProcessKey(ev))
	}
	return result
}

// EvalLogs evaluates the rules on each event record and each detection of a batch, one after the other. Of a detection only the
// body is read; other records are left out.
func (e *Engine) EvalLogs(logs plog.Logs, each func(Result, error)) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				kind, ok := lr.Attributes().Get(event.AttrRecordKind)
				if !ok {
					continue
				}
				switch kind.AsString() {
				case event.KindEvent:
					var ev event.Event
					if err := e.decoder.DecodeRecord(lr, event.NeedAll, &ev); err != nil {
						each(Result{}, err) //nolint:wrapcheck // it says what is wrong with the record
						continue
					}
					each(e.Eval(&ev), nil)
				case event.KindDetection:
					each(e.EvalJSON([]byte(lr.Body().Str())))
				}
			}
		}
	}
}

// EvalJSON reads an event as event.ParseEvent does and evaluates the rules on it.
func (e *Engine) EvalJSON(data []byte) (Result, error) {
	ev, err := event.ParseEvent(data, event.Time(time.Now().UnixNano()))
	if err != nil {
		return Result{}, err //nolint:wrapcheck // it says what is wrong with the event
	}
	return e.Eval(ev), nil
}

// Explain says how the expression of a rule comes to its result for an event, as the variables are now.
func (e *Engine) Explain(id string, ev *event.Event) (*secl.Explanation, error) {
	e.context.Event, e.context.Now = ev, timeOf(ev)
	return e.set.Explain(id, &e.context) //nolint:wrapcheck // it says what is wrong
}

func timeOf(ev *event.Event) event.Time {
	if ev.Date != 0 {
		return ev.Date
	}
	return event.Time(time.Now().UnixNano())
}
