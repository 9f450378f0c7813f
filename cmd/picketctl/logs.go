// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/term"

	"github.com/picketsec/picket/internal/event"
)

// followInterval is how often a file that does not grow is looked at.
const followInterval = 200 * time.Millisecond

// choice is a flag with a fixed set of values.
type choice struct {
	value  string
	values []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.values, "|") }
func (c *choice) Set(s string) error {
	if !slices.Contains(c.values, s) {
		return fmt.Errorf("must be one of %s", strings.Join(c.values, ", "))
	}
	c.value = s
	return nil
}

func (c *choice) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return c.values, cobra.ShellCompDirectiveNoFileComp
}

func newLogsCmd() *cobra.Command {
	var (
		follow, events bool
		format         = choice{"auto", []string{"auto", "pretty", "json"}}
		colour         = choice{"auto", []string{"auto", "always", "never"}}
	)
	cmd := &cobra.Command{
		Use:   "logs [FILE|-]",
		Short: "Print the detections that a collector wrote",
		Long: `Print the detections and reports in the output of a collector's file exporter (OTLP JSON, one batch per line).

A file is followed as it grows: over rotation and truncation, and from its creation if it does not exist yet.
With - or without FILE, standard input is read to its end.

On a terminal each detection is a readable block. Otherwise, or with --format json, each is one line: the CSM Threats
log itself, as it goes to Datadog.

Exit codes: 0 all is well, 1 an error, 2 wrong use.`,
		Example: `  picketctl logs /var/log/picket/logs.json
  picketctl logs --follow=false logs.json | jq 'select(.agent.rule_id == "cron_file_written")'
  zstdcat old.json.zst | picketctl logs -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return noArgs(cmd, args[1:])
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			terminal := isTerminal(out)
			path := "-"
			if len(args) == 1 {
				path = args[0]
			}
			if len(args) == 0 && isTerminal(cmd.InOrStdin()) {
				return exitError{code: 2, err: errors.New("name the FILE that the collector's file exporter writes, or - for standard input")}
			}
			r := &logReader{
				name:    path,
				printer: newPrinter(out, format.value == "pretty" || (format.value == "auto" && terminal), useColour(colour.value, terminal, os.Getenv)),
				events:  events,
				stderr:  cmd.ErrOrStderr(),
			}
			if path == "-" {
				r.name = "standard input"
				return r.stream(cmd.Context(), cmd.InOrStdin())
			}
			return r.file(cmd.Context(), path, follow)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&follow, "follow", true, "wait for more at the end of the file")
	flags.BoolVar(&events, "events", false, "print plain events too, which no rule matched")
	flags.Var(&format, "format", "how to print; auto is pretty on a terminal, else json")
	flags.Var(&colour, "color", "when to colour; auto is on a terminal, unless NO_COLOR is set")
	// These fail only for flags that do not exist.
	_ = cmd.RegisterFlagCompletionFunc("format", format.complete)
	_ = cmd.RegisterFlagCompletionFunc("color", colour.complete)
	return cmd
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor fits an int
}

// useColour decides by --color, and for auto by the terminal and by NO_COLOR (no-color.org).
func useColour(choice string, terminal bool, getenv func(string) string) bool {
	switch choice {
	case "always":
		return true
	case "never":
		return false
	}
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// logReader prints the records of one input.
type logReader struct {
	name    string // of the input, for messages
	printer *printer
	events  bool
	stderr  io.Writer

	bad int // lines that could not be read
	err error
}

func (r *logReader) file(ctx context.Context, path string, follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &tail{
		path:     path,
		follow:   follow,
		interval: followInterval,
		lines:    r.lines(cancel),
		idle:     func() { r.flush(cancel) },
		missing:  func() { fmt.Fprintf(r.stderr, "picketctl: waiting for %s\n", path) },
	}
	return r.finish(t.run(ctx))
}

func (r *logReader) stream(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return r.finish(readStream(ctx, in, r.lines(cancel), func() { r.flush(cancel) }))
}

// lines returns the handler of lines. stop ends reading when the output fails.
func (r *logReader) lines(stop func()) *lines {
	return &lines{
		limit: maxLineBytes,
		handle: func(number int, line []byte) {
			if r.err != nil {
				return
			}
			ld, err := unmarshalLogs(line)
			if err != nil {
				r.complain(number, "not a batch of logs in OTLP JSON: "+sanitize(err.Error()))
				return
			}
			if r.err = r.print(ld); r.err != nil {
				stop()
			}
		},
		tooLong: func(number int) {
			r.complain(number, fmt.Sprintf("longer than %d MiB, skipped", maxLineBytes>>20))
		},
	}
}

func (r *logReader) complain(number int, problem string) {
	r.bad++
	r.flush(func() {}) // keep the order of what is printed
	fmt.Fprintf(r.stderr, "picketctl: %s:%d: %s\n", r.name, number, problem)
}

// unmarshalLogs reads a line. The decoder reads files that others may write, so a panic in it must not end the command.
func unmarshalLogs(line []byte) (ld plog.Logs, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	return new(plog.JSONUnmarshaler).UnmarshalLogs(line)
}

func (r *logReader) flush(stop func()) {
	if err := r.printer.flush(); err != nil && r.err == nil {
		r.err = err
		stop()
	}
}

func (r *logReader) finish(err error) error {
	r.flush(func() {})
	switch {
	case r.err != nil:
		return r.err
	case err != nil:
		return err
	case r.bad > 0:
		return fmt.Errorf("%d lines of %s could not be read", r.bad, r.name)
	}
	return nil
}

// print prints the wanted records of a batch. Records that are not of Picket are passed over.
func (r *logReader) print(ld plog.Logs) error {
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				kind, ok := lr.Attributes().Get(event.AttrRecordKind)
				if !ok || lr.Body().Type() != pcommon.ValueTypeStr {
					continue
				}
				switch k := kind.AsString(); {
				case k == event.KindDetection, k == event.KindReport, k == event.KindEvent && r.events:
				default:
					continue
				}
				if err := r.printer.record(rl.Resource(), lr); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// printer writes records, as JSON lines or as blocks for people.
type printer struct {
	out    *bufio.Writer
	pretty bool
	colour bool
	zone   *time.Location

	beats   beats // not yet printed
	compact bool  // the last line was of a heartbeat: an empty one is to follow before a block
}

func newPrinter(out io.Writer, pretty, colour bool) *printer {
	return &printer{out: bufio.NewWriterSize(out, readBytes), pretty: pretty, colour: colour, zone: time.Local}
}

// flush writes all that was printed, and what waits to be.
func (p *printer) flush() error {
	p.endBeat()
	return p.out.Flush()
}

func (p *printer) record(res pcommon.Resource, lr plog.LogRecord) error {
	if p.pretty {
		return p.block(res, lr)
	}
	if _, err := p.out.WriteString(sanitizeJSON(lr.Body().Str())); err != nil {
		return err
	}
	return p.out.WriteByte('\n')
}
