// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
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
		RuleID        string `json:"rule_id"`
		PolicyName    string `json:"policy_name"`
		PolicyVersion string `json:"policy_version"`
	} `json:"agent"`
	Evt struct {
		Name    string `json:"name"`
		Outcome string `json:"outcome"`
	} `json:"evt"`
	File *struct {
		shownFile
		Destination *shownFile `json:"destination"`
	} `json:"file"`
	Exit *struct {
		Cause string `json:"cause"`
		Code  int64  `json:"code"`
	} `json:"exit"`
	Process struct {
		shownProcess
		Ancestors []shownProcess `json:"ancestors"` // nearest first
	} `json:"process"`
	Container struct {
		ID string `json:"id"`
	} `json:"container"`
	Network *struct {
		L4Protocol  string       `json:"l4_protocol"`
		Source      shownAddress `json:"source"`
		Destination shownAddress `json:"destination"`
	} `json:"network"`
	Bind *struct {
		Addr shownAddress `json:"addr"`
	} `json:"bind"`
	Anomaly struct {
		Syscall string `json:"syscall"`
	} `json:"anomaly_detection_syscall"`
}

type shownFile struct {
	Path  string   `json:"path"`
	Mode  *int64   `json:"mode"`
	UID   *int64   `json:"uid"`
	GID   *int64   `json:"gid"`
	Flags []string `json:"flags"`
}

type shownAddress struct {
	IP   string `json:"ip"`
	Port int64  `json:"port"`
}

func (a shownAddress) String() string { return net.JoinHostPort(a.IP, strconv.FormatInt(a.Port, 10)) }

type shownProcess struct {
	PID        int64  `json:"pid"`
	UID        int64  `json:"uid"`
	User       string `json:"user"`
	Comm       string `json:"comm"`
	TTY        string `json:"tty"`
	Executable struct {
		Path string `json:"path"`
	} `json:"executable"`
	Argv0         string   `json:"argv0"`
	Args          []string `json:"args"`
	ArgsTruncated bool     `json:"args_truncated"`
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

// block prints a record as a block of lines and an empty one.
func (p *printer) block(res pcommon.Resource, lr plog.LogRecord) error {
	body := lr.Body().Str()
	var l shownLog
	err := json.Unmarshal([]byte(body), &l)
	var typeErr *json.UnmarshalTypeError
	readable := err == nil || errors.As(err, &typeErr) // then the other members have been read

	kind := attribute(lr.Attributes(), event.AttrRecordKind)
	rule := l.Agent.RuleID
	if rule == "" {
		rule = attribute(lr.Attributes(), event.AttrRuleName)
	}
	if rule == "" {
		rule = lr.EventName()
	}
	lv := levelOf(kind, lr.SeverityNumber())
	when := time.Unix(0, int64(lr.Timestamp())).In(p.zone).Format("2006-01-02 15:04:05.000") //nolint:gosec // until the year 2262
	head := []string{p.styled(styleDim, when), p.styled(lv.style, fmt.Sprintf("%-8s", lv.name))}
	if rule != "" {
		head = append(head, p.styled(styleBold, show(rule)))
	}
	if l.Title != "" {
		head = append(head, show(l.Title))
	}
	p.line(strings.Join(head, "  "))

	switch {
	case !readable:
		p.field("body", show(body))
	case kind == event.KindReport:
		rules := rulesetText(body)
		for _, line := range rules {
			p.field("rules", line)
		}
		if rules == nil {
			p.field("who", l.who())
			p.field("lineage", l.lineage())
			p.field("report", reportText(body))
		}
	default:
		p.field("who", l.who())
		p.field("what", l.what(attribute(lr.Attributes(), event.AttrSocketPath)))
		p.field("lineage", l.lineage())
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

func attribute(attrs pcommon.Map, name string) string {
	v, ok := attrs.Get(name)
	if !ok {
		return ""
	}
	return v.AsString()
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
		name = p.Executable.Path
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

// details has what is shown of an event beside its name and path. A type that is not in it has nothing more.
var details = map[event.Type]func(l *shownLog, socketPath string) string{
	event.TypeOpen: func(l *shownLog, _ string) string {
		if len(l.File.Flags) == 0 {
			return ""
		}
		return "(" + show(strings.Join(l.File.Flags, "|")) + ")"
	},
	event.TypeRename: destinationPath,
	event.TypeLink:   destinationPath,
	event.TypeChmod: func(l *shownLog, _ string) string {
		if d := l.File.Destination; d != nil && d.Mode != nil {
			return fmt.Sprintf("→ mode %04o", *d.Mode&0o7777)
		}
		return ""
	},
	event.TypeChown: func(l *shownLog, _ string) string {
		if d := l.File.Destination; d != nil && d.UID != nil && d.GID != nil {
			return fmt.Sprintf("→ uid %d, gid %d", *d.UID, *d.GID)
		}
		return ""
	},
	event.TypeExit: func(l *shownLog, _ string) string {
		if l.Exit == nil {
			return ""
		}
		return fmt.Sprintf("%s %d", show(l.Exit.Cause), l.Exit.Code)
	},
	event.TypeConnect: func(l *shownLog, socketPath string) string {
		if l.Network == nil {
			return show(socketPath)
		}
		protocol := strings.ToLower(strings.TrimPrefix(l.Network.L4Protocol, "IP_PROTO_"))
		return strings.TrimSpace(show(protocol) + " " + show(l.Network.Destination.String()))
	},
	event.TypeBind: func(l *shownLog, socketPath string) string {
		if l.Bind == nil || (l.Bind.Addr.IP == "" && socketPath != "") {
			return show(socketPath)
		}
		return show(l.Bind.Addr.String())
	},
	event.TypeSyscalls: func(l *shownLog, _ string) string { return show(l.Anomaly.Syscall) },
}

func destinationPath(l *shownLog, _ string) string {
	if d := l.File.Destination; d != nil && d.Path != "" {
		return "→ " + show(d.Path)
	}
	return ""
}

// fileTypes are the types whose details need file.
var fileTypes = []event.Type{event.TypeOpen, event.TypeRename, event.TypeLink, event.TypeChmod, event.TypeChown}

func (l *shownLog) what(socketPath string) string {
	parts := []string{show(l.Evt.Name)}
	if l.File != nil && l.File.Path != "" {
		parts = append(parts, show(l.File.Path))
	}
	t, _ := event.TypeByName(l.Evt.Name)
	if detail := details[t]; detail != nil && (l.File != nil || !slices.Contains(fileTypes, t)) {
		if s := detail(l, socketPath); s != "" {
			parts = append(parts, s)
		}
	}
	if l.Evt.Outcome != "" {
		parts = append(parts, "· "+show(l.Evt.Outcome))
	}
	return strings.TrimSpace(strings.Join(parts, " "))
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
	if host := attribute(res.Attributes(), "host.name"); host != "" {
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

// shownRuleset has the members of a report on loaded rules that a block shows.
type shownRuleset struct {
	Policies []struct {
		shownLoad
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Macros  []shownLoad `json:"macros"`
		Rules   []shownLoad `json:"rules"`
	} `json:"policies"`
	KeptPrevious bool   `json:"kept_previous"`
	Reason       string `json:"reason"`
}

type shownLoad struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

const statusError = "error"

func (l shownLoad) text(name string) string {
	return show(name) + ": " + l.Status + ": " + show(l.Message)
}

// rulesetText returns a report on loaded rules in lines: one for each policy with the number of rules by status, and one
// for each policy, macro and rule with an error. Of any other report it returns nil.
func rulesetText(body string) (lines []string) {
	var set shownRuleset
	if json.Unmarshal([]byte(body), &set) != nil {
		return nil
	}
	if set.KeptPrevious {
		lines = append(lines, "the rules before stay in use: "+show(set.Reason))
	}
	for _, p := range set.Policies {
		name := strings.TrimSpace(show(p.Name) + " " + show(p.Version))
		if p.Status == statusError {
			lines = append(lines, p.text(name))
			continue
		}
		counts := make(map[string]int)
		for _, r := range p.Rules {
			counts[show(r.Status)]++
		}
		var parts []string
		for _, status := range slices.Sorted(maps.Keys(counts)) {
			parts = append(parts, fmt.Sprintf("%d %s", counts[status], status))
		}
		if parts == nil {
			parts = []string{"no rules"}
		}
		lines = append(lines, name+": "+strings.Join(parts, ", "))
		for _, r := range slices.Concat(p.Macros, p.Rules) {
			if r.Status == statusError {
				lines = append(lines, r.text(r.ID))
			}
		}
	}
	return lines
}

// reportText returns the members of a report that are its own, as compact JSON. The process that it is about is shown apart.
func reportText(body string) string {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &members) != nil {
		return show(body)
	}
	for _, envelope := range []string{"title", "agent", "evt", "date", "service", "process", "container", "usr"} {
		delete(members, envelope)
	}
	if len(members) == 0 {
		return ""
	}
	text, err := json.Marshal(members)
	if err != nil {
		return show(body)
	}
	return show(string(text))
}
