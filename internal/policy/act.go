// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// The kinds of actions that are executed outside of the rules.
const (
	ActionLog  = "log"
	ActionHash = "hash"
	ActionKill = "kill"
)

// Action is an action that reaches out of the rules: to the collector's log, to a file or to processes of the host. The
// member that Kind names is set.
type Action struct {
	Kind string
	Log  *LogAction
	Hash *HashAction
	Kill *KillAction
}

// LogAction writes a line to the collector's log.
type LogAction struct {
	Level   string // debug, info, warning or error
	message []messagePart
}

// messagePart is a piece of a message: text, or what a reference gives.
type messagePart struct {
	text  string
	value *secl.Program
}

// maxMessage bounds a line of the log, in bytes.
const maxMessage = 4 << 10

// Message makes the text for the event of c.
func (a *LogAction) Message(c *secl.Context) string {
	var b strings.Builder
	for _, p := range a.message {
		s := p.text
		if p.value != nil {
			s = p.value.Eval(c).String
		}
		if room := maxMessage - b.Len(); len(s) > room {
			b.WriteString(strings.ToValidUTF8(s[:room], ""))
			break
		}
		b.WriteString(s)
	}
	return event.Escape(b.String())
}

// HashAction hashes a file of the event.
type HashAction struct {
	Field   string                         // such as exec.file
	MaxSize int64                          // bytes; larger files are not hashed
	File    func(*event.Event) *event.File // nil if the event has no such file
	Members [][]string                     // where the event's JSON has it
	// Executable says that it is what the acting process runs.
	Executable bool
}

// DefaultMaxHashSize is the size above which files are not hashed, if the action does not say.
const DefaultMaxHashSize = 10 << 20

// KillAction sends a signal to the process of the event, or to all of its container or cgroup.
type KillAction struct {
	Signal     string // SIGKILL
	Number     int
	Scope      string // process, container or cgroup
	Containers bool   // more than a few containers in a short time disarm the rule
	Programs   bool   // the same for executables
}

// The scopes of KillAction.
const (
	KillProcess   = "process"
	KillContainer = "container"
	KillCgroup    = "cgroup"
)

// What the readers of actions leave to the compiler.
type (
	logAction struct {
		level   text
		message text
	}
	hashAction struct {
		field   text
		maxSize int
	}
	killAction struct {
		signal, scope                       text
		noContainerDisarm, noProgramsDisarm bool
	}
)

var logKeys = map[string]keyReader[logAction]{
	"level":   func(d *reader, n *node, a *logAction) { a.level = d.text(n, "log.level") },
	"message": func(d *reader, n *node, a *logAction) { a.message = d.text(n, "log.message") },
}

// logLevels has the spellings of levels.
var logLevels = map[string]string{
	"debug": "debug", "info": "info", "warning": "warning", "warn": "warning", "error": "error",
}

func readLog(d *reader, n *node, a *action) {
	a.log = &logAction{}
	readMapping(d, n, a.log, logKeys)
	switch level := a.log.level; {
	case level.node == nil:
		d.errorf(a.pos, "action log needs level")
	case logLevels[strings.ToLower(level.value)] == "":
		d.errorf(level.node.pos, "log.level is %q%s", level.value, didYouMean(level.value, logLevels))
	}
}

var hashKeys = map[string]keyReader[hashAction]{
	"field": func(d *reader, n *node, a *hashAction) { a.field = d.text(n, "hash.field") },
	"max_file_size": func(d *reader, n *node, a *hashAction) {
		if a.maxSize = d.integer(n, "hash.max_file_size"); a.maxSize <= 0 {
			d.errorf(n.pos, "hash.max_file_size must be positive")
		}
	},
}

func readHash(d *reader, n *node, a *action) {
	a.hash = &hashAction{maxSize: DefaultMaxHashSize}
	readMapping(d, n, a.hash, hashKeys)
}

var killKeys = map[string]keyReader[killAction]{
	"signal": func(d *reader, n *node, a *killAction) { a.signal = d.text(n, "kill.signal") },
	"scope":  func(d *reader, n *node, a *killAction) { a.scope = d.text(n, "kill.scope") },
	"disable_container_disarmer": func(d *reader, n *node, a *killAction) {
		a.noContainerDisarm = d.boolean(n, "kill.disable_container_disarmer")
	},
	"disable_executable_disarmer": func(d *reader, n *node, a *killAction) {
		a.noProgramsDisarm = d.boolean(n, "kill.disable_executable_disarmer")
	},
}

var killScopes = map[string]bool{KillProcess: true, KillContainer: true, KillCgroup: true}

func readKill(d *reader, n *node, a *action) {
	a.kill = &killAction{}
	readMapping(d, n, a.kill, killKeys)
	switch signal := a.kill.signal; {
	case signal.node == nil:
		d.errorf(a.pos, "action kill needs signal")
	case signalNumber(signal.value) == 0:
		d.errorf(signal.node.pos, "kill.signal %q is no signal, such as SIGKILL or SIGTERM", signal.value)
	}
	if s := a.kill.scope; s.node != nil && !killScopes[s.value] {
		d.errorf(s.node.pos, "kill.scope is %q%s", s.value, didYouMean(s.value, killScopes))
	}
}

// signalNumber is 0 if there is no such signal.
func signalNumber(name string) int {
	k, ok := event.Constants[name]
	if !ok || !strings.HasPrefix(name, "SIG") || k.Int < 1 || k.Int > 64 {
		return 0
	}
	return int(k.Int)
}

// What a record must have for an action to be executed.
const (
	killNeed = event.NeedProcess | event.NeedExecutable | event.NeedContainer | event.NeedFacts
	hashNeed = event.NeedProcess | event.NeedExecutable | event.NeedParent | event.NeedFile | event.NeedFacts
)

// compileAction makes an action that others execute. It is nil after a mistake, which has been reported.
func (m *mergedRule) compileAction(env *secl.Env, r *Rule, a *action) *Action {
	switch {
	case a.log != nil:
		return m.compileLog(env, r, a.log)
	case a.hash != nil:
		return m.compileHash(r, a)
	}
	scope := a.kill.scope.value
	if scope == "" {
		scope = KillProcess
	}
	r.need |= killNeed
	return &Action{Kind: ActionKill, Kill: &KillAction{
		Signal: a.kill.signal.value, Number: signalNumber(a.kill.signal.value), Scope: scope,
		Containers: !a.kill.noContainerDisarm, Programs: !a.kill.noProgramsDisarm,
	}}
}

// messageReference is a reference in a message, as string literals of the language have them.
var messageReference = regexp.MustCompile(`[$%]\{[A-Za-z_][A-Za-z0-9_.\[\]]*\}`)

func (m *mergedRule) compileLog(env *secl.Env, r *Rule, a *logAction) *Action {
	out := &LogAction{Level: logLevels[strings.ToLower(a.level.value)]}
	message, at := written(a.message.value, r.Type), 0
	for _, span := range messageReference.FindAllStringIndex(message, -1) {
		program, err := secl.CompileValue(`"`+message[span[0]:span[1]]+`"`, env)
		if err == nil && program.EventType() != event.TypeAny && program.EventType() != r.Type {
			err = fmt.Errorf("%s is about %s events, and the rule about %s", message[span[0]:span[1]], program.EventType(), r.Type)
		}
		if err != nil {
			text, _, _ := describe(err)
			m.failAt(a.message.node, "log.message: "+text)
			return nil
		}
		r.need |= program.Need()
		out.message = append(out.message, messagePart{text: message[at:span[0]]}, messagePart{value: program})
		at = span[1]
	}
	out.message = append(out.message, messagePart{text: message[at:]})
	return &Action{Kind: ActionLog, Log: out}
}

// defaultHashField is the file that is hashed if the action names none.
var defaultHashField = map[event.Type]string{event.TypeExec: "exec.file", event.TypeOpen: "open.file"}

// hashFile is a file that can be hashed.
type hashFile struct {
	file       func(*event.Event) *event.File
	members    [][]string
	executable bool
}

// hashFiles has them by the field without the type of event.
var hashFiles = map[string]hashFile{
	"file": {members: [][]string{{"file"}}, file: func(e *event.Event) *event.File {
		if e.File == nil {
			return nil
		}
		return &e.File.File
	}},
	"file.destination": {members: [][]string{{"file", "destination"}}, file: func(e *event.Event) *event.File {
		if e.File == nil {
			return nil
		}
		return e.File.Destination
	}},
	"process.file":             {file: func(e *event.Event) *event.File { return executableOf(e.Process.Process) }, members: [][]string{{"process", "executable"}}, executable: true},
	"process.interpreter.file": {file: func(e *event.Event) *event.File { return interpreterOf(e.Process.Process) }, members: [][]string{{"process", "interpreter"}}},
	"process.parent.file":      {file: func(e *event.Event) *event.File { return executableOf(e.Process.Parent) }, members: [][]string{{"process", "parent", "executable"}}},
}

// ofProgram has the fields of exec and exit events that are those of the process.
var ofProgram = map[string]string{
	"exec.file": "process.file", "exec.interpreter.file": "process.interpreter.file",
	"exit.file": "process.file", "exit.interpreter.file": "process.interpreter.file",
}

func executableOf(p *event.Process) *event.File {
	if p == nil {
		return nil
	}
	return p.Executable
}

func interpreterOf(p *event.Process) *event.File {
	if p == nil {
		return nil
	}
	return p.Interpreter
}

func (m *mergedRule) compileHash(r *Rule, a *action) *Action {
	field := strings.TrimSuffix(written(a.hash.field.value+".", r.Type), ".")
	if field == "" {
		field = defaultHashField[r.Type]
	}
	if field == "" {
		m.entity.fail(m.file, a.pos, fmt.Sprintf("action hash needs field: only exec and open events have a file that is hashed by default, and the rule is about %s", r.Type))
		return nil
	}
	name, program := ofProgram[field]
	if !program {
		name = strings.TrimPrefix(field, r.Type.String()+".")
	}
	row, ok := hashFiles[name]
	_, err := fieldOf(field+".path", r.Type)
	if err == nil && !ok {
		err = errors.New("it is not a file of the event, of its process or of the parent")
	}
	if err != nil {
		m.failAt(a.hash.field.node, "hash.field: "+err.Error())
		return nil
	}
	members := row.members
	if row.executable && program {
		members = append([][]string{{"file"}}, members...) // exec and exit events show it twice
	}
	r.need |= hashNeed
	return &Action{Kind: ActionHash, Hash: &HashAction{Field: field, MaxSize: int64(a.hash.maxSize), File: row.file, Members: members, Executable: row.executable}}
}
