// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/policy/ruletest"
)

// exitEventErrors is the exit code of rules eval if some line was no event.
const exitEventErrors = 1

func newRulesEvalCmd() *cobra.Command {
	var rules []string
	var events, agentVersion string
	cmd := &cobra.Command{
		Use:   "eval --rules PATH… --events FILE",
		Short: "Evaluate the rules of policies on a stream of events",
		Long: `Eval reads events, one JSON object a line, and prints for each, in order, one line: the ids of the rules that match it, in
the order of evaluation, and what their actions did:

  {"matches":["rule_id"],"actions":[{"rule":"rule_id","kind":"set","variable":"process.n","value":1}]}

An event is a flat object from field names to values, as for 'rules expr', or CSM Threats JSON: the body of an event record
or of a detection. An object with the member "evt" is the latter. A line may also be a batch of logs in OTLP JSON, as the file
exporter writes them: each event record in it, with its attributes, and each detection is an event; reports are left out.

Variables keep their values from event to event. Only set actions are executed; others (hash, kill, log, …) are named and
never executed. Rate limits do not hold: every match is reported, also of silent rules. Time is that of the event
(event.timestamp, or date), else that of the clock.

A line that cannot be read gives {"error":"…"}, and the run goes on. Rules that do not load are reported on standard error.

Exit codes: 0 every line was an event, 1 some line was not, 2 wrong use, or a file cannot be read.`,
		Example: `  picketctl rules eval --rules examples/policies --events events.jsonl
  picketctl rules eval --rules a.policy --rules b.policy --events - <logs.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if events == "" {
				return usageError("rules eval needs --events FILE, - for standard input")
			}
			engine, err := loadRules(cmd, rules, agentVersion)
			if err != nil {
				return err
			}
			return evalEvents(cmd, engine, events)
		},
	}
	addRulesFlag(cmd, &rules)
	cmd.Flags().StringVar(&events, "events", "", "file with one event a line, - for standard input")
	addAgentVersionFlag(cmd, &agentVersion)
	return cmd
}

func usageError(format string, args ...any) error {
	return exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// noArgs is cobra.NoArgs with the exit code of wrong use.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("unexpected argument %q (try '%s --help')", args[0], cmd.CommandPath())
	}
	return nil
}

func addRulesFlag(cmd *cobra.Command, rules *[]string) {
	cmd.Flags().StringArrayVar(rules, "rules", nil, "policy file, or directory of *.policy files; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("rules", completePolicies) // the flag is there
}

func addAgentVersionFlag(cmd *cobra.Command, version *string) {
	cmd.Flags().StringVar(version, "agent-version", policy.DefaultAgentVersion, "what agent_version constraints are checked against")
	_ = cmd.RegisterFlagCompletionFunc("agent-version", cobra.NoFileCompletions)
}

// completePolicies offers policy files and directories.
func completePolicies(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{policy.Extension[1:]}, cobra.ShellCompDirectiveFilterFileExt
}

// loadRules loads policies for a command, and prints what does not load.
func loadRules(cmd *cobra.Command, paths []string, agentVersion string) (*ruletest.Engine, error) {
	if len(paths) == 0 {
		return nil, usageError("%s needs --rules PATH", cmd.CommandPath())
	}
	if err := checkPolicyArgs(paths, agentVersion); err != nil {
		return nil, err
	}
	engine := ruletest.NewEngine(paths, agentVersion)
	for _, p := range engine.Report().Problems() {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: %s\n%s", p, p.Snippet)
	}
	return engine, nil
}

// checkPolicyArgs refuses what cannot be loaded at all.
func checkPolicyArgs(paths []string, agentVersion string) error {
	if _, err := policy.ParseAgentVersion(agentVersion); err != nil {
		return usageError("--agent-version: %w", err)
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return usageError("cannot read the policies: %w", err)
		}
	}
	return nil
}

func evalEvents(cmd *cobra.Command, engine *ruletest.Engine, path string) error {
	failed := false
	err := eachLine(cmd, path, func(line []byte, tooLong bool, answer func(any)) {
		each := func(result ruletest.Result, err error) {
			if err != nil {
				failed = true
				answer(map[string]string{"error": err.Error()})
				return
			}
			answer(result)
		}
		switch {
		case tooLong:
			each(ruletest.Result{}, fmt.Errorf("the line has more than %d bytes", maxBatchLine))
		case isOTLP(line):
			logs, err := unmarshalLogs(line)
			if err != nil {
				each(ruletest.Result{}, fmt.Errorf("not a batch of logs in OTLP JSON: %w", err))
				return
			}
			engine.EvalLogs(logs, each)
		default:
			each(engine.EvalJSON(line))
		}
	})
	if err == nil && failed {
		return exitError{code: exitEventErrors}
	}
	return err
}

// isOTLP says whether a line is one of the file exporter.
func isOTLP(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte(`{"resourceLogs":`))
}

// eachLine calls fn for every line of a file (- is standard input) and prints its answers as lines of JSON. Of a line that is
// longer than maxBatchLine fn learns only that.
func eachLine(cmd *cobra.Command, path string, fn func(line []byte, tooLong bool, answer func(any))) error {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the user names the file
		if err != nil {
			return usageError("cannot read the input: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	r := bufio.NewReaderSize(in, 64<<10)
	w := bufio.NewWriter(cmd.OutOrStdout())
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	var writeErr error
	answer := func(v any) {
		if writeErr == nil {
			writeErr = out.Encode(v)
		}
	}
	for {
		line, tooLong, readErr := readLine(r, maxBatchLine)
		if readErr == nil || len(line) > 0 || tooLong {
			if fn(line, tooLong, answer); writeErr != nil {
				return usageError("cannot write the results: %w", writeErr)
			}
		}
		// Whoever writes line by line and waits gets each answer at once.
		if readErr != nil || r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return usageError("cannot write the results: %w", err)
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return usageError("cannot read the input: %w", readErr)
		}
	}
}
