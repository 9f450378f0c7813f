// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// TestExtension is how the names of the test files of a directory end.
const TestExtension = "_test.yaml"

// TestFile is a file with unit tests of rules.
type TestFile struct {
	Policies     []TestText // relative to the file
	AgentVersion TestText   // empty: DefaultAgentVersion
	Tests        []TestCase
}

// TestText is a text of a test file, with its place.
type TestText struct {
	Text string
	Pos  Position
}

// TestCase is one test: events in order, with what they must match.
type TestCase struct {
	Name   string
	Pos    Position
	Events []TestEvent
}

// TestEvent is an event of a test.
type TestEvent struct {
	JSON   []byte // as event.ParseEvent reads it
	Pos    Position
	Expect *Expectation // nil: anything
}

// Expectation is what an event must match.
type Expectation struct {
	Pos      Position
	Exact    bool       // Matches are all
	Matches  []TestText // if Exact
	Includes []TestText
	Excludes []TestText
}

// Limits of a test file, beyond those of its YAML.
const (
	maxTests       = 10_000
	maxTestEvents  = 10_000 // of one test
	maxTestMatches = maxRules
	maxTestEvent   = 1 << 20 // bytes of JSON
)

// ReadTestFile reads a file with unit tests. Unknown keys are errors. Every error says where in the file.
func ReadTestFile(path string) (*TestFile, error) {
	s := source{path: path}
	src, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	root, err := parseYAML(src)
	if err == nil && (root == nil || root.kind != nodeMap) {
		err = &yamlError{message: "not a test file: expected a mapping with policies and tests"}
	}
	f := &TestFile{}
	if err == nil {
		var problems []problem
		d := &reader{problems: &problems}
		readMapping(d, root, f, testFileKeys)
		f.check(d, root)
		if len(problems) > 0 { // also what is only a warning in a policy
			return nil, testProblems(path, src, problems)
		}
		return f, nil
	}
	var ye *yamlError
	if errors.As(err, &ye) {
		return nil, testProblems(path, src, []problem{{pos: ye.pos, message: ye.message}})
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// maxShownProblems bounds how many mistakes of one file are shown.
const maxShownProblems = 20

func testProblems(path string, src []byte, problems []problem) error {
	var out []string
	for _, p := range problems[:min(len(problems), maxShownProblems)] {
		message := strings.Replace(p.message, " is ignored", "", 1) // here it is not
		text := Problem{Path: path, Message: message, Line: p.pos.Line, Column: p.pos.Column}.String()
		if s := snippet(src, p.pos); s != "" {
			text += "\n" + strings.TrimSuffix(s, "\n")
		}
		out = append(out, text)
	}
	return errors.New(strings.Join(out, "\n"))
}

func (f *TestFile) check(d *reader, root *node) {
	if len(f.Policies) == 0 && !hasKey(root.pairs, "policies") {
		d.errorf(root.pos, "policies is missing: the policy files or directories to test")
	}
	if len(f.Tests) == 0 && !hasKey(root.pairs, "tests") {
		d.errorf(root.pos, "tests is missing")
	}
	seen := map[string]bool{}
	for i := range f.Tests {
		t := &f.Tests[i]
		if t.Name != "" && seen[t.Name] {
			d.errorf(t.Pos, "there are two tests named %q", t.Name)
		}
		seen[t.Name] = true
	}
}

func (d *reader) testText(n *node, what string) TestText {
	return TestText{d.text(n, what).value, n.pos}
}

func (d *reader) testTexts(n *node, limit int, what string) []TestText {
	out := []TestText{}
	for _, t := range d.texts(n, limit, what) {
		out = append(out, TestText{t.value, t.node.pos})
	}
	return out
}

var testFileKeys = map[string]keyReader[TestFile]{
	"policies":      func(d *reader, n *node, f *TestFile) { f.Policies = d.testTexts(n, maxFiles, "policies") },
	"agent_version": func(d *reader, n *node, f *TestFile) { f.AgentVersion = d.testText(n, "agent_version") },
	"tests": func(d *reader, n *node, f *TestFile) {
		for _, item := range d.list(n, maxTests, "tests") {
			f.Tests = append(f.Tests, readTest(d, item))
		}
	},
}

// testReader is a test while it is read.
type testReader struct {
	TestCase
	expect Expectation // of the last event
	given  bool
}

func readTest(d *reader, n *node) TestCase {
	t := testReader{TestCase: TestCase{Pos: n.pos}, expect: Expectation{Pos: n.pos}}
	if n.kind != nodeMap {
		d.errorf(n.pos, "a test must be a mapping with name and events, it is %s", n.kind)
		return t.TestCase
	}
	readMapping(d, n, &t, testKeys)
	for _, key := range []string{"name", "events"} {
		if !hasKey(n.pairs, key) {
			d.errorf(n.pos, "the test has no %s", key)
		}
	}
	expected := t.given
	for i := range t.Events {
		expected = expected || t.Events[i].Expect != nil
	}
	switch last := len(t.Events) - 1; {
	case last < 0:
		if hasKey(n.pairs, "events") {
			d.errorf(n.pos, "the test has no events")
		}
	case !expected:
		d.errorf(n.pos, "the test expects nothing: it needs matches, includes or excludes")
	case t.given && t.Events[last].Expect != nil:
		d.errorf(t.expect.Pos, "the last event has an expectation of its own")
	case t.given:
		t.expect.check(d)
		t.Events[last].Expect = &t.expect
	}
	return t.TestCase
}

func (x *Expectation) check(d *reader) {
	if x.Exact && x.Includes != nil || x.Exact && x.Excludes != nil {
		d.errorf(x.Pos, "matches says all; includes and excludes are for when only some rules are of interest")
	}
}

var testKeys = expectationKeys(func(t *testReader) *Expectation { t.given = true; return &t.expect }, map[string]keyReader[testReader]{
	"name": func(d *reader, n *node, t *testReader) {
		if t.Name = d.text(n, "name").value; strings.TrimSpace(t.Name) == "" {
			d.errorf(n.pos, "the name is empty")
		}
	},
	"events": func(d *reader, n *node, t *testReader) {
		for _, item := range d.list(n, maxTestEvents, "events") {
			t.Events = append(t.Events, readTestEvent(d, item))
		}
	},
})

// expectationKeys adds the keys of an expectation to a table.
func expectationKeys[T any](of func(*T) *Expectation, keys map[string]keyReader[T]) map[string]keyReader[T] {
	keys["matches"] = func(d *reader, n *node, t *T) {
		x := of(t)
		x.Pos, x.Exact, x.Matches = n.pos, true, d.testTexts(n, maxTestMatches, "matches")
	}
	keys["includes"] = func(d *reader, n *node, t *T) {
		x := of(t)
		x.Pos, x.Includes = n.pos, d.testTexts(n, maxTestMatches, "includes")
	}
	keys["excludes"] = func(d *reader, n *node, t *T) {
		x := of(t)
		x.Pos, x.Excludes = n.pos, d.testTexts(n, maxTestMatches, "excludes")
	}
	return keys
}

const csmThreatsKey = "csm_threats"

var testEventKeys = expectationKeys(func(e *TestEvent) *Expectation {
	if e.Expect == nil {
		e.Expect = &Expectation{}
	}
	return e.Expect
}, map[string]keyReader[TestEvent]{
	"event": func(d *reader, n *node, e *TestEvent) { e.readEvent(d, n) },
})

// readTestEvent reads an entry of events: an event, or a mapping with the key event and an expectation.
func readTestEvent(d *reader, n *node) TestEvent {
	e := TestEvent{Pos: n.pos}
	if n.kind != nodeMap || !hasKey(n.pairs, "event") {
		e.readEvent(d, n)
		return e
	}
	readMapping(d, n, &e, testEventKeys)
	if e.Expect != nil {
		e.Expect.check(d)
	}
	return e
}

func (e *TestEvent) readEvent(d *reader, n *node) {
	e.Pos = n.pos
	if n.kind != nodeMap {
		d.errorf(n.pos, "an event must be a mapping of fields to values, it is %s", n.kind)
		return
	}
	if len(n.pairs) == 1 && n.pairs[0].key.value == csmThreatsKey {
		if n = n.pairs[0].value; n.kind == nodeScalar {
			e.JSON = []byte(n.value)
			return
		}
	}
	var err error
	if e.JSON, err = n.appendJSON(nil, 0); err != nil {
		d.errorf(n.pos, "%v", err)
	}
}

// appendJSON appends the value as JSON. Aliases may make it much larger than the file, and so its size is bounded.
func (n *node) appendJSON(dst []byte, depth int) ([]byte, error) {
	if len(dst) > maxTestEvent || depth > maxDepth {
		return dst, fmt.Errorf("the event has more than %d bytes, or is nested more than %d deep", maxTestEvent, maxDepth)
	}
	var err error
	switch n.kind {
	case nodeNull:
		return append(dst, "null"...), nil
	case nodeScalar:
		return n.appendScalar(dst)
	case nodeList:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = item.appendJSON(dst, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
	dst = append(dst, '{')
	seen := map[string]bool{}
	for i := range n.pairs {
		p := &n.pairs[i]
		if p.merged && hasKey(n.pairs[i+1:], p.key.value) {
			continue // overridden
		}
		if seen[p.key.value] {
			return dst, fmt.Errorf("key %q is there twice", p.key.value)
		}
		seen[p.key.value] = true
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, p.key.value), ':')
		if dst, err = p.value.appendJSON(dst, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (n *node) appendScalar(dst []byte) ([]byte, error) {
	switch n.style {
	case token.BoolType:
		return strconv.AppendBool(dst, booleans[strings.ToLower(n.value)]), nil
	case token.IntegerType, token.OctetIntegerType, token.HexIntegerType, token.BinaryIntegerType:
		i, err := strconv.ParseInt(n.value, 0, 64)
		if err != nil {
			return dst, fmt.Errorf("integer %s is out of range", n.value)
		}
		return strconv.AppendInt(dst, i, 10), nil
	default:
		return appendQuoted(dst, n.value), nil
	}
}

func appendQuoted(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b, _ := json.Marshal(s) // a string always has JSON
	return append(dst, b...)
}

// DidYouMean is a hint to the name that a misspelt one most likely meant; empty if none is near.
func DidYouMean[T any](name string, names map[string]T) string {
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// Compare says what is wrong if an event matched the rules got; empty if nothing is.
func (x *Expectation) Compare(got []string) string {
	want := func(ids []TestText, kind string, ok func(id string) bool) string {
		var bad []string
		for _, id := range ids {
			if !ok(id.Text) && !slices.Contains(bad, id.Text) {
				bad = append(bad, id.Text)
			}
		}
		if len(bad) == 0 {
			return ""
		}
		slices.Sort(bad)
		return fmt.Sprintf("; %s: %s", kind, strings.Join(bad, ", "))
	}
	matched := func(id string) bool { return slices.Contains(got, id) }
	expected := x.Includes
	if x.Exact {
		expected = x.Matches
	}
	wrong := want(expected, "missing", matched) + want(x.Excludes, "excluded", func(id string) bool { return !matched(id) })
	if x.Exact {
		var extra []TestText
		for _, id := range got {
			extra = append(extra, TestText{Text: id})
		}
		wrong += want(extra, "unexpected", func(id string) bool {
			return slices.ContainsFunc(x.Matches, func(t TestText) bool { return t.Text == id })
		})
	}
	if wrong == "" {
		return ""
	}
	verb := "includes"
	if x.Exact {
		verb = "matches"
	}
	message := fmt.Sprintf("got %s", idList(got))
	if x.Exact || x.Includes != nil {
		ids := make([]string, 0, len(expected))
		for _, id := range expected {
			ids = append(ids, id.Text)
		}
		message = fmt.Sprintf("expected %s %s, %s", verb, idList(ids), message)
	}
	return message + wrong
}

func idList(ids []string) string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return "[" + strings.Join(ids, ", ") + "]"
}
