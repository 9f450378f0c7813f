// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// maxShown bounds one value in a block, in bytes. The whole value is in the JSON output.
const maxShown = 2048

// shownLog has the members of a CSM Threats log that a block shows.
type shownLog struct {
	Title string `json:"title"`
	Agent struct {
		RuleID        string        `json:"rule_id"`
		PolicyName    string        `json:"policy_name"`
		PolicyVersion string        `json:"policy_version"`
		Actions       []shownAction `json:"rule_actions"`
	} `json:"agent"`
	shownEvent
	Process struct {
		shownProcess
		Ancestors   []shownProcess `json:"ancestors"` // nearest first
		Credentials struct {
			Destination shownCredentials `json:"destination"`
		} `json:"credentials"`
	} `json:"process"`
	Container struct {
		ID string `json:"id"`
	} `json:"container"`
}

type shownProcess struct {
	PID           int64     `json:"pid"`
	UID           int64     `json:"uid"`
	User          string    `json:"user"`
	Comm          string    `json:"comm"`
	TTY           string    `json:"tty"`
	Executable    shownFile `json:"executable"`
	Argv0         string    `json:"argv0"`
	Args          []string  `json:"args"`
	ArgsTruncated bool      `json:"args_truncated"`
}

// ANSI colours.
const (
	styleReset = "\x1b[0m"
	styleDim   = "\x1b[2m"
	styleBold  = "\x1b[1m"
)

// level is how a severity is shown.
type level struct{ name, style string }

// severityStyles has the colour of each severity.
var severityStyles = [...]string{
	event.SeverityInfo:     "\x1b[34m",
	event.SeverityLow:      "\x1b[36m",
	event.SeverityMedium:   "\x1b[1;33m",
	event.SeverityHigh:     "\x1b[1;31m",
	event.SeverityCritical: "\x1b[1;97;41m",
}

func levelOf(kind string, severity plog.SeverityNumber) level {
	switch kind {
	case event.KindEvent:
		return level{"EVENT", styleDim}
	case event.KindReport:
		return level{"REPORT", styleDim}
	}
	s := event.SeverityCritical // the highest that the record reaches
	for s > event.SeverityInfo && severity < s.Number() {
		s--
	}
	return level{strings.ToUpper(s.String()), severityStyles[s]}
}

func (p *printer) styled(style, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return style + text + styleReset
}

// timeFormat is how a time is shown.
const timeFormat = "2006-01-02 15:04:05.000"

// head is the first line of a block, and the only one of a heartbeat.
func (p *printer) head(when time.Time, lv level, rule, title string) string {
	parts := []string{p.styled(styleDim, when.In(p.zone).Format(timeFormat)), p.styled(lv.style, fmt.Sprintf("%-8s", lv.name))}
	if rule != "" {
		parts = append(parts, p.styled(styleBold, show(rule)))
	}
	if title != "" {
		parts = append(parts, title)
	}
	return strings.Join(parts, "  ")
}

func timeOf(lr plog.LogRecord) time.Time {
	return time.Unix(0, int64(lr.Timestamp())) //nolint:gosec // until the year 2262
}

// block prints a record as a block of lines and an empty one; a heartbeat, as one line that may wait for others.
func (p *printer) block(res pcommon.Resource, lr plog.LogRecord) error {
	attrs, body := lr.Attributes(), lr.Body().Str()
	kind := attribute(attrs, event.AttrRecordKind)
	if kind == event.KindReport && lr.EventName() == event.RecordHeartbeat && p.beat(attribute(res.Attributes(), event.AttrHostName), timeOf(lr), body) {
		return nil
	}
	p.endBeat()
	if p.compact {
		p.line("")
		p.compact = false
	}

	var l shownLog
	err := json.Unmarshal([]byte(body), &l)
	var typeErr *json.UnmarshalTypeError
	readable := err == nil || errors.As(err, &typeErr) // then the other members have been read

	name := cmp.Or(l.Agent.RuleID, attribute(attrs, event.AttrRuleName), lr.EventName())
	title := show(l.Title)
	var report reportView
	if kind == event.KindReport {
		name = cmp.Or(lr.EventName(), name) // the rule's id is the one that Datadog's agent has for it
		if readable {
			report = p.report(lr.EventName(), body)
		}
		title = show(cmp.Or(report.title, l.Title))
		if report.alarming {
			title = p.styled(severityStyles[event.SeverityMedium], title)
		}
	}
	p.line(p.head(timeOf(lr), levelOf(kind, lr.SeverityNumber()), name, title))

	if readable {
		p.field("who", l.who())
		if kind != event.KindReport {
			p.field("what", l.what(attrs))
		}
		p.field("lineage", l.lineage())
		p.list(report.lines)
		p.list(l.actions(attrs))
		p.field("tags", show(strings.Join(tagsOf(attrs), ", ")))
		p.field("unknown", show(strings.Join(attributeList(attrs, event.AttrRuleUnavailable), ", ")))
	} else {
		p.field("body", show(body))
	}
	p.field("where", where(res, &l))
	return p.out.WriteByte('\n')
}

// line prints a line. A failed write shows up at the next write or Flush: bufio keeps the error.
func (p *printer) line(s string) { _, _ = p.out.WriteString(s + "\n") }

func (p *printer) field(name, value string) {
	if value != "" {
		p.line("  " + p.styled(styleDim, fmt.Sprintf("%-8s", name)) + " " + value)
	}
}

// labelled is a line of a block. Its text may be what a watched process chose.
type labelled struct{ label, text string }

// maxLines bounds a list of lines in a block. All of it is in the JSON output.
const maxLines = 200

func (p *printer) list(lines []labelled) {
	for i, l := range lines {
		if i == maxLines {
			p.field("", fmt.Sprintf("… and %d more", len(lines)-i))
			return
		}
		p.field(l.label, show(l.text))
	}
}

func attribute(attrs pcommon.Map, name string) string {
	v, ok := attrs.Get(name)
	if !ok {
		return ""
	}
	return v.AsString()
}

// attributeList returns the strings of an attribute that is a list of them.
func attributeList(attrs pcommon.Map, name string) (out []string) {
	v, ok := attrs.Get(name)
	if !ok || v.Type() != pcommon.ValueTypeSlice {
		return nil
	}
	for _, item := range v.Slice().All() {
		out = append(out, item.AsString())
	}
	return out
}

// tagsOf returns the tags of the rule but for the severity, which is in the first line.
func tagsOf(attrs pcommon.Map) []string {
	return slices.DeleteFunc(attributeList(attrs, event.AttrRuleTags), func(tag string) bool { return strings.HasPrefix(tag, "severity:") })
}

// show makes a string from an event safe and of bounded length.
func show(s string) string {
	if len(s) > maxShown {
		cut := maxShown
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return sanitize(s[:cut]) + "…"
	}
	return sanitize(s)
}

func (l *shownLog) who() string {
	pr := &l.Process
	if pr.PID == 0 && pr.Comm == "" {
		return ""
	}
	user := pr.User
	if user == "" {
		user = "?"
	}
	s := fmt.Sprintf("%s (uid %d), %s[%d]", show(user), pr.UID, show(pr.Comm), pr.PID)
	if pr.TTY != "" {
		s += " on " + show(pr.TTY)
	}
	if cmd := pr.commandLine(); cmd != "" {
		s += ": " + cmd
	}
	return s
}

// commandLine returns the arguments as a shell would take them; it begins with the executable if argv[0] is not known.
func (p *shownProcess) commandLine() string {
	name := p.Argv0
	if name == "" {
		name = cmp.Or(p.Executable.Path, p.Executable.Name)
	}
	if name == "" && len(p.Args) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(quoteArg(name))
	for _, a := range p.Args {
		if b.Len() > maxShown {
			break
		}
		b.WriteByte(' ')
		b.WriteString(quoteArg(a))
	}
	s := show(b.String())
	if p.ArgsTruncated {
		s += " …"
	}
	return s
}

func quoteArg(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"\\$`*?;&|<>()[]{}#~!") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lineage returns the processes from the oldest known ancestor to the actor.
func (l *shownLog) lineage() string {
	if l.Process.Comm == "" && l.Process.PID == 0 {
		return ""
	}
	var names []string
	for _, a := range slices.Backward(l.Process.Ancestors) {
		names = append(names, a.name())
	}
	return strings.Join(append(names, l.Process.name()), " → ")
}

func (p *shownProcess) name() string {
	comm := p.Comm
	if comm == "" {
		comm = "?"
	}
	return fmt.Sprintf("%s(%d)", show(comm), p.PID)
}

func where(res pcommon.Resource, l *shownLog) string {
	var parts []string
	if host := attribute(res.Attributes(), event.AttrHostName); host != "" {
		parts = append(parts, "host "+show(host))
	}
	if l.Container.ID != "" {
		parts = append(parts, "container "+show(l.Container.ID))
	}
	if l.Agent.PolicyName != "" {
		parts = append(parts, strings.TrimSpace("policy "+show(l.Agent.PolicyName)+" "+show(l.Agent.PolicyVersion)))
	}
	return strings.Join(parts, ", ")
}
