// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ruletest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
)

// FileResult is what became of a file of tests.
type FileResult struct {
	Path     string
	Err      error            // the file cannot be read or names what is not there: nothing was run
	Problems []policy.Problem // policies, macros and rules that do not load: the file fails
	Tests    []TestResult
	Rules    []RuleCoverage // of the policies, in their order
	Duration time.Duration
}

// TestResult is what became of a test.
type TestResult struct {
	Name     string
	Failures []Failure // none: it passed
	Duration time.Duration

	seen coverage
}

// Failure is an event that did not match what it must.
type Failure struct {
	Path    string
	Pos     policy.Position
	Message string
}

func (f *Failure) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.Path, f.Pos.Line, f.Pos.Column, f.Message)
}

// RuleCoverage says of a rule what the events of the tests did.
type RuleCoverage struct {
	ID, Path string // Path is that of the policy
	Line     int
	Matched  bool // some event matched it
	Quiet    bool // some event of a type that it is about did not
}

// Failed counts the tests that did not pass.
func (r *FileResult) Failed() int {
	n := 0
	for i := range r.Tests {
		if len(r.Tests[i].Failures) > 0 {
			n++
		}
	}
	return n
}

// OK says whether all is well.
func (r *FileResult) OK() bool { return r.Err == nil && len(r.Problems) == 0 && r.Failed() == 0 }

// Files lists the test files of paths: files of any name, and in a directory every *_test.yaml. A directory without any is an
// error.
func Files(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("cannot read the tests: %w", err)
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			return nil, fmt.Errorf("cannot read the tests: %w", err)
		}
		found := false
		for _, e := range entries {
			if name := e.Name(); strings.HasSuffix(name, policy.TestExtension) && !strings.HasPrefix(name, ".") {
				out, found = append(out, filepath.Join(p, name)), true
			}
		}
		if !found {
			return nil, fmt.Errorf("the directory %s has no *%s file", p, policy.TestExtension)
		}
	}
	return out, nil
}

// Run runs the tests of a file, or those whose names match filter if it is not nil.
func Run(path string, filter *regexp.Regexp) *FileResult {
	start := time.Now()
	r := &FileResult{Path: path}
	f, err := policy.ReadTestFile(path)
	if err == nil {
		err = r.run(f, filter)
	}
	r.Err, r.Duration = err, time.Since(start)
	return r
}

func (r *FileResult) run(f *policy.TestFile, filter *regexp.Regexp) error {
	var paths []string
	for _, p := range f.Policies {
		path := p.Text
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(r.Path), path)
		}
		if _, err := os.Stat(path); err != nil {
			return r.errorAt(p.Pos, fmt.Sprintf("cannot read the policies: %v", err))
		}
		paths = append(paths, path)
	}
	if v := f.AgentVersion; v.Text != "" {
		if _, err := policy.ParseAgentVersion(v.Text); err != nil {
			return r.errorAt(v.Pos, err.Error())
		}
	}
	engine := NewEngine(paths, f.AgentVersion.Text)
	r.Problems = engine.Report().Problems()
	status := r.rules(engine)
	if err := r.checkIDs(f, status); err != nil {
		return err
	}
	seen := newCoverage()
	for i := range f.Tests {
		t := &f.Tests[i]
		if filter != nil && !filter.MatchString(t.Name) {
			continue
		}
		start := time.Now()
		engine.Reset()
		result := TestResult{Name: t.Name, seen: newCoverage()}
		result.Failures = r.runTest(engine, t, result.seen)
		result.Duration = time.Since(start)
		maps.Copy(seen.matched, result.seen.matched)
		maps.Copy(seen.quiet, result.seen.quiet)
		r.Tests = append(r.Tests, result)
	}
	for i := range r.Rules {
		r.Rules[i].Matched, r.Rules[i].Quiet = seen.matched[r.Rules[i].ID], seen.quiet[r.Rules[i].ID]
	}
	return nil
}

func (r *FileResult) errorAt(pos policy.Position, message string) error {
	return errors.New((&Failure{r.Path, pos, message}).String())
}

// rules lists the loaded rules and returns the status of all.
func (r *FileResult) rules(engine *Engine) map[string]policy.Status {
	status := map[string]policy.Status{}
	for i := range engine.Report().Policies {
		p := &engine.Report().Policies[i]
		for j := range p.Rules {
			e := &p.Rules[j]
			if _, seen := status[e.ID]; !seen && engine.Set().Has(e.ID) {
				r.Rules = append(r.Rules, RuleCoverage{ID: e.ID, Path: p.Path, Line: e.Line})
				status[e.ID] = policy.StatusLoaded
			}
			if status[e.ID] != policy.StatusLoaded {
				status[e.ID] = e.Status
			}
		}
	}
	return status
}

// checkIDs finds ids that no event can match: a misspelt one would otherwise pass as excluded, or fail without a hint.
func (r *FileResult) checkIDs(f *policy.TestFile, status map[string]policy.Status) error {
	var errs []error
	check := func(ids []policy.TestText, loaded bool) {
		for _, id := range ids {
			switch s, ok := status[id.Text]; {
			case !ok:
				errs = append(errs, r.errorAt(id.Pos, fmt.Sprintf("the policies have no rule %q%s", id.Text, policy.DidYouMean(id.Text, status))))
			case loaded && s != policy.StatusLoaded && s != policy.StatusError: // an error is one of the policies' problems
				errs = append(errs, r.errorAt(id.Pos, fmt.Sprintf("rule %q is not loaded, it is %s", id.Text, s)))
			}
		}
	}
	for i := range f.Tests {
		for _, e := range f.Tests[i].Events {
			if e.Expect != nil {
				check(e.Expect.Matches, true)
				check(e.Expect.Includes, true)
				check(e.Expect.Excludes, false)
			}
		}
	}
	return errors.Join(errs...)
}

// coverage has the ids of rules that events matched, and of those that events of their types did not match.
type coverage struct{ matched, quiet map[string]bool }

func newCoverage() coverage { return coverage{matched: map[string]bool{}, quiet: map[string]bool{}} }

func (c coverage) add(engine *Engine, t event.Type, matches []string) {
	for _, rule := range engine.Set().Rules(t) {
		if slices.Contains(matches, rule.ID) {
			c.matched[rule.ID] = true
		} else {
			c.quiet[rule.ID] = true
		}
	}
}

func (r *FileResult) runTest(engine *Engine, t *policy.TestCase, seen coverage) []Failure {
	var failures []Failure
	for i := range t.Events {
		e := &t.Events[i]
		which := ""
		if len(t.Events) > 1 {
			which = fmt.Sprintf("event %d: ", i+1)
		}
		ev, err := event.ParseEvent(e.JSON, event.Time(time.Now().UnixNano()))
		if err != nil {
			return append(failures, Failure{r.Path, e.Pos, which + err.Error()})
		}
		result := engine.Eval(ev)
		seen.add(engine, ev.Type, result.Matches)
		if e.Expect != nil {
			if message := e.Expect.Compare(result.Matches); message != "" {
				failures = append(failures, Failure{r.Path, e.Expect.Pos, which + message})
			}
		}
	}
	return failures
}
