// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Command picketctl is the tool of rule authors and operators of Picket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker; a build without it shows what the Go toolchain recorded.
var version string

// exitError ends the command with an exit code other than 1. err may be nil: then nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func main() {
	// The first signal ends a command cleanly, a second one at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, newRootCmd(), os.Stderr))
}

// run executes a command and returns the exit code. It prints the error, unless an exitError says not to.
func run(ctx context.Context, root *cobra.Command, stderr io.Writer) int {
	refuseUnknown(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	var exit exitError
	if errors.As(err, &exit) {
		code = exit.code
		if exit.err == nil {
			return code
		}
	}
	fmt.Fprintf(stderr, "picketctl: %v\n", err)
	return code
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "picketctl",
		Short: "Read detections of Picket, write and check its rules",
		Long: `picketctl works with what Picket's collector writes and reads: it shows the detections that a collector wrote
to a file, and checks, tries and tests detection rules before a collector loads them.

Exit codes: 0 is success and 2 wrong use; what 1 means is in the help of each command.`,
		Version:       buildVersion(),
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("picketctl {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exitError{code: 2, err: fmt.Errorf("%w (try '%s --help')", err, cmd.CommandPath())}
	})
	root.AddCommand(newLogsCmd(), newRulesCmd(), newVersionCmd())
	needsCommand(root)
	return root
}

// refuseUnknown makes the commands that cobra adds refuse words that name nothing. They are made now, because they keep the output
// that root has then.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			needsCommand(cmd)
			for _, shell := range cmd.Commands() {
				shell.Args = noArgs
			}
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if about, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return unknownCommand(about, args[len(args)-1])
				}
				return nil
			}
		}
	}
}

// needsCommand makes a command that only has others print its help, and refuse words that name none of them: cobra would show the
// help and succeed.
func needsCommand(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

func unknownCommand(cmd *cobra.Command, word string) error {
	hint := ""
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usageError("unknown command %q for %q%s (try '%s --help')", word, cmd.CommandPath(), hint, cmd.CommandPath())
}

func newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of picketctl",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "picketctl %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// buildVersion returns the version of this build, "devel" if nothing recorded one.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
