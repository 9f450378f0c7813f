// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/policy/ruletest"
)

// exitTestFailures is the exit code of rules test if a test failed or a rule does not load.
const exitTestFailures = 1

func newRulesTestCmd() *cobra.Command {
	var verbose, coverage bool
	var format, filter string
	cmd := &cobra.Command{
		Use:   "test FILE…",
		Short: "Run the unit tests of rules",
		Long: `Test runs unit tests of rules. FILE is a file with tests, or a directory: then every *` + policy.TestExtension + ` in it.

  policies: [my.policy]           # relative to this file; files or directories
  agent_version: 7.83.0           # optional
  tests:
    - name: an editor writes a cron file
      events:                     # in order; variables are kept within a test and fresh for each
        - {type: open, open.file.path: /etc/cron.d/x, open.flags: O_WRONLY|O_CREAT, process.file.name: vim}
      matches: [cron_file]        # all rules that match the last event, in any order; [] is none
    - name: by steps
      events:
        - event: {type: exec, exec.file.path: /tmp/x}
          matches: []             # of this event
        - csm_threats: '{"evt":{"name":"open"},…}'
      includes: [a]               # instead of matches, if only some rules are of interest
      excludes: [b]

Events are as for 'rules eval'. The last line says how many rules of the policies some event of the tests matched;
--coverage lists the others.

Exit codes: 0 all tests pass, 1 a test fails or a rule does not load, 2 wrong use, or a file cannot be read or has
mistakes.`,
		Example: `  picketctl rules test examples/policies
  picketctl rules test -v --run cron my_test.yaml
  picketctl rules test --format junit examples/policies > report.xml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("rules test needs a file with tests, or a directory of *%s files", policy.TestExtension)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := testFormats[format]
			if !ok {
				return usageError("--format is %q, it may be text or junit", format)
			}
			var only *regexp.Regexp
			if filter != "" {
				var err error
				if only, err = regexp.Compile(filter); err != nil {
					return usageError("--run: %w", err)
				}
			}
			files, err := ruletest.Files(args)
			if err != nil {
				return exitError{code: exitUsage, err: err}
			}
			return testRules(cmd, files, only, &testOutput{verbose: verbose, coverage: coverage, write: write})
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "name every test")
	cmd.Flags().StringVar(&format, "format", "text", "text or junit")
	cmd.Flags().StringVar(&filter, "run", "", "run only tests whose names match this regular expression")
	cmd.Flags().BoolVar(&coverage, "coverage", false, "list the rules that no test matches")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "junit"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// testOutput is how the results of tests are written.
type testOutput struct {
	verbose, coverage bool
	write             func(*testOutput, io.Writer, []*ruletest.FileResult) error
}

var testFormats = map[string]func(*testOutput, io.Writer, []*ruletest.FileResult) error{
	"text": (*testOutput).text, "junit": (*testOutput).junit,
}

func testRules(cmd *cobra.Command, files []string, only *regexp.Regexp, out *testOutput) error {
	var results []*ruletest.FileResult
	code, ran := 0, 0
	for _, path := range files {
		r := ruletest.Run(path, only)
		results = append(results, r)
		ran += len(r.Tests)
		switch {
		case r.Err != nil:
			code = exitUsage
		case !r.OK():
			code = max(code, exitTestFailures)
		}
	}
	if err := out.write(out, cmd.OutOrStdout(), results); err != nil {
		return usageError("cannot write the results: %w", err)
	}
	switch {
	case code != 0:
		return exitError{code: code}
	case ran == 0 && only != nil:
		return usageError("no test has a name that matches --run %q", only)
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

// text writes results as go test does.
func (o *testOutput) text(w io.Writer, results []*ruletest.FileResult) error {
	var b strings.Builder
	for _, r := range results {
		if r.Err != nil {
			for line := range strings.SplitSeq(r.Err.Error(), "\n") {
				b.WriteString(sanitize(line) + "\n")
			}
			fmt.Fprintf(&b, "FAIL  %s  (cannot be read)\n", sanitize(r.Path))
			continue
		}
		for _, p := range r.Problems {
			fmt.Fprintf(&b, "error: %s\n%s", sanitize(p.String()), p.Snippet)
		}
		for i := range r.Tests {
			t := &r.Tests[i]
			switch {
			case len(t.Failures) > 0:
				fmt.Fprintf(&b, "--- FAIL: %s (%s)\n", sanitize(t.Name), seconds(t.Duration))
			case o.verbose:
				fmt.Fprintf(&b, "--- PASS: %s (%s)\n", sanitize(t.Name), seconds(t.Duration))
			}
			for j := range t.Failures {
				fmt.Fprintf(&b, "    %s\n", sanitize(t.Failures[j].String()))
			}
		}
		failed := r.Failed()
		switch {
		case failed > 0:
			fmt.Fprintf(&b, "FAIL  %s  (%d of %s)\n", sanitize(r.Path), failed, countOf(len(r.Tests), "test"))
		case len(r.Problems) > 0:
			fmt.Fprintf(&b, "FAIL  %s  (%s, and rules do not load)\n", sanitize(r.Path), countOf(len(r.Tests), "test"))
		default:
			fmt.Fprintf(&b, "ok    %s  (%s)\n", sanitize(r.Path), countOf(len(r.Tests), "test"))
		}
	}
	rules, unmatched := ruleCoverage(results)
	if o.coverage {
		for _, c := range unmatched {
			fmt.Fprintf(&b, "no test matches: %s:%d: %s\n", sanitize(c.Path), c.Line, c.ID)
		}
	}
	if rules > 0 {
		fmt.Fprintf(&b, "coverage: the tests match %d of %s\n", rules-len(unmatched), countOf(rules, "rule"))
	}
	_, err := io.WriteString(w, b.String())
	return err //nolint:wrapcheck // the caller says what it was for
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ruleCoverage counts the rules of all policies, and lists those that no test of any file matches.
func ruleCoverage(results []*ruletest.FileResult) (rules int, unmatched []ruletest.RuleCoverage) {
	type key struct{ path, id string }
	matched := map[key]bool{}
	var order []ruletest.RuleCoverage
	for _, r := range results {
		for _, c := range r.Rules {
			k := key{c.Path, c.ID}
			if _, seen := matched[k]; !seen {
				order = append(order, c)
			}
			matched[k] = matched[k] || c.Matched
		}
	}
	for _, c := range order {
		if !matched[key{c.Path, c.ID}] {
			unmatched = append(unmatched, c)
		}
	}
	return len(order), unmatched
}

// The elements of JUnit's XML.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Error   *junitMessage `xml:"error,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func junitSeconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// junit writes results as JUnit's XML. A file that cannot be read, and rules that do not load, are errors of a test "load".
func (o *testOutput) junit(w io.Writer, results []*ruletest.FileResult) error {
	out := junitSuites{}
	for _, r := range results {
		s := junitSuite{Name: r.Path, Time: junitSeconds(r.Duration), Failures: r.Failed()}
		loadErr := r.Err
		for _, p := range r.Problems {
			loadErr = errors.Join(loadErr, errors.New(p.String()))
		}
		if loadErr != nil {
			s.Errors = 1
			message, _, _ := strings.Cut(loadErr.Error(), "\n")
			s.Cases = append(s.Cases, junitCase{
				Name: "load", Class: r.Path, Time: junitSeconds(0), Error: &junitMessage{message, loadErr.Error()},
			})
		}
		for i := range r.Tests {
			t := &r.Tests[i]
			c := junitCase{Name: t.Name, Class: r.Path, Time: junitSeconds(t.Duration)}
			if len(t.Failures) > 0 {
				var lines []string
				for j := range t.Failures {
					lines = append(lines, t.Failures[j].String())
				}
				c.Failure = &junitMessage{t.Failures[0].Message, strings.Join(lines, "\n")}
			}
			s.Cases = append(s.Cases, c)
		}
		s.Tests = len(s.Cases)
		out.Tests, out.Failures, out.Errors = out.Tests+s.Tests, out.Failures+s.Failures, out.Errors+s.Errors
		out.Suites = append(out.Suites, s)
	}
	b, err := xml.MarshalIndent(out, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	}
	return err //nolint:wrapcheck // the caller says what it was for
}
