// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"cmp"
	"slices"
)

// What hash_state of a file may be, as in Datadog's agent.
const (
	HashDone                    = "Done"
	HashFileNotFound            = "FileNotFound"
	HashPathnameResolutionError = "PathnameResolutionError"
	HashFileTooBig              = "FileTooBig"
	HashFileEmpty               = "FileEmpty"
	HashFileOpenError           = "FileOpenError"
	HashWasRateLimited          = "HashWasRateLimited"
	HashFailed                  = "HashFailed"
)

// What the status of a kill action may be.
const (
	ActionPerformed = "performed"
	ActionError     = "error"         // ActionReport.Error says which
	ActionDisabled  = "disabled"      // enforcement is not switched on
	ActionExcluded  = "excluded"      // by the configuration
	ActionDisarmed  = "rule_disarmed" // the rule had too many targets
)

// ActionReport says what a kill or hash action of a rule came to. It is an item of the log's agent.rule_actions.
type ActionReport struct {
	Type  string // kill or hash
	Error string // empty: none

	// Of kill.
	Signal, Scope, Status        string
	Processes                    int  // how many were signalled
	Created, Detected, Performed Time // start of the process, the event, the signal

	// Of hash.
	Path, State string
}

func (r *ActionReport) append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = str(dst, "type", r.Type)
	dst = optStr(dst, "signal", r.Signal)
	dst = optStr(dst, "scope", r.Scope)
	dst = optStr(dst, "status", r.Status)
	dst = optNum(dst, "processes", uint64(max(r.Processes, 0)))
	dst = optStr(dst, "path", r.Path)
	dst = optStr(dst, "state", r.State)
	dst = optStr(dst, "error", r.Error)
	dst = optTime(dst, "created_at", r.Created)
	dst = optTime(dst, "detected_at", r.Detected)
	dst = optTime(dst, "killed_at", r.Performed)
	return endObject(dst)
}

// summary is the action in an attribute: "kill performed", "hash FileTooBig: the file has 20000000 bytes".
func (r *ActionReport) summary() string {
	s := r.Type + " " + cmp.Or(r.Status, r.State)
	if r.Error != "" {
		s += ": " + r.Error
	}
	return s
}

func actionSummaries(reports []ActionReport) []string {
	var out []string
	for i := range reports {
		out = append(out, reports[i].summary())
	}
	return out
}

// FileHashes are members to add to a file of an event's body.
type FileHashes struct {
	Member []string // where the file is, such as process, executable
	Hashes []string
	State  string
}

// insertion is a text to insert at a place.
type insertion struct {
	at   int
	text []byte
}

// withHashes returns the body with the hashes of its files. Files that it does not have are left out.
func withHashes(body string, hashes []FileHashes) string {
	var all []insertion
	for i := range hashes {
		h := &hashes[i]
		at, ok := memberAt(body, h.Member)
		if !ok {
			continue
		}
		text := optStr(optStrs(nil, "hashes", h.Hashes), "hash_state", h.State)
		if at < len(body) && body[at] == '}' {
			text = text[:max(len(text)-1, 0)] // the comma
		}
		all = append(all, insertion{at, text})
	}
	if len(all) == 0 {
		return body
	}
	slices.SortStableFunc(all, func(a, b insertion) int { return cmp.Compare(a.at, b.at) })
	var out []byte
	done := 0
	for _, x := range all {
		out = append(append(out, body[done:x.at]...), x.text...)
		done = x.at
	}
	return string(append(out, body[done:]...))
}

// memberAt is where the first member begins of the object that is at path in body, if there is one.
func memberAt(body string, path []string) (int, bool) {
	s := scanner{text: body}
	for o := (jsonObject{}); s.next(&o); {
		switch {
		case len(path) == 0 || o.key != path[0] || s.peek() != '{':
			s.skip()
		case len(path) == 1:
			return s.pos + 1, true
		default:
			path, o = path[1:], jsonObject{}
		}
	}
	return 0, false
}
