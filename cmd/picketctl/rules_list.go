// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/internal/policy/ruletest"
)

// listedRule is a loaded rule in a list.
type listedRule struct {
	ID            string   `json:"id"`
	EventTypes    []string `json:"event_types"`
	Severity      string   `json:"severity"`
	Policy        string   `json:"policy"`
	PolicyVersion string   `json:"policy_version"`
	Path          string   `json:"path"`
	Line          int      `json:"line"`
	Version       string   `json:"version,omitempty"`
	Description   string   `json:"description,omitempty"`
	Silent        bool     `json:"silent,omitempty"`
	Tags          []string `json:"tags"`
}

// listRules lists the loaded rules in the order of their policies.
func listRules(engine *ruletest.Engine) []listedRule {
	set := engine.Set()
	byID := map[string]*listedRule{}
	for t := range event.NumTypes {
		for _, r := range set.Rules(t) {
			l, ok := byID[r.ID]
			if !ok {
				l = &listedRule{
					ID: r.ID, Severity: r.Info.Severity.String(), Policy: r.Info.PolicyName, PolicyVersion: r.Info.PolicyVersion,
					Version: r.Info.Version, Description: r.Info.Description, Silent: r.Silent, Tags: append([]string{}, r.Info.Tags...),
				}
				byID[r.ID] = l
			}
			l.EventTypes = append(l.EventTypes, t.String())
		}
	}
	out := []listedRule{}
	for _, p := range engine.Report().Policies {
		for _, e := range p.Rules {
			if l, ok := byID[e.ID]; ok {
				l.Path, l.Line = p.Path, e.Line
				out = append(out, *l)
				delete(byID, e.ID)
			}
		}
	}
	return out
}

func newRulesListCmd() *cobra.Command {
	var format, agentVersion string
	cmd := &cobra.Command{
		Use:   "list PATH…",
		Short: "List the rules of policies",
		Long: `List shows the rules that load, in the order of their policies: id, event type, severity, policy and tags.

With --format json it is a list of objects with id, event_types, severity, policy, policy_version, path, line, version,
description, silent and tags.

Exit codes: 0 all is well, 1 a file, macro or rule has an error (on standard error; the others are listed), 2 wrong use,
or a PATH is not there.`,
		Example: `  picketctl rules list examples/policies
  picketctl rules list --format json examples/policies | jq -r '.[] | select(.severity == "high").id'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("rules list needs a policy file or a directory of *%s files", policy.Extension)
			}
			return nil
		},
		ValidArgsFunction: completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return usageError("--format is %q, it may be text or json", format)
			}
			engine, err := loadRules(cmd, args, agentVersion)
			if err != nil {
				return err
			}
			rules := listRules(engine)
			if format == "json" {
				err = writeJSON(cmd.OutOrStdout(), rules)
			} else {
				err = writeRuleTable(cmd.OutOrStdout(), rules)
			}
			switch {
			case err != nil:
				return usageError("cannot write the list: %w", err)
			case engine.Report().Errors() > 0:
				return exitError{code: exitRuleErrors}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	addAgentVersionFlag(cmd, &agentVersion)
	return cmd
}

func writeRuleTable(w io.Writer, rules []listedRule) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tEVENT TYPE\tSEVERITY\tPOLICY\tTAGS")
	for i := range rules {
		r := &rules[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.ID, strings.Join(r.EventTypes, ","), r.Severity, sanitize(r.Policy),
			sanitize(strings.Join(r.Tags, " ")))
	}
	return t.Flush() //nolint:wrapcheck // the caller says what it was for
}
