// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/policy"
)

// Exit codes of rules fmt.
const (
	exitUnformatted = 1 // a file has a mistake; or, with --list or --diff and without --write, is not formatted
	exitFileError   = 2 // a file cannot be read or written, or wrong use
)

// stdinName stands for standard input in messages, lists and diffs.
const stdinName = "<standard input>"

// fmtOptions are the flags of rules fmt.
type fmtOptions struct {
	write, list, diff bool
}

func newRulesFmtCmd() *cobra.Command {
	var opts fmtOptions
	cmd := &cobra.Command{
		Use:   "fmt [PATH…]",
		Short: "Format policy files",
		Long: `Fmt prints policies in their one canonical form: expressions with one space around operators, long ones broken before the
operators && and ||; the keys of rules and macros in one order; an empty line between rules; quotes only where YAML needs
them. Comments, parentheses, anchors, aliases, tags and unknown keys stay. An expression with comments stays as it is.

A PATH is a policy file, a directory of *.policy files, or - for standard input, which is also read without any PATH.
The result goes to standard output, unless --write, --list or --diff say otherwise.

The result loads to the same rules, which is checked. A file of which that is not so, or that is no policy, or that has an
expression that does not parse, is reported on standard error and left alone.

Exit codes: 0 all is well, 1 a file has such a mistake, or --list or --diff without --write found one that is not formatted,
2 wrong use, or a file cannot be read or written.`,
		Example: `  picketctl rules fmt -w my.policy
  picketctl rules fmt -l examples/policies || echo "run picketctl rules fmt -w"
  picketctl rules fmt < my.policy`,
		ValidArgsFunction: completePolicies,
		RunE:              opts.run,
	}
	cmd.Flags().BoolVarP(&opts.write, "write", "w", false, "write the result to the files, and print nothing")
	cmd.Flags().BoolVarP(&opts.list, "list", "l", false, "list the files that are not formatted")
	cmd.Flags().BoolVarP(&opts.diff, "diff", "d", false, "show what formatting would change, as a unified diff")
	return cmd
}

func (o *fmtOptions) run(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || len(args) == 1 && args[0] == "-" {
		if o.write {
			return usageError("--write needs a file, standard input cannot be written to")
		}
		src, err := policy.Read(cmd.InOrStdin())
		if err != nil {
			return usageError("cannot read standard input: %w", err)
		}
		if code, err := o.format(cmd, stdinName, src); code != 0 || err != nil {
			return exitError{code: code, err: err}
		}
		return nil
	}
	for _, arg := range args {
		if arg == "-" {
			return usageError("standard input (-) and files cannot be formatted in one run")
		}
	}
	paths, err := policy.Files(args)
	if err != nil {
		return usageError("cannot read the policies: %w", err)
	}
	worst := 0
	for _, path := range paths {
		src, err := policy.ReadFile(path)
		code := exitFileError
		if err == nil {
			code, err = o.format(cmd, path, src)
		} else {
			err = fmt.Errorf("%s: %w", path, err)
		}
		if err != nil { // the other files are formatted nevertheless
			fmt.Fprintf(cmd.ErrOrStderr(), "error: %v\n", err)
		}
		worst = max(worst, code)
	}
	if worst != 0 {
		return exitError{code: worst}
	}
	return nil
}

// format formats one file and does with it what the flags say. It returns the exit code, with an error if there is
// something to be said about the file.
func (o *fmtOptions) format(cmd *cobra.Command, path string, src []byte) (int, error) {
	out, err := policy.Format(src)
	if err != nil {
		var fe *policy.FormatError
		if errors.As(err, &fe) && fe.Line > 0 {
			return exitUnformatted, fmt.Errorf("%s:%w\n%s", path, err, bytes.TrimSuffix([]byte(fe.Snippet), []byte("\n")))
		}
		return exitUnformatted, fmt.Errorf("%s: %w", path, err)
	}
	var text []byte
	code := 0
	differs := !bytes.Equal(src, out)
	if o.list && differs {
		text = append(text, sanitize(path)+"\n"...)
	}
	if o.diff && differs {
		text = append(text, udiff.Unified(sanitize(path)+".orig", sanitize(path), string(src), string(out))...)
	}
	if !o.list && !o.diff && !o.write {
		text = out
	}
	if (o.list || o.diff) && !o.write && differs {
		code = exitUnformatted
	}
	if o.write && differs {
		if err := replaceFile(path, out); err != nil {
			return exitFileError, fmt.Errorf("cannot write %s: %w", path, err)
		}
	}
	if _, err := cmd.OutOrStdout().Write(text); err != nil {
		return exitFileError, fmt.Errorf("cannot write the result: %w", err)
	}
	return code, nil
}

// replaceFile gives a file new content at once: who reads it sees the old or the new. Mode and owner stay. A symbolic link
// stays one, what it points to is replaced.
func replaceFile(path string, content []byte) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err //nolint:wrapcheck // the caller says what it was for
	}
	info, err := os.Stat(path)
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it was for
	}
	// Policies whose name begins with a dot are not loaded, so a collector that watches the directory leaves it alone.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it was for
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // closed already, or its content does not matter
			_ = os.Remove(f.Name()) // it is not there if it was renamed
		}
	}()
	if s, ok := info.Sys().(*syscall.Stat_t); ok && (int(s.Uid) != os.Geteuid() || int(s.Gid) != os.Getegid()) {
		if err = f.Chown(int(s.Uid), int(s.Gid)); err != nil {
			return fmt.Errorf("its owner cannot be kept: %w", err)
		}
	}
	for _, step := range []func() error{
		func() error { return f.Chmod(info.Mode()) }, // after Chown, which takes bits away
		func() error { _, err := f.Write(content); return err },
		f.Sync,
		f.Close,
		func() error { return os.Rename(f.Name(), path) },
	} {
		if err = step(); err != nil {
			return err
		}
	}
	return nil
}
