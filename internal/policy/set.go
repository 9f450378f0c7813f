// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"time"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// Rule is a rule as it is evaluated for one event type. It is immutable.
//
// A rule about fim.write.file.* is several of these, which share ID, Info and rate.
type Rule struct {
	ID      string
	Type    event.Type
	Program *secl.Program
	// Info is the part of a detection that is the same for all events. SuppressedCount and Unavailable are empty.
	Info event.RuleInfo
	// Every is the least time between two detections; 0 is the default rate.
	Every time.Duration
	// Silent rules make no detection. They are for their actions.
	Silent bool

	filter  *secl.Program // true for every event that Program may be true for, whatever is found out of it later
	need    event.Need    // of the program, the actions and the token
	effects []effect
	inert   []inertAction
	token   []*event.Field
}

// AppendToken appends what limiter_token names of an event: matches with different tokens have rates of their own.
func (r *Rule) AppendToken(dst []byte, e *event.Event) []byte {
	for _, f := range r.token {
		dst = append(appendField(dst, f, e), 0)
	}
	return dst
}

// Set is what Load made of policy files. It is immutable and safe for concurrent use. The values of its variables are shared with
// the set before it (Options.Previous), as far as both have a variable of that name, scope and type.
type Set struct {
	agentVersion string
	byType       [event.NumTypes][]*Rule
	need         [event.NumTypes]event.Need
	index        [event.NumTypes]*index // of the programs
	filter       [event.NumTypes]*index // of the filters
	keep         event.TypeSet          // types that the state of rules is about
	variables    *secl.Variables
	transient    []*secl.Variable // whose values end with their process
	ids          map[string]struct{}
	files        map[string]*file
	hash         [sha256.Size]byte
	env          *secl.Env        // for Explain; nil if it was not asked for
	expressions  map[*Rule]string // the same
}

func newSet(agentVersion string) *Set {
	return &Set{agentVersion: agentVersion, variables: secl.NewVariables(), ids: map[string]struct{}{}, files: map[string]*file{}}
}

// Rules are the rules about events of type t, in the order of evaluation. The caller must not change the slice.
func (s *Set) Rules(t event.Type) []*Rule {
	if t >= event.NumTypes {
		return nil
	}
	return s.byType[t]
}

// Need is what the rules about events of type t read.
func (s *Set) Need(t event.Type) event.Need {
	if t >= event.NumTypes {
		return 0
	}
	return s.need[t]
}

// Exited forgets what rules have noted of a process, by its 64-bit id, that has exited.
func (s *Set) Exited(host string, process uint64) {
	for _, v := range s.transient {
		v.Release(host, process, "")
	}
}

// Forget removes all that rules have noted of a host.
func (s *Set) Forget(host string) { s.variables.Forget(host) }

// Evicted is how many values of variables had to make room for others so far, with those of the sets before it.
func (s *Set) Evicted() uint64 { return s.variables.Evicted() }

// Len is the number of rule ids that are loaded.
func (s *Set) Len() int { return len(s.ids) }

// Has says whether a rule of that id is loaded.
func (s *Set) Has(id string) bool {
	_, ok := s.ids[id]
	return ok
}

// AgentVersion is the compatibility level that the set was loaded for.
func (s *Set) AgentVersion() string { return s.agentVersion }

// sameContent says whether two sets were made of the same files. Load is a function of these, the options and the machine.
func (s *Set) sameContent(o *Set) bool { return s != nil && o != nil && s.hash == o.hash }

func (s *Set) addFile(f *file) {
	s.files[f.path] = f
	// Lengths keep the boundaries between path and content, and between files.
	h := sha256.New()
	h.Write(s.hash[:])
	for _, part := range [][]byte{[]byte(f.path), f.src} {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	h.Sum(s.hash[:0])
}

func (s *Set) addRule(r *Rule) {
	s.ids[r.ID] = struct{}{}
	s.byType[r.Type] = append(s.byType[r.Type], r)
	s.need[r.Type] |= r.need
}

// filesOf finds the file of a path, or with dir those in it.
func (s *Set) filesOf(path string, dir bool) []*file {
	if s == nil {
		return nil
	}
	if f, ok := s.files[path]; ok {
		return []*file{f}
	}
	if !dir {
		return nil
	}
	var out []*file
	for _, p := range sortedKeys(s.files) {
		if filepath.Dir(p) == path {
			out = append(out, s.files[p])
		}
	}
	return out
}
