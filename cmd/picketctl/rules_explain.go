// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy/ruletest"
	"github.com/picketsec/picket/internal/secl"
)

func newRulesExplainCmd() *cobra.Command {
	var rules, eventArgs []string
	var format, agentVersion string
	cmd := &cobra.Command{
		Use:   "explain RULE --rules PATH… --event JSON",
		Short: "Show which part of a rule decides about an event",
		Long: `Explain evaluates the expression of one rule part by part and shows the result of each with the values that it read. Parts
that decided are marked with *: if such a part had another result, the whole might have one too. Every part is
evaluated, also those that a collector would not come to.

The event is written as for 'rules eval', in the argument of --event or, after an @, in a file (@- is standard input).
Where --event is given more than once, the rules see these events in order first, so that variables are set as their actions
do, and the last one is explained. Of a rule with iterator variables the elements that make it match are shown; if none does, the
nearest.

With --format json the tree is one object: expression, operator (and, or, not, macro; none for a test), result, decisive,
reason, values (name, value, age, unavailable), parts and bindings.

Exit codes: 0 the event matches, 1 it does not, 2 wrong use, no such rule, or the event cannot be read.`,
		Example: `  picketctl rules explain cron_file_written --rules examples/policies \
    --event '{"type":"open","open.file.path":"/etc/cron.d/x","open.flags":"O_RDONLY"}'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("rules explain needs the id of one rule")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 || len(rules) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var ids []string
			for _, l := range listRules(ruletest.NewEngine(rules, agentVersion)) {
				ids = append(ids, l.ID+"\t"+strings.Join(l.EventTypes, ", "))
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case format != "text" && format != "json":
				return usageError("--format is %q, it may be text or json", format)
			case len(eventArgs) == 0:
				return usageError("rules explain needs --event JSON, or --event @FILE")
			}
			engine, err := loadRules(cmd, rules, agentVersion)
			if err != nil {
				return err
			}
			var e *event.Event
			for i, arg := range eventArgs {
				if e, err = eventOf(cmd, arg); err != nil {
					return usageError("cannot read the event: %w", err)
				}
				if i < len(eventArgs)-1 {
					engine.Eval(e)
				}
			}
			explanation, err := engine.Explain(args[0], e)
			if err != nil {
				return exitError{code: exitUsage, err: err}
			}
			if err := writeExplanation(cmd.OutOrStdout(), args[0], format, explanation); err != nil {
				return usageError("cannot write the result: %w", err)
			}
			if !explanation.Result {
				return exitError{code: exitNoMatch}
			}
			return nil
		},
	}
	addRulesFlag(cmd, &rules)
	cmd.Flags().StringArrayVar(&eventArgs, "event", nil, "the event as JSON, or @ and the name of a file that it is in; may be repeated")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	addAgentVersionFlag(cmd, &agentVersion)
	return cmd
}

// eventOf reads the event of a flag: JSON, or @ and a file name.
func eventOf(cmd *cobra.Command, arg string) (*event.Event, error) {
	data := []byte(arg)
	if path, ok := strings.CutPrefix(arg, "@"); ok {
		in := cmd.InOrStdin()
		if path != "-" {
			f, err := os.Open(path) //nolint:gosec // the user names the file
			if err != nil {
				return nil, err //nolint:wrapcheck // the caller says what it was for
			}
			defer func() { _ = f.Close() }() // it was only read
			in = f
		}
		var err error
		if data, err = io.ReadAll(io.LimitReader(in, maxBatchLine+1)); err != nil {
			return nil, err //nolint:wrapcheck // the same
		}
		if len(data) > maxBatchLine {
			return nil, fmt.Errorf("it has more than %d bytes", maxBatchLine)
		}
	}
	return event.ParseEvent(data, event.Time(time.Now().UnixNano())) //nolint:wrapcheck // the same
}

func writeExplanation(w io.Writer, id, format string, e *secl.Explanation) error {
	if format == "json" {
		return writeJSON(w, e)
	}
	var b strings.Builder
	verdict := "does not match"
	if e.Result {
		verdict = "matches"
	}
	fmt.Fprintf(&b, "%s %s\n", id, verdict)
	for _, x := range e.Bindings {
		fmt.Fprintf(&b, "  [%s] is ancestor %d\n", x.Variable, x.Element)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, "  %s\n", e.Reason)
	}
	if len(e.Parts) > 0 || len(e.Values) > 0 {
		explainPart(&b, e, 0)
	}
	_, err := io.WriteString(w, b.String())
	return err //nolint:wrapcheck // the caller says what it was for
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v) //nolint:wrapcheck // the caller says what it was for
}

func explainPart(b *strings.Builder, e *secl.Explanation, depth int) {
	mark := " "
	if e.Decisive {
		mark = "*"
	}
	what := e.Expression
	switch e.Operator {
	case "":
	case "macro":
		what = "macro " + e.Expression
	default:
		what = e.Operator
	}
	indent := strings.Repeat("  ", depth)
	fmt.Fprintf(b, "%s %-5t  %s%s\n", mark, e.Result, indent, sanitize(what))
	for _, v := range e.Values {
		fmt.Fprintf(b, "           %s%s = %s", indent, sanitize(v.Name), textOf(v.Value))
		if v.Age != "" {
			fmt.Fprintf(b, " (%s ago)", v.Age)
		}
		if v.Unavailable {
			b.WriteString(" (unavailable: the event does not know it)")
		}
		b.WriteByte('\n')
	}
	for _, p := range e.Parts {
		explainPart(b, p, depth+1)
	}
}

// textOf writes a value on one line; long lists are cut.
func textOf(v any) string {
	const most = 10
	var items []string
	var n int
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []string:
		n = len(v)
		for _, s := range v[:min(n, most)] {
			items = append(items, strconv.Quote(s))
		}
	case []int64:
		n = len(v)
		for _, i := range v[:min(n, most)] {
			items = append(items, strconv.FormatInt(i, 10))
		}
	case []bool:
		n = len(v)
		for _, x := range v[:min(n, most)] {
			items = append(items, strconv.FormatBool(x))
		}
	default:
		return fmt.Sprint(v)
	}
	if n > most {
		items = append(items, fmt.Sprintf("… %d more", n-most))
	}
	return "[" + strings.Join(items, ", ") + "]"
}
