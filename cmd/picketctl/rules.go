// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// newRulesCmd is `picketctl rules`: what rule authors need without a collector.
func newRulesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check policy files and try rule expressions",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newRulesCheckCmd(), newRulesExprCmd())
	return cmd
}
