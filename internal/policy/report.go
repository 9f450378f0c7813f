// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"io"
	"strings"
)

// Report says what became of every policy, macro and rule of a load. Its JSON is that of `picketctl rules check`.
type Report struct {
	Policies []PolicyReport `json:"policies"`

	// Kept is set if the load gave nothing to use, so that the previous set stays in use; Reason says why.
	Kept   bool   `json:"-"`
	Reason string `json:"-"`
}

// The values of PolicyReport.Status.
const (
	PolicyLoaded          = "loaded"
	PolicyPartiallyLoaded = "partially_loaded" // some macro or rule has an error
	PolicyError           = "error"            // the file could not be read or is no policy
)

// PolicyReport is the report on one policy file, or on a directory that could not be read.
type PolicyReport struct {
	Name    string         `json:"name"`
	Version string         `json:"version"`
	Path    string         `json:"path"`
	Status  string         `json:"status"`
	Message string         `json:"message"`
	Macros  []EntityReport `json:"macros"`
	Rules   []EntityReport `json:"rules"`

	// Line and Column are where a file that is no policy goes wrong; 0 if unknown.
	Line    int    `json:"-"`
	Column  int    `json:"-"`
	Snippet string `json:"-"` // source line and caret
}

// Status of a macro or rule.
type Status string

// The values of EntityReport.Status.
const (
	StatusLoaded   Status = "loaded"
	StatusFiltered Status = "filtered" // its agent_version or filters do not hold here
	StatusDisabled Status = "disabled"
	StatusError    Status = "error"
)

// EntityReport is the report on one definition of a macro or rule. Line and Column are those of the mistake in the file,
// and of the definition if there is none.
type EntityReport struct {
	ID      string `json:"id"`
	Status  Status `json:"status"`
	Message string `json:"message"` // a mistake, or warnings
	Line    int    `json:"line"`
	Column  int    `json:"column"`

	Version string `json:"-"`
	Snippet string `json:"-"` // source line and caret of a mistake
}

// Errors counts the policies, macros and rules with an error.
func (r *Report) Errors() int {
	n := 0
	r.each(func(*PolicyReport, string, *EntityReport) { n++ })
	return n
}

// each calls fn for every error: entity is nil if it is one of the policy as a whole, else kind is macro or rule.
func (r *Report) each(fn func(p *PolicyReport, kind string, entity *EntityReport)) {
	for i := range r.Policies {
		p := &r.Policies[i]
		if p.Status == PolicyError {
			fn(p, "", nil)
		}
		for _, list := range []struct {
			kind     string
			entities []EntityReport
		}{{"macro", p.Macros}, {"rule", p.Rules}} {
			for j := range list.entities {
				if list.entities[j].Status == StatusError {
					fn(p, list.kind, &list.entities[j])
				}
			}
		}
	}
}

// Problem is an error of a report in one place.
type Problem struct {
	Path, Kind, ID, Message, Snippet string // Kind is macro or rule; empty for the file as a whole
	Line, Column                     int
}

// String gives "path:line:column: rule "id": message".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Path)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Kind != "" {
		fmt.Fprintf(&b, ": %s %q", p.Kind, p.ID)
	}
	b.WriteString(": ")
	b.WriteString(p.Message)
	return b.String()
}

// Problems lists the errors in the order of the report.
func (r *Report) Problems() []Problem {
	var out []Problem
	r.each(func(p *PolicyReport, kind string, e *EntityReport) {
		if e == nil {
			out = append(out, Problem{Path: p.Path, Message: p.Message, Line: p.Line, Column: p.Column, Snippet: p.Snippet})
			return
		}
		out = append(out, Problem{Path: p.Path, Kind: kind, ID: e.ID, Message: e.Message, Line: e.Line, Column: e.Column, Snippet: e.Snippet})
	})
	return out
}

// Count counts the rules of a status.
func (r *Report) Count(s Status) int {
	n := 0
	for i := range r.Policies {
		for j := range r.Policies[i].Rules {
			if r.Policies[i].Rules[j].Status == s {
				n++
			}
		}
	}
	return n
}

// WriteText writes the report for people: errors with their source lines, warnings, and a count per policy.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, p := range r.Problems() {
		fmt.Fprintf(&b, "error: %s\n%s", p, p.Snippet)
	}
	for i := range r.Policies {
		p := &r.Policies[i]
		for _, e := range append(append([]EntityReport{}, p.Macros...), p.Rules...) {
			if e.Message != "" && e.Status != StatusError {
				fmt.Fprintf(&b, "note: %s:%d:%d: %q %s: %s\n", p.Path, e.Line, e.Column, e.ID, e.Status, e.Message)
			}
		}
		counts := map[Status]int{}
		for j := range p.Rules {
			counts[p.Rules[j].Status]++
		}
		fmt.Fprintf(&b, "%s: %s, %d rules loaded, %d filtered, %d disabled, %d errors", p.Path,
			strings.ReplaceAll(p.Status, "_", " "), counts[StatusLoaded], counts[StatusFiltered], counts[StatusDisabled], counts[StatusError])
		if p.Message != "" && p.Status != PolicyError {
			fmt.Fprintf(&b, " (%s)", p.Message)
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
