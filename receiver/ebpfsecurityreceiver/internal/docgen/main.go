// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

//go:generate go run . -dir ../../../../docs

// Command docgen writes the pages of docs/ that are tables of the code: events.md, records.md and fields.md.
package main

import (
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

func main() {
	dir := flag.String("dir", "docs", "directory to write to")
	flag.Parse()
	for name, text := range pages() {
		if err := os.WriteFile(filepath.Join(*dir, name), []byte(text), 0o644); err != nil {
			log.Fatalf("docgen: %v", err)
		}
	}
}

// pages returns the text of each page by its file name.
func pages() map[string]string {
	const head = "<!-- Made by `make generate` from the tables in the code; changes here are lost. -->\n\n"
	return map[string]string{"events.md": head + events(), "records.md": head + records(), "fields.md": head + fields()}
}

// table writes a Markdown table. Cells are escaped.
func table(b *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
}

func code(s string) string { return "`" + s + "`" }

func events() string {
	var b strings.Builder
	b.WriteString(`# Events

Each event is one log record. Its name is in the record's EventName, its type is what rules begin with and what
` + "`evt.name`" + ` of the CSM Threats log says.

`)
	var rows [][]string
	for _, t := range event.Types[1:] {
		source := strings.Join(sensor.SyscallNames(t.Type), ", ")
		if tracepoints, err := sensor.Tracepoints(t.Type); err == nil && len(tracepoints) > 0 {
			source = strings.TrimPrefix(source+"; tracepoint "+strings.Join(tracepoints, ", "), "; ")
		}
		if t.Type == event.TypeSELinux {
			source += " to a file of selinuxfs"
		}
		if t.Type == event.TypeSyscalls {
			source = "any call, when a process image uses it for the first time"
		}
		outcomes := "Success, Refused"
		switch {
		case event.OutcomeOf(t.Type, 0) == event.OutcomeNone:
			outcomes = "none"
		case t.AlwaysSuccess:
			outcomes = "Success"
		}
		if t.OptIn {
			source += "; off unless `events: {" + t.Name + ": {enabled: true}}`"
		}
		rows = append(rows, []string{code(t.Name), code(t.Record), t.Category, source, outcomes})
	}
	table(&b, []string{"Type", "EventName", "Category", "Made by", "Outcomes"}, rows)
	b.WriteString(`
Calls of 32-bit programs are seen too.

## Outcomes

| Return value | Outcome |
|---|---|
`)
	for _, r := range []struct {
		text   string
		typ    event.Type
		retval int64
		note   string
	}{
		{"0 or more", event.TypeOpen, 0, ""},
		{"-EACCES, -EPERM", event.TypeOpen, -1, ""},
		{"-EINPROGRESS of connect", event.TypeConnect, -115, ""},
		{"any other error", event.TypeOpen, -2, "; makes an event only if the receiver's `events: {<type>: {errors: [<NAME>]}}` names it"},
	} {
		fmt.Fprintf(&b, "| %s | %s%s |\n", r.text, event.OutcomeOf(r.typ, r.retval), r.note)
	}
	b.WriteString(`
A rule sees events with an error number that was added this way only if it reads the type's ` + "`retval`" + `.

An exec that fails makes an event of type ` + "`exec`" + ` only for the errors that are named for it, EACCES and EPERM among them. It is about the
process that called, which stays what it was; its file is the one that was asked for. No rule sees it.

## First uses of syscalls

An event of type ` + "`syscalls`" + ` tells that a process image calls a syscall for the first time, whatever comes of it; the call is named in
` + "`anomaly_detection_syscall.syscall`" + `. A process image begins at fork and at exec. Of a process that was there before Picket, the first use is the first
that Picket saw. A number that has no name is written as the number; of all numbers from 512 on, only the first that an image uses is told.
Two threads that use new calls in the same instant can both be told twice where the kernel is older than 6.2.

## Where the file of an event comes from

` + "`picket.file.source`" + ` of a record says it.

| Value | Meaning |
|---|---|
| ` + code(event.FileSourceFD) + ` | The kernel's own file object: path, inode, owner and mode are exact |
| ` + code(event.FileSourcePostStat) + ` | The path that the process gave, made absolute; inode, owner and mode were looked up there after the call |
| ` + code(event.FileSourceUserPath) + ` | The path that the process gave, made absolute; nothing else is known, for example because the file is gone |

The file of an event is to be as it was before the call, and ` + "`file.destination`" + ` what the call makes of it. Of a descriptor (fchmod, fchown,
futimens, fsetxattr, the empty path of AT_EMPTY_PATH) that is known. Of a path it is not: what the call itself changes is left out then,
unless it failed and changed nothing.

| Call by path | Left out of ` + "`file`" + ` |
|---|---|
| chmod | mode, change_time |
| chown | mode (it clears the setuid and setgid bits), uid and gid (-1), user, group, change_time |
| utimes | access_time, modification_time, change_time |
| setxattr, removexattr, link, rename | change_time |
| unlink, rmdir | everything but the path |

The file of chdir and chroot is the directory that the process has then, without symbolic links; that of chroot is given from the root of the
mount namespace. The file of symlink is the link; what it points to is in ` + "`picket.syscall.destination.path`" + `.
`)
	members(&b)
	return b.String()
}

// members writes what is in the body of each type of event, and where it is from.
func members(b *strings.Builder) {
	b.WriteString(`
## Members of the body

The body of a record is the CSM Threats JSON of the event. These tables say what each type has, and where the syscall backend has it from; that
is the one backend that there is. A member that is not known is absent, unless a note says otherwise.

| Source | Meaning |
|---|---|
`)
	for _, s := range []struct {
		source event.MemberSource
		text   string
	}{
		{event.FromKernel, "The kernel's own objects, read while the event happens: exact"},
		{event.FromCall, "What the process passed to the call"},
		{event.FromLookup, "Looked up after the call: it is what is there then"},
		{event.FromEither, "From the kernel where the call is about a descriptor or opened the file, else looked up after the call; `picket.file.source` tells which"},
		{event.FromTree, "The process tree, which is made of the kernel's fork, exec and exit, and of a snapshot at the start"},
		{event.FromDatabase, "`/etc/passwd` and `/etc/group` as the process sees them"},
		{event.FromTable, "Follows from the type of the event and the return value"},
		{event.FromNowhere, "The schema has it, Picket does not fill it"},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", s.source, s.text)
	}
	for _, t := range []struct {
		title   string
		members []event.Member
		types   bool
	}{
		{"All types", event.CommonMembers, false},
		{"By type", event.EventMembers, true},
		{"Members of a file", event.FileMembers, false},
		{"Members of a process", event.ProcessMembers, false},
	} {
		fmt.Fprintf(b, "\n### %s\n\n", t.title)
		var rows [][]string
		if !t.types {
			for _, m := range t.members {
				rows = append(rows, []string{code(m.Path), string(m.Source), m.Note})
			}
			table(b, []string{"Member", "Source (syscall backend)", "Note"}, rows)
			continue
		}
		for _, typ := range event.Types[1:] {
			name := code(typ.Name)
			for _, m := range t.members {
				if m.Types.Has(typ.Type) {
					rows = append(rows, []string{name, code(m.Path), string(m.Source), m.Note})
					name = ""
				}
			}
			if name != "" {
				rows = append(rows, []string{name, "none", "", ""})
			}
		}
		table(b, []string{"Type", "Member", "Source (syscall backend)", "Note"}, rows)
	}
}

// sets have names of their own where they are too long to be written out.
var sets = []struct {
	types event.TypeSet
	name  string
}{
	{event.AllTypes, "events"},
	{event.FileTypes, "file events"},
}

// typeNames writes out a set of types, or what it lacks if that is shorter.
func typeNames(types event.TypeSet) string {
	for _, s := range sets {
		if types == s.types {
			return s.name
		}
	}
	names := func(set event.TypeSet) (out []string) {
		for _, t := range event.Types[1:] {
			if set.Has(t.Type) {
				out = append(out, t.Name)
			}
		}
		return out
	}
	with, without := names(types), names(event.AllTypes&^types)
	if len(without) < len(with) {
		return "events but " + strings.Join(without, ", ")
	}
	return strings.Join(with, ", ")
}

// presence says on what an attribute is.
func presence(a *event.Attribute) string {
	switch a.On {
	case event.OnEvent | event.OnDetection | event.OnReport | event.OnProcessReport:
		return "all"
	case event.OnDetection:
		return "detections"
	case event.OnEvent | event.OnDetection | event.OnProcessReport:
		return typeNames(a.Types) + ", " + code(event.RecordIOUringUsed)
	}
	return typeNames(a.Types)
}

func records() string {
	var b strings.Builder
	b.WriteString(`# Records

A log record of Picket is an event, a detection or a report; ` + code(event.AttrRecordKind) + ` says which. The names and types below are a contract:
what reads them today goes wrong only if ` + code(event.AttrContractVersion) + ` is another number.

| Field | What it holds |
|---|---|
| Resource | the machine: see [below](#resource) |
| SchemaUrl | ` + code(event.SchemaURL) + `, of the Resource and of the Scope |
| Scope | ` + "`github.com/picketsec/picket/receiver/ebpfsecurityreceiver`" + ` with the version of the build; reports on rules have that of the processor |
| EventName | the type of the event, which a detection keeps: [events.md](events.md). Of a report its name |
| Timestamp | when it happened, by the kernel's clock |
| ObservedTimestamp | when Picket read it |
| SeverityNumber, SeverityText | INFO without a text; on a detection by the rule: see [below](#severity) |
| TraceID, SpanID | where the trace of the acting thread is known |
| Body | a string: the event as the JSON of a CSM Threats log; on a detection the whole log, which has ` + "`title` and `agent`" + ` too |

Rules and the ` + "`csm_threats`" + ` exporter read the Body, so processors on the way to them must leave it alone. Attributes repeat what others look for, and
hold the facts that the JSON has no place for. Processors can filter by them and change them; [processors.yaml](../examples/processors.yaml) shows how.
Of the attributes, rules need those that are Picket's own, ` + code(event.AttrProcessSID) + " and " + code(event.AttrProcessCgroup) + `.

Reports are records about Picket itself: ` + code(event.RecordRulesetLoaded) + ", " + code(event.RecordHeartbeat) + ", " +
		code(event.RecordEventsLost) + " and " + code(event.RecordIOUringUsed) + `.
The last one is about a process, and has the attributes of one: it made an io_uring, through which it can do what is not seen. It is written
once for each process image.

One record of every type and every report is below [testdata/records](../internal/event/testdata/records), as YAML.

## Attributes

What is not known or empty is left out, and of Picket's own also what is 0; only ` + code(event.AttrProcessAUID) + ` can be 0. What an attribute is on, a
detection of such an event has too. File events are all that can be about a file: ` + fileTypes() + `.

`)
	status := func(a *event.Attribute) string {
		if a.Status == event.StatusOwn {
			return "Picket's own"
		}
		return a.Status
	}
	var rows, resource [][]string
	for i := range event.Attributes {
		a := &event.Attributes[i]
		if a.On == event.OnResource {
			resource = append(resource, []string{code(a.Key), a.Type, a.Member, a.Note, status(a)})
			continue
		}
		rows = append(rows, []string{code(a.Key), a.Type, presence(a), a.Member, a.Note, status(a)})
	}
	table(&b, []string{"Attribute", "Type", "On", "In the Body", "What", "Semantic conventions 1.43"}, rows)
	b.WriteString("\n## Resource\n\n")
	table(&b, []string{"Attribute", "Type", "In the Body of a detection", "What", "Semantic conventions 1.43"}, resource)
	b.WriteString("\n## Severity\n\nINFO for events and reports. Of a detection it is that of the rule's tag `severity`, or medium:\n\n| Tag, SeverityText | SeverityNumber |\n|---|---|\n")
	for s := event.SeverityInfo; s <= event.SeverityCritical; s++ {
		fmt.Fprintf(&b, "| %s | %s (%d) |\n", s, strings.ToUpper(s.Number().String()), s.Number())
	}
	b.WriteString(`
## Names that no record has

The semantic conventions have more names for what Picket is about. An attribute costs time on every event, so what follows from others, or is
in the Body for the few who ask, is not written.

`)
	rows = nil
	for _, u := range event.UnwrittenNames {
		keys := make([]string, len(u.Keys))
		for i, k := range u.Keys {
			keys[i] = code(k)
		}
		rows = append(rows, []string{strings.Join(keys, ", "), u.Why})
	}
	table(&b, []string{"Attribute", "Instead, or why"}, rows)
	return b.String()
}

// fileTypes lists the types of events with a file.
func fileTypes() string {
	var names []string
	for _, t := range event.Types[1:] {
		if event.FileTypes.Has(t.Type) {
			names = append(names, t.Name)
		}
	}
	return strings.Join(names, ", ")
}

// repeated are prefixes whose fields are those of process: they would make the page several times as long.
var repeated = []string{"process.parent.", "process.ancestors.", "exec.", "exit.", "signal.target.", "ptrace.tracee."}

func fields() string {
	var b strings.Builder
	b.WriteString(`# Fields of rules

What a SECL expression can read. A string field has ` + "`.length`" + ` where the length column says so. "Value" says where it comes from:

| Value | Meaning |
|---|---|
| body | a member of the event |
| attribute | an attribute of the record |
| derived | computed from other fields |
| **unavailable** | nothing fills it in this version: it reads as zero, empty or false, and a detection lists it |

`)
	b.WriteString("`process.parent` and `process.ancestors` have the fields of `process`, and so have `exec` and `exit`, for the process that the event is about, " +
		"and `signal.target` and `ptrace.tracee`, with `parent` and `ancestors` of their own.\n\n" +
		"Ancestors are iterators, nearest first: `process.ancestors.comm` has the values of all, `process.ancestors[0].comm` that of the parent, and " +
		"`process.ancestors[A].comm` that of one ancestor, the same wherever the expression says `[A]`. `argv[0]` is the first member of an array.\n")
	names := make(map[string]bool)
	for _, f := range event.Fields() {
		names[f.Name] = true
	}
	for t := event.TypeAny; t < event.NumTypes; t++ {
		var rows [][]string
		for _, f := range event.Fields() {
			if f.Event != t || isRepeated(f.Name, names) {
				continue
			}
			length := ""
			if f.HasLength {
				length = "yes"
			}
			source := f.Source.String()
			if f.Source == event.FieldUnavailable {
				source = "**" + source + "**"
			}
			rows = append(rows, []string{code(f.Name), f.Type(), length, source})
		}
		if len(rows) == 0 {
			continue
		}
		title := "Every event"
		if t != event.TypeAny {
			title = t.String()
		}
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		table(&b, []string{"Field", "Type", "Length", "Value"}, rows)
	}
	b.WriteString("\n## Old names\n\nNames of the first versions of the language stand for the fields that replaced them.\n\n")
	legacy := event.LegacyNames()
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(legacy)) {
		rows = append(rows, []string{code(name), code(legacy[name])})
	}
	table(&b, []string{"Old name", "Field"}, rows)
	return b.String()
}

// isRepeated reports whether a field below one of the repeated prefixes is on the page already, as a field of process.
func isRepeated(name string, names map[string]bool) bool {
	return slices.ContainsFunc(repeated, func(prefix string) bool {
		rest, ok := strings.CutPrefix(name, prefix)
		return ok && names["process."+rest]
	})
}
