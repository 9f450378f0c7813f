// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"

	"github.com/picketsec/picket/internal/event"
)

// fimPrefix begins the fields that stand for a file in every event that changes files.
const fimPrefix = "fim.write.file."

// fimEvents are what a rule about fim.write.file.* becomes: for each type one expression, which is true if one of prefixes
// put in the place of fimPrefix makes the rule true.
var fimEvents = []struct {
	event    event.Type
	prefixes []string
	and      string // what else must hold
}{
	{event.TypeOpen, []string{"open.file."}, "open.flags & (O_CREAT|O_TRUNC|O_APPEND|O_RDWR|O_WRONLY) > 0"},
	{event.TypeChmod, []string{"chmod.file."}, ""},
	{event.TypeChown, []string{"chown.file."}, ""},
	{event.TypeLink, []string{"link.file."}, ""},
	{event.TypeRename, []string{"rename.file.", "rename.file.destination."}, ""},
	{event.TypeUnlink, []string{"unlink.file."}, ""},
	{event.TypeUtimes, []string{"utimes.file."}, ""},
}

// written puts the field of an event of type t in the place of each fim.write.file.* in an action or token. Of a rename that is
// the file as it is called from then on.
func written(text string, t event.Type) string {
	if !strings.Contains(text, fimPrefix) {
		return text
	}
	for _, fe := range fimEvents {
		if fe.event == t {
			return strings.ReplaceAll(text, fimPrefix, fe.prefixes[len(fe.prefixes)-1])
		}
	}
	return text
}

// variant is an expression to compile, and how it came from the rule's own.
type variant struct {
	expression string
	event      event.Type // TypeAny: the expression's own
	// rewritten: positions in expression are found in the rule's by origin.
	rewritten bool
	offset    int // of the first alternative in expression
	growth    int // what each replacement added, in bytes
	base      string
}

// expandFIM makes the variants of an expression: itself, unless it is about fim.write.file.*.
func expandFIM(expression string) []variant {
	if !mentions(expression, fimPrefix) {
		return []variant{{expression: expression}}
	}
	var out []variant
	for _, fe := range fimEvents {
		v := variant{event: fe.event, rewritten: true, offset: 1, growth: len(fe.prefixes[0]) - len(fimPrefix), base: expression}
		var alternatives []string
		for _, prefix := range fe.prefixes {
			// A line break ends a comment that the expression may end with.
			alternatives = append(alternatives, "("+replaceIdent(expression, fimPrefix, prefix)+"\n)")
		}
		v.expression = strings.Join(alternatives, " || ")
		if fe.and != "" {
			v.expression = "(" + v.expression + ") && (" + fe.and + ")"
			v.offset++
		}
		out = append(out, v)
	}
	return out
}

// origin gives the offset in the rule's expression of an offset in the variant's. What is only in the variant is at the end.
func (v *variant) origin(offset int) int {
	if !v.rewritten {
		return offset
	}
	offset = max(offset-v.offset, 0)
	shift := 0
	for _, at := range identOffsets(v.base, fimPrefix) {
		switch replaced := at + shift; {
		case offset <= replaced:
			return min(offset-shift, len(v.base))
		case offset < replaced+len(fimPrefix)+v.growth:
			return at
		}
		shift += v.growth
	}
	return min(offset-shift, len(v.base))
}

func mentions(expression, prefix string) bool { return len(identOffsets(expression, prefix)) > 0 }

// identOffsets finds the identifiers that begin with prefix, outside of strings and comments.
func identOffsets(expression, prefix string) []int {
	var out []int
	for i := 0; i < len(expression); {
		c := expression[i]
		switch {
		case c == '"':
			i++
			for i < len(expression) && expression[i] != '"' {
				if expression[i] == '\\' {
					i++
				}
				i++
			}
			i++
		case c == '#' || strings.HasPrefix(expression[i:], "//"):
			nl := strings.IndexByte(expression[i:], '\n')
			if nl < 0 {
				return out
			}
			i += nl
		case isIdent(c):
			if strings.HasPrefix(expression[i:], prefix) {
				out = append(out, i)
			}
			for i < len(expression) && isIdent(expression[i]) {
				i++
			}
		default:
			i++
		}
	}
	return out
}

func isIdent(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func replaceIdent(expression, prefix, replacement string) string {
	var b strings.Builder
	last := 0
	for _, at := range identOffsets(expression, prefix) {
		b.WriteString(expression[last:at])
		b.WriteString(replacement)
		last = at + len(prefix)
	}
	b.WriteString(expression[last:])
	return b.String()
}
