// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// diffContext is how many lines are shown around a change.
const diffContext = 3

// diffLine is a line of a difference.
type diffLine struct {
	sign byte // ' ' is in both texts, '-' in the old, '+' in the new
	text string
	a, b int // how many lines of each text are before it
}

// unifiedDiff returns the difference of two texts in the format of diff -u; nothing if they are equal.
func unifiedDiff(name string, before, after []byte) []byte {
	if bytes.Equal(before, after) {
		return nil
	}
	lines := diffLines(splitLines(before), splitLines(after))
	var out bytes.Buffer
	fmt.Fprintf(&out, "--- %s.orig\n+++ %s\n", name, name)
	for i := 0; i < len(lines); {
		if lines[i].sign == ' ' {
			i++
			continue
		}
		// A hunk ends where there are so many unchanged lines that the next has its own context.
		end, same := i, 0
		for ; end < len(lines) && same <= 2*diffContext; end++ {
			if same++; lines[end].sign != ' ' {
				same = 0
			}
		}
		writeHunk(&out, lines[max(0, i-diffContext):end-max(0, same-diffContext)])
		i = end
	}
	return out.Bytes()
}

func writeHunk(out *bytes.Buffer, lines []diffLine) {
	inA, inB := 0, 0
	for _, l := range lines {
		if l.sign != '+' {
			inA++
		}
		if l.sign != '-' {
			inB++
		}
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n", lineRange(lines[0].a, inA), lineRange(lines[0].b, inB))
	for _, l := range lines {
		out.WriteByte(l.sign)
		out.WriteString(l.text)
		if !strings.HasSuffix(l.text, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// lineRange is the place of n lines that come after the first start ones. Of none it is the line before.
func lineRange(start, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", start)
	case 1:
		return fmt.Sprint(start + 1)
	default:
		return fmt.Sprintf("%d,%d", start+1, n)
	}
}

func splitLines(text []byte) []string {
	lines := strings.SplitAfter(string(text), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	return lines
}

func diffLines(a, b []string) []diffLine {
	var out []diffLine
	matched := matchLines(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && matched[i] == j:
			out = append(out, diffLine{' ', a[i], i, j})
			i, j = i+1, j+1
		case i < len(a) && matched[i] < 0:
			out = append(out, diffLine{'-', a[i], i, j})
			i++
		default:
			out = append(out, diffLine{'+', b[j], i, j})
			j++
		}
	}
	return out
}

// matchLines says of every line of a which line of b it is, or -1; the numbers rise. It holds on to the lines that each text has
// once, and goes on from these as far as the texts are the same: that is not always the smallest difference, but its time
// grows little more than the texts do.
func matchLines(a, b []string) []int {
	matched := make([]int, len(a))
	for i := range matched {
		matched[i] = -1
	}
	anchors := append([][2]int{{0, 0}}, commonLines(a, b)...)
	anchors = append(anchors, [2]int{len(a), len(b)})
	endA, endB := 0, 0 // of what is matched
	for _, anchor := range anchors {
		i, j := anchor[0], anchor[1]
		if i < endA || j < endB {
			continue // in the run before
		}
		for x, y := i-1, j-1; x >= endA && y >= endB && a[x] == b[y]; x, y = x-1, y-1 {
			matched[x] = y
		}
		for ; i < len(a) && j < len(b) && a[i] == b[j]; i, j = i+1, j+1 {
			matched[i] = j
		}
		endA, endB = i, j
	}
	return matched
}

// commonLines are the places in a and b of lines that each has once: the longest sequence of them that is in both.
func commonLines(a, b []string) [][2]int {
	type places struct{ inA, inB, b int }
	seen := make(map[string]places, len(a))
	for _, line := range a {
		p := seen[line]
		p.inA++
		seen[line] = p
	}
	for j, line := range b {
		p := seen[line]
		p.inB, p.b = p.inB+1, j
		seen[line] = p
	}
	var pairs [][2]int
	var ends, previous []int // ends[k]: of the sequences of k+1 pairs, the last pair of the one that ends first in b
	for i, line := range a {
		p := seen[line]
		if p.inA != 1 || p.inB != 1 {
			continue
		}
		k := sort.Search(len(ends), func(k int) bool { return pairs[ends[k]][1] > p.b })
		if k == len(ends) {
			ends = append(ends, 0)
		}
		before := -1
		if k > 0 {
			before = ends[k-1]
		}
		ends[k] = len(pairs)
		pairs, previous = append(pairs, [2]int{i, p.b}), append(previous, before)
	}
	if len(ends) == 0 {
		return nil
	}
	var out [][2]int
	for n := ends[len(ends)-1]; n >= 0; n = previous[n] {
		out = append(out, pairs[n])
	}
	slices.Reverse(out)
	return out
}
