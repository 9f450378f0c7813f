// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/policy"
)

// Exit codes of rules check.
const (
	exitRuleErrors = 1 // some policy, macro or rule does not load
	exitUsage      = 2 // the command line is wrong, a path is not there, or the report cannot be written
)

// newRulesCheckCmd is `picketctl rules check`: what would become of every rule, without a collector.
func newRulesCheckCmd() *cobra.Command {
	var format, agentVersion string
	cmd := &cobra.Command{
		Use:   "check PATH…",
		Short: "Check policy files and report on every rule",
		Long: "Check loads policy files, and directories of *.policy files, as the collector would, and says of every rule whether it\n" +
			"loads, is filtered out by agent_version or filters, is disabled, or has an error.\n\n" +
			"It exits with 0 if all is well, 1 if a file, macro or rule has an error, 2 if it was called wrongly or a PATH is not\n" +
			"there.",
		Example: "  picketctl rules check /etc/picket/policies\n" +
			"  picketctl rules check --format json my.policy | jq '.policies[].rules[] | select(.status == \"error\")'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exitError{code: exitUsage, err: errors.New("rules check needs a policy file or a directory of *.policy files")}
			}
			return nil
		},
		ValidArgsFunction: completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkRules(cmd, args, format, agentVersion)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	addAgentVersionFlag(cmd, &agentVersion)
	return cmd
}

func checkRules(cmd *cobra.Command, paths []string, format, agentVersion string) error {
	if format != "text" && format != "json" {
		return exitError{code: exitUsage, err: fmt.Errorf("--format is %q, it may be text or json", format)}
	}
	if err := checkPolicyArgs(paths, agentVersion); err != nil {
		return err
	}
	_, report := policy.Load(paths, policy.Options{AgentVersion: agentVersion})
	var err error
	if format == "json" {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.WriteText(cmd.OutOrStdout())
	}
	if err != nil {
		return exitError{code: exitUsage, err: fmt.Errorf("writing the report: %w", err)}
	}
	if report.Errors() > 0 {
		return exitError{code: exitRuleErrors}
	}
	return nil
}
