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
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// Exit codes of rules expr; a match is 0.
const (
	exitNoMatch   = 1
	exitExprError = 2 // the expression does not compile, the event cannot be read, or the command line is wrong
)

// maxBatchLine bounds one line of a batch, in bytes.
const maxBatchLine = 16 << 20

func newRulesExprCmd() *cobra.Command {
	var flatEvent, batch string
	cmd := &cobra.Command{
		Use:   "expr 'EXPRESSION' [--event JSON]",
		Short: "Evaluate a rule expression against an event",
		Long: `Expr evaluates one expression against one event and prints true or false. It exits with 0 if the event matches, 1 if it
does not, 2 if the expression does not compile or the event cannot be read.

An event is a flat JSON object from field names to values, with the event type under "type". The type may be missing if
the expression reads only what every event has, such as process.*. Integers may be written as constant expressions
("O_RDWR|O_CREAT"), IP addresses and networks as strings, arrays as lists, timestamps in nanoseconds or relative
("now-5s"). "process.ancestors" is a list of objects, nearest first, with field names relative to "process.".
What is missing is the zero value.

With --batch every line of FILE (- is standard input) is a JSON object with expr, event, macros (a list of
{"id","expression"} or {"id","values"}) and variables (an object from names to values). Each line in gives one line out:
{"result":true}, or {"error":{"kind":"parse|compile|event|input","message":"…"}}. It exits with 0 unless reading fails.`,
		Example: `  picketctl rules expr 'open.file.path == "/etc/shadow"' --event '{"type":"open","open.file.path":"/etc/shadow"}'
  picketctl rules expr --batch cases.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("rules expr takes one expression: put it into quotes")
			}
			return nil
		},
		ValidArgsFunction: completeFields,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case batch != "" && (len(args) > 0 || flatEvent != ""):
				return exitError{code: exitExprError, err: errors.New("--batch takes its expressions and events from the file")}
			case batch != "":
				return runBatch(cmd, batch)
			case len(args) == 0:
				return exitError{code: exitExprError, err: errors.New("rules expr needs an expression, or --batch FILE")}
			}
			if flatEvent == "" {
				flatEvent = "{}"
			}
			return runExpr(cmd, args[0], flatEvent)
		},
	}
	cmd.Flags().StringVar(&flatEvent, "event", "", "the event, as flat JSON (default {})")
	cmd.Flags().StringVar(&batch, "batch", "", "evaluate every line of a file, - for standard input")
	return cmd
}

// completeFields completes the name of a field at the end of an expression.
func completeFields(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	start := 1 + strings.LastIndexFunc(toComplete, func(r rune) bool {
		return r != '.' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	var names []string
	for _, f := range event.Fields() {
		if strings.HasPrefix(f.Name, toComplete[start:]) {
			names = append(names, toComplete[:start]+f.Name)
		}
	}
	return names, directive
}

func runExpr(cmd *cobra.Command, expr, flatEvent string) error {
	result, err := evaluate(expr, []byte(flatEvent), nil, nil)
	if err != nil {
		if e, ok := secl.AsError(err); ok {
			err = errors.New(e.Format(expr))
		}
		return exitError{code: exitExprError, err: err}
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), result); err != nil {
		return exitError{code: exitExprError, err: err}
	}
	if !result {
		return exitError{code: exitNoMatch}
	}
	return nil
}

// Kinds of errors of a batch line beside those of secl.Error.
const (
	kindEvent = "event"
	kindInput = "input"
)

// lineError is an error of a batch line that is none of the expression's.
type lineError struct {
	kind string
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

func inputError(format string, args ...any) error {
	return &lineError{kindInput, fmt.Errorf(format, args...)}
}

// batchLine is a line of a batch. Members that are not listed are ignored: they may identify the line.
type batchLine struct {
	Expr      *string         `json:"expr"`
	Event     json.RawMessage `json:"event"`
	Macros    []batchMacro    `json:"macros"`
	Variables map[string]any  `json:"variables"`
}

type batchMacro struct {
	ID         string   `json:"id"`
	Expression string   `json:"expression"`
	Values     []string `json:"values"`
}

// batchResult is a line of the output.
type batchResult struct {
	Result *bool       `json:"result,omitempty"`
	Error  *batchError `json:"error,omitempty"`
}

type batchError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

func runBatch(cmd *cobra.Command, path string) error {
	return eachLine(cmd, path, func(line []byte, tooLong bool, answer func(any)) {
		if tooLong {
			answer(batchResult{Error: &batchError{kindInput, fmt.Sprintf("the line has more than %d bytes", maxBatchLine)}})
			return
		}
		answer(evaluateLine(line))
	})
}

// readLine reads a line without its line break. Of one that is too long it passes the rest.
func readLine(r *bufio.Reader, limit int) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if !tooLong {
			if len(line)+len(part) > limit+1 {
				line, tooLong = nil, true
			} else {
				line = append(line, part...)
			}
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(line, []byte("\n")), tooLong, err
		}
	}
}

func evaluateLine(line []byte) batchResult {
	result, err := parseAndEvaluate(line)
	if err == nil {
		return batchResult{Result: &result}
	}
	kind := kindInput
	var le *lineError
	if e, ok := secl.AsError(err); ok {
		kind = e.Kind
	} else if errors.As(err, &le) {
		kind = le.kind
	}
	return batchResult{Error: &batchError{kind, err.Error()}}
}

func parseAndEvaluate(line []byte) (bool, error) {
	var b batchLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if trimmed := bytes.TrimSpace(line); len(trimmed) == 0 || trimmed[0] != '{' {
		return false, inputError("the line is no JSON object")
	}
	if err := d.Decode(&b); err != nil {
		return false, inputError("the line cannot be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return false, inputError("the JSON object is followed by something else")
	}
	if b.Expr == nil {
		return false, inputError(`the line has no "expr"`)
	}
	if len(b.Event) == 0 {
		b.Event = json.RawMessage("{}")
	}
	macros, err := b.macros()
	if err != nil {
		return false, err
	}
	return evaluate(*b.Expr, b.Event, macros, b.Variables)
}

func (b *batchLine) macros() ([]secl.Macro, error) {
	macros := make([]secl.Macro, 0, len(b.Macros))
	seen := map[string]bool{}
	for i, m := range b.Macros {
		switch {
		case m.ID == "":
			return nil, inputError("macro %d has no id", i)
		case seen[m.ID]:
			return nil, inputError("there are two macros %q", m.ID)
		case m.Expression == "" && len(m.Values) == 0:
			return nil, inputError("macro %q has neither an expression nor values", m.ID)
		}
		seen[m.ID] = true
		macros = append(macros, secl.Macro{ID: m.ID, Expression: m.Expression, Values: m.Values})
	}
	return macros, nil
}

// evaluate compiles the expression and matches it with the event.
func evaluate(expr string, flatEvent []byte, macros []secl.Macro, variables map[string]any) (bool, error) {
	program, err := compileWith(expr, macros, variables)
	if err != nil {
		return false, err
	}
	now := event.Time(time.Now().UnixNano())
	e, err := event.ParseFlatEventAt(flatEvent, now)
	if err != nil {
		return false, &lineError{kindEvent, err}
	}
	if e.Type == event.TypeAny && program.EventType() != event.TypeAny {
		return false, &lineError{kindEvent, fmt.Errorf("the event has no type, and the expression is about %s events", program.EventType())}
	}
	if e.Date != 0 {
		now = e.Date
	}
	return program.Match(&secl.Context{Event: e, Now: now}), nil
}

// maxTypings bounds how many ways of typing ambiguous variables are tried.
const maxTypings = 64

// compileWith compiles the expression with macros and with variables that have values. JSON does not say whether a string
// is an address, nor what an empty list would hold: if the first reading does not compile, the others are tried.
func compileWith(expr string, macros []secl.Macro, variables map[string]any) (*secl.Program, error) {
	var names []string
	for name := range variables {
		names = append(names, name)
	}
	slices.Sort(names)
	readings := make([][]secl.Value, len(names))
	for i, name := range names {
		values, err := variableReadings(variables[name])
		if err != nil {
			return nil, inputError("variable %q: %w", name, err)
		}
		readings[i] = values
	}
	var first error
	choice := make([]int, len(names))
	for range maxTypings {
		env := &secl.Env{Macros: macros, Variables: secl.NewVariables()}
		for i, name := range names {
			if err := declare(env.Variables, name, readings[i][choice[i]]); err != nil {
				return nil, inputError("%w", err)
			}
		}
		program, err := secl.Compile(expr, env)
		if err == nil {
			err = checkMacros(env)
		}
		if err == nil {
			return program, nil
		}
		if first == nil {
			first = err
		}
		if !nextChoice(choice, readings) {
			break
		}
	}
	return nil, first
}

// nextChoice counts choice up; false after the last.
func nextChoice(choice []int, readings [][]secl.Value) bool {
	for i := range choice {
		if choice[i]++; choice[i] < len(readings[i]) {
			return true
		}
		choice[i] = 0
	}
	return false
}

func checkMacros(env *secl.Env) error {
	for _, m := range env.Macros {
		if err := secl.CheckMacro(m.ID, env); err != nil {
			if e, ok := secl.AsError(err); ok {
				e.Message = fmt.Sprintf("macro %q: %s", m.ID, e.Message)
			}
			return err
		}
	}
	return nil
}

// declare declares a variable that has the value whatever the event.
func declare(variables *secl.Variables, ref string, value secl.Value) error {
	spec := secl.VariableSpec{Name: ref, Kind: value.Kind, List: value.List, Default: value}
	if prefix, rest, ok := strings.Cut(ref, "."); ok {
		if scope, err := secl.ParseScope(prefix); err == nil {
			spec.Scope, spec.Name = scope, rest
		}
	}
	_, err := variables.Declare(spec)
	return err
}

// variableReadings returns the values that a JSON value may stand for, the likeliest first.
func variableReadings(v any) ([]secl.Value, error) {
	switch v := v.(type) {
	case bool:
		return []secl.Value{{Kind: event.KindBool, Bool: v}}, nil
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil, fmt.Errorf("%s is no integer of 64 bits", v)
		}
		return []secl.Value{{Kind: event.KindInt, Int: n}}, nil
	case string:
		values := []secl.Value{{Kind: event.KindString, String: v}}
		if ip, err := event.ParseNetwork(v); err == nil {
			values = append(values, secl.Value{Kind: event.KindIP, IP: ip})
		}
		return values, nil
	case []any:
		return listReadings(v)
	}
	return nil, errors.New("it is neither a bool, an integer, a string nor a list of integers or strings")
}

func listReadings(list []any) ([]secl.Value, error) {
	if len(list) == 0 {
		return []secl.Value{
			{Kind: event.KindString, List: true}, {Kind: event.KindInt, List: true}, {Kind: event.KindIP, List: true},
		}, nil
	}
	var strs []string
	var ints []int64
	var ips []netip.Prefix
	for _, x := range list {
		switch x := x.(type) {
		case string:
			strs = append(strs, x)
			if ip, err := event.ParseNetwork(x); err == nil {
				ips = append(ips, ip)
			}
		case json.Number:
			n, err := x.Int64()
			if err != nil {
				return nil, fmt.Errorf("%s is no integer of 64 bits", x)
			}
			ints = append(ints, n)
		default:
			return nil, errors.New("a list holds integers or strings")
		}
	}
	switch len(list) {
	case len(ints):
		return []secl.Value{{Kind: event.KindInt, List: true, Ints: ints}}, nil
	case len(strs):
		values := []secl.Value{{Kind: event.KindString, List: true, Strings: strs}}
		if len(ips) == len(list) {
			values = append(values, secl.Value{Kind: event.KindIP, List: true, IPs: ips})
		}
		return values, nil
	}
	return nil, errors.New("a list holds integers or strings, not both")
}
