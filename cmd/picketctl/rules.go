// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// newRulesCmd is `picketctl rules`: what rule authors need without a collector.
func newRulesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Write, check, try and test rules",
	}
	needsCommand(cmd)
	cmd.AddCommand(newRulesCheckCmd(), newRulesExprCmd(), newRulesEvalCmd(), newRulesTestCmd(),
		newRulesExplainCmd(), newRulesListCmd(), newRulesFmtCmd())
	return cmd
}
