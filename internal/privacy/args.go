// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package privacy decides what of a process's arguments and environment may be recorded.
package privacy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const (
	// MaxArgs is how many arguments are kept, without argv[0], and how many environment variables.
	MaxArgs = 256
	// MaxArgLen is how many bytes of one argument are kept, the truncation mark included.
	MaxArgLen = 256

	// mark ends what was cut short.
	mark = "..."
)

// ParseArgs splits an argv as the kernel has it: each argument ends with a NUL. truncated says that data is not all of it;
// then the last argument gets a mark if it has no end. An argument of more than MaxArgLen bytes is cut before a rune, and
// ends with "..."; an argument that is too long, too many arguments, and truncated data make argsTruncated true.
// Empty arguments are arguments. Strings do not alias data.
func ParseArgs(data []byte, truncated bool) (argv0 string, args []string, argsTruncated bool) {
	argsTruncated = truncated
	for i := 0; len(data) > 0; i++ {
		if i > MaxArgs {
			return argv0, args, true
		}
		arg, rest, ended := bytes.Cut(data, []byte{0})
		if i == 1 {
			args = make([]string, 0, min(bytes.Count(data, []byte{0})+1, MaxArgs))
		}
		data = rest
		s, cut := clip(arg, truncated && !ended)
		argsTruncated = argsTruncated || cut
		if i == 0 {
			argv0 = s
			continue
		}
		args = append(args, s)
	}
	return argv0, args, argsTruncated
}

// clip copies b, cut to MaxArgLen bytes. unfinished says that b had more.
func clip(b []byte, unfinished bool) (s string, cut bool) {
	if len(b) <= MaxArgLen && !unfinished {
		return string(b), false
	}
	end := min(len(b), MaxArgLen-len(mark))
	end = runeStart(b, end)
	var sb strings.Builder
	sb.Grow(end + len(mark))
	sb.Write(b[:end])
	sb.WriteString(mark)
	return sb.String(), true
}

// runeStart returns the largest length up to end that does not cut a rune of b in two. b may end within a rune itself.
// Bytes that are no UTF-8 are runes of their own.
func runeStart(b []byte, end int) int {
	for back := 1; back < utf8.UTFMax && back <= end; back++ {
		i := end - back
		if !utf8.RuneStart(b[i]) {
			continue
		}
		if !utf8.FullRune(b[i:end]) { // begins a rune that goes on behind end, as far as can be seen
			return i
		}
		break
	}
	return end
}
