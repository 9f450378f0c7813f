// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/picketsec/picket/internal/event"
)

// shownEvent has the members of a log that say what happened.
type shownEvent struct {
	Evt struct {
		Name    string `json:"name"`
		Outcome string `json:"outcome"`
	} `json:"evt"`
	File struct {
		shownFile
		Destination shownFile `json:"destination"`
	} `json:"file"`
	Exit struct {
		Cause string `json:"cause"`
		Code  uint32 `json:"code"`
	} `json:"exit"`
	Network struct {
		L4Protocol  string       `json:"l4_protocol"`
		Source      shownAddress `json:"source"`
		Destination shownAddress `json:"destination"`
	} `json:"network"`
	Bind struct {
		Addr shownAddress `json:"addr"`
	} `json:"bind"`
	DNS struct {
		Question struct {
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"question"`
	} `json:"dns"`
	Signal struct {
		Type   string       `json:"type"`
		PID    int64        `json:"pid"`
		Target shownProcess `json:"target"`
	} `json:"signal"`
	PTrace struct {
		Request string       `json:"request"`
		Tracee  shownProcess `json:"tracee"`
	} `json:"ptrace"`
	MMap struct {
		Length     uint64 `json:"length"`
		Protection string `json:"protection"`
		Flags      string `json:"flags"`
	} `json:"mmap"`
	MProtect struct {
		Start    string `json:"vm_start"`
		End      string `json:"vm_end"`
		Before   string `json:"vm_protection"`
		Required string `json:"req_protection"`
	} `json:"mprotect"`
	BPF struct {
		Cmd string `json:"cmd"`
		Map struct {
			Name string `json:"name"`
			Type string `json:"map_type"`
		} `json:"map"`
		Program struct {
			Name   string `json:"name"`
			Type   string `json:"program_type"`
			Attach string `json:"attach_type"`
		} `json:"program"`
	} `json:"bpf"`
	Module struct {
		Name          string   `json:"name"`
		FromMemory    bool     `json:"loaded_from_memory"`
		Args          []string `json:"argv"`
		ArgsTruncated bool     `json:"args_truncated"`
	} `json:"module"`
	Splice struct {
		Entry string `json:"pipe_entry_flag"`
		Exit  string `json:"pipe_exit_flag"`
	} `json:"splice"`
	Mount struct {
		Point  string `json:"mountpoint.path"`
		Source string `json:"source.path"`
		FSType string `json:"fs_type"`
	} `json:"mount"`
	SELinux struct {
		Bool struct {
			Name  string `json:"name"`
			State string `json:"state"`
		} `json:"bool"`
		Enforce struct {
			Status string `json:"status"`
		} `json:"enforce"`
		Commit *struct{} `json:"bool_commit"`
	} `json:"selinux"`
	Anomaly struct {
		Syscall string `json:"syscall"`
	} `json:"anomaly_detection_syscall"`
}

type shownFile struct {
	Path          string   `json:"path"`
	Name          string   `json:"name"`
	Mode          *int64   `json:"mode"`
	UID           *int64   `json:"uid"`
	GID           *int64   `json:"gid"`
	Flags         []string `json:"flags"`
	AttributeName string   `json:"attribute_name"`
	AccessTime    string   `json:"access_time"`
	ModifyTime    string   `json:"modification_time"`
	Hashes        []string `json:"hashes"` // algorithm:hex
}

type shownAddress struct {
	IP   string `json:"ip"`
	Port int64  `json:"port"`
}

func (a shownAddress) String() string {
	if a.IP == "" {
		return ""
	}
	return net.JoinHostPort(a.IP, strconv.FormatInt(a.Port, 10))
}

// shownCredentials are what setuid, setgid and capset made; each of them has members of its own.
type shownCredentials struct {
	UID          *int64   `json:"uid"`
	User         string   `json:"user"`
	EUID         *int64   `json:"euid"`
	EUser        string   `json:"euser"`
	FSUID        *int64   `json:"fsuid"`
	FSUser       string   `json:"fsuser"`
	GID          *int64   `json:"gid"`
	Group        string   `json:"group"`
	EGID         *int64   `json:"egid"`
	EGroup       string   `json:"egroup"`
	FSGID        *int64   `json:"fsgid"`
	FSGroup      string   `json:"fsgroup"`
	CapEffective []string `json:"cap_effective"`
	CapPermitted []string `json:"cap_permitted"`
}

// details has what is shown of an event beside its name and the file that it is about, as words. They may be what a watched
// process chose: what makes them safe, and leaves out the empty ones. A type that is not in it has nothing more.
var details = map[event.Type]func(l *shownLog, attrs pcommon.Map) []string{
	event.TypeOpen: func(l *shownLog, _ pcommon.Map) []string {
		return []string{inBrackets(strings.Join(l.File.Flags, "|"))}
	},
	event.TypeRename: secondPath,
	event.TypeLink:   secondPath,
	event.TypeSymlink: func(_ *shownLog, attrs pcommon.Map) []string {
		return arrow(cmp.Or(attribute(attrs, event.AttrSymlinkTarget), attribute(attrs, event.AttrSyscallDestPath)))
	},
	event.TypeChroot: func(_ *shownLog, attrs pcommon.Map) []string { // of pivot_root
		if old := attribute(attrs, event.AttrSyscallDestPath); old != "" {
			return []string{"with the old root at", old}
		}
		return nil
	},
	event.TypeMkdir: newMode,
	event.TypeChmod: newMode,
	event.TypeChown: func(l *shownLog, _ pcommon.Map) []string {
		d := &l.File.Destination
		return arrow(ids(id{"uid", d.UID, ""}, id{"gid", d.GID, ""}))
	},
	event.TypeUtimes: func(l *shownLog, _ pcommon.Map) []string {
		d := &l.File.Destination
		return []string{labelIf("→ modified", d.ModifyTime), labelIf("accessed", d.AccessTime)}
	},
	event.TypeSetXattr:    attributeName,
	event.TypeRemoveXattr: attributeName,
	event.TypeSplice: func(l *shownLog, _ pcommon.Map) []string {
		if l.Splice.Entry == "" && l.Splice.Exit == "" {
			return nil
		}
		return []string{"pipe", flags(l.Splice.Entry), "→", flags(l.Splice.Exit)}
	},
	event.TypeMount: func(l *shownLog, attrs pcommon.Map) []string {
		point := cmp.Or(l.Mount.Point, attribute(attrs, event.AttrSyscallDestPath))
		if attribute(attrs, event.AttrMountDetached) == "true" {
			point = "(attached nowhere)"
		}
		words := append([]string{cmp.Or(l.Mount.Source, attribute(attrs, event.AttrSyscallPath))}, arrow(point)...)
		return append(words, inBrackets(cmp.Or(l.Mount.FSType, attribute(attrs, event.AttrSyscallFSType))))
	},
	event.TypeExit: func(l *shownLog, _ pcommon.Map) []string {
		switch l.Exit.Cause {
		case "":
			return nil
		case event.CauseExited:
			return []string{l.Exit.Cause, strconv.FormatUint(uint64(l.Exit.Code), 10)}
		}
		return []string{l.Exit.Cause, event.SignalName(l.Exit.Code)}
	},
	event.TypeSetUID: func(l *shownLog, _ pcommon.Map) []string {
		c := &l.Process.Credentials.Destination
		return arrow(ids(id{"uid", c.UID, c.User}, id{"euid", c.EUID, c.EUser}, id{"fsuid", c.FSUID, c.FSUser}))
	},
	event.TypeSetGID: func(l *shownLog, _ pcommon.Map) []string {
		c := &l.Process.Credentials.Destination
		return arrow(ids(id{"gid", c.GID, c.Group}, id{"egid", c.EGID, c.EGroup}, id{"fsgid", c.FSGID, c.FSGroup}))
	},
	event.TypeCapset: func(l *shownLog, _ pcommon.Map) []string {
		c := &l.Process.Credentials.Destination
		if c.CapEffective == nil && c.CapPermitted == nil {
			return nil
		}
		return []string{"→ effective", few(c.CapEffective) + ",", "permitted", few(c.CapPermitted)}
	},
	event.TypeSignal: func(l *shownLog, _ pcommon.Map) []string {
		return append([]string{l.Signal.Type}, target(&l.Signal.Target, l.Signal.PID)...)
	},
	event.TypePTrace: func(l *shownLog, _ pcommon.Map) []string {
		return append([]string{l.PTrace.Request}, target(&l.PTrace.Tracee, 0)...)
	},
	event.TypeMMap: func(l *shownLog, _ pcommon.Map) []string {
		if l.MMap.Length == 0 {
			return nil
		}
		return []string{flags(l.MMap.Protection), flags(l.MMap.Flags), fmt.Sprintf("%d bytes", l.MMap.Length)}
	},
	event.TypeMProtect: func(l *shownLog, _ pcommon.Map) []string {
		m := &l.MProtect
		if m.Start == "" {
			return nil
		}
		return []string{m.Start + "-" + m.End, flags(m.Before), "→", flags(m.Required)}
	},
	event.TypeSyscalls: func(l *shownLog, _ pcommon.Map) []string { return []string{l.Anomaly.Syscall} },
	event.TypeBPF: func(l *shownLog, _ pcommon.Map) []string {
		p, m := &l.BPF.Program, &l.BPF.Map
		return []string{
			l.BPF.Cmd,
			labelIf("program", p.Name), inBrackets(strings.Join(slices.DeleteFunc([]string{p.Type, p.Attach}, isEmpty), ", ")),
			labelIf("map", m.Name), inBrackets(m.Type),
		}
	},
	event.TypeLoadModule:   module,
	event.TypeUnloadModule: module,
	event.TypeSELinux: func(l *shownLog, _ pcommon.Map) []string {
		s := &l.SELinux
		words := append([]string{s.Bool.Name}, arrow(cmp.Or(s.Bool.State, s.Enforce.Status))...)
		if s.Commit != nil {
			words = append(words, "commit")
		}
		return words
	},
	event.TypeConnect: func(l *shownLog, attrs pcommon.Map) []string {
		return []string{protocol(l, attrs), cmp.Or(l.Network.Destination.String(), attribute(attrs, event.AttrSocketPath))}
	},
	event.TypeAccept: func(l *shownLog, attrs pcommon.Map) []string {
		from := cmp.Or(l.Network.Source.String(), attribute(attrs, event.AttrSocketPath))
		return append([]string{protocol(l, attrs), labelIf("from", from)}, arrow(l.Network.Destination.String())...)
	},
	event.TypeBind: func(l *shownLog, attrs pcommon.Map) []string {
		return []string{protocol(l, attrs), cmp.Or(l.Bind.Addr.String(), attribute(attrs, event.AttrSocketPath))}
	},
	event.TypeDNS: func(l *shownLog, _ pcommon.Map) []string {
		q := &l.DNS.Question
		return []string{q.Type, q.Name, labelIf("at", l.Network.Destination.String())}
	},
}

func isEmpty(s string) bool { return s == "" }

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func labelIf(label, s string) string {
	if s == "" {
		return ""
	}
	return label + " " + s
}

func arrow(s string) []string {
	if s == "" {
		return nil
	}
	return []string{"→", s}
}

// flags makes the names of flags, of which a log has " | " between, one word.
func flags(s string) string { return cmp.Or(strings.ReplaceAll(s, " | ", "|"), "none") }

// maxNames bounds the names of a list in a block.
const maxNames = 8

func few(names []string) string {
	if over := len(names) - maxNames; over > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], "|"), over)
	}
	return cmp.Or(strings.Join(names, "|"), "none")
}

// id is a new id of a user or group, if there is one.
type id struct {
	kind  string
	value *int64
	name  string
}

// ids names each id; those like the first only if one is not.
func ids(all ...id) string {
	all = slices.DeleteFunc(all, func(x id) bool { return x.value == nil })
	if len(all) == 3 && *all[0].value == *all[1].value && *all[0].value == *all[2].value {
		all = all[:1]
	}
	var parts []string
	for _, x := range all {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %d %s", x.kind, *x.value, inBrackets(x.name))))
	}
	return strings.Join(parts, ", ")
}

func secondPath(l *shownLog, attrs pcommon.Map) []string {
	return arrow(cmp.Or(l.File.Destination.Path, attribute(attrs, event.AttrSyscallDestPath)))
}

func newMode(l *shownLog, _ pcommon.Map) []string {
	if mode := l.File.Destination.Mode; mode != nil {
		return []string{fmt.Sprintf("→ mode %04o", *mode&0o7777)}
	}
	return nil
}

func attributeName(l *shownLog, _ pcommon.Map) []string {
	return []string{labelIf("attribute", l.File.Destination.AttributeName)}
}

// target is the process that an event is about; of one that is not known there may be the pid.
func target(p *shownProcess, pid int64) []string {
	switch {
	case p.PID != 0 || p.Comm != "":
		return []string{"→", p.name(), p.Executable.Path}
	case pid != 0:
		return []string{"→", fmt.Sprintf("pid %d", pid)}
	}
	return nil
}

func module(l *shownLog, _ pcommon.Map) []string {
	m := &l.Module
	words := []string{labelIf("module", m.Name)}
	if m.FromMemory {
		words = append(words, "from memory")
	}
	if len(m.Args) > 0 {
		words = append(words, "with", few(m.Args))
		if m.ArgsTruncated {
			words = append(words, "…")
		}
	}
	return words
}

// protocol is the transport protocol of a socket, in small letters.
func protocol(l *shownLog, attrs pcommon.Map) string {
	return cmp.Or(strings.ToLower(strings.TrimPrefix(l.Network.L4Protocol, "IP_PROTO_")), attribute(attrs, event.AttrTransport))
}

// memfdPrefix begins the name of a file that is only in memory, see memfd_create(2). Such a file has no path.
const memfdPrefix = "memfd:"

// object is the file that an event of the type is about, as far as it is known.
func (l *shownLog) object(t event.Type, attrs pcommon.Map) string {
	given := ""
	if event.FileTypes.Has(t) {
		given = attribute(attrs, event.AttrSyscallPath)
	}
	switch f := &l.File; {
	case f.Path != "":
		return f.Path
	case strings.HasPrefix(f.Name, memfdPrefix):
		return f.Name + " (a file in memory)"
	case given != "":
		return given + " (as given)"
	case f.Name != "":
		return f.Name + " (path unknown)"
	}
	return ""
}

func (l *shownLog) what(attrs pcommon.Map) string {
	t, _ := event.TypeByName(l.Evt.Name)
	words := []string{l.Evt.Name, l.object(t, attrs)}
	if detail := details[t]; detail != nil {
		words = append(words, detail(l, attrs)...)
	}
	if l.Evt.Outcome != "" {
		words = append(words, "·", l.Evt.Outcome)
	}
	words = slices.DeleteFunc(words, isEmpty)
	for i := range words {
		words[i] = show(words[i])
	}
	return strings.Join(words, " ")
}

// shownAction is what an action of the rule came to.
type shownAction struct {
	Type      string `json:"type"`
	Signal    string `json:"signal"`
	Scope     string `json:"scope"`
	Status    string `json:"status"`
	Processes int64  `json:"processes"`
	Path      string `json:"path"`
	State     string `json:"state"`
	Error     string `json:"error"`
}

// statusNotes says what a status of an action means, where its name does not.
var statusNotes = map[string]string{
	event.ActionDisabled: "enforcement is not enabled",
	event.ActionExcluded: "enforcement leaves the program alone",
	event.ActionDisarmed: "the rule had too many targets",
}

// actions says what came of each action of the rule that is reported on.
func (l *shownLog) actions(attrs pcommon.Map) (lines []labelled) {
	const label = "action"
	for i := range l.Agent.Actions {
		lines = append(lines, labelled{label, l.action(&l.Agent.Actions[i])})
	}
	if lines == nil {
		for _, summary := range attributeList(attrs, event.AttrRuleActions) {
			lines = append(lines, labelled{label, summary})
		}
	}
	return lines
}

func (l *shownLog) action(a *shownAction) string {
	subject := strings.Join(slices.DeleteFunc([]string{a.Type, a.Signal, a.Scope, a.Path}, isEmpty), " ")
	result := []string{cmp.Or(a.Status, a.State), statusNotes[a.Status], a.Error}
	if a.Processes > 0 {
		result = append(result, plural(a.Processes, "process", "processes"))
	}
	if a.State != "" {
		result = append(result, strings.Join(l.hashesOf(a.Path), " "))
	}
	return subject + ": " + strings.Join(slices.DeleteFunc(result, isEmpty), ", ")
}

// hashesOf returns the hashes of the file with that path.
func (l *shownLog) hashesOf(path string) []string {
	for _, f := range []*shownFile{
		&l.File.shownFile, &l.File.Destination, &l.Process.Executable, &l.Signal.Target.Executable, &l.PTrace.Tracee.Executable,
	} {
		if f.Path == path && len(f.Hashes) > 0 {
			return f.Hashes
		}
	}
	return nil
}

func plural[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
