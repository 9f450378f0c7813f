// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/go-faster/jx"
)

// maxRootMembers is how many members a body has at most; the schema knows 29.
const maxRootMembers = 64

// ofLog are the members that a detection has beside those of the event.
var ofLog = []string{"title", "agent"}

// CheckBody says what is wrong with the body of an event record of which a detection is to be made, and which another process has
// sent: it must be one JSON object in UTF-8, whose members have different names, none of them title or agent. Rules read of a
// body no more than they need, and who gets the detection may read the rest of it, or the last of two members.
func CheckBody(body string) error {
	if !utf8.ValidString(body) {
		return errors.New("the body is not UTF-8")
	}
	if !jx.Valid(unsafe.Slice(unsafe.StringData(body), len(body))) {
		return errors.New("the body is no JSON")
	}
	s := scanner{text: body}
	if s.peek() != '{' {
		return errors.New("the body is no JSON object")
	}
	var seen [maxRootMembers]string
	n := 0
	for o := (jsonObject{}); s.next(&o); s.skip() {
		switch {
		case slices.Contains(ofLog, o.key):
			return fmt.Errorf("the body has the member %s, as a detection", o.key)
		case slices.Contains(seen[:n], o.key):
			return fmt.Errorf("the body has the member %q twice", o.key)
		case n == len(seen):
			return fmt.Errorf("the body has more than %d members", len(seen))
		}
		seen[n] = o.key
		n++
	}
	return s.err
}
