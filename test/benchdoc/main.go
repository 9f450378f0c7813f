// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Command benchdoc puts the figures of benchmarks into a document: it reads what `go test -bench` prints on standard input, takes the
// median of each benchmark's runs, and rewrites the tables between the marks `<!-- figures: NAME -->` and `<!-- end figures -->`.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// table is one of the document: a row for each number of rules, a column for each variant of the benchmark.
type table struct {
	name    string
	columns []column
}

type column struct{ bench, title string }

var tables = []table{
	{"rules", []column{
		{"Match/index", "index"}, {"Match/filter", "filter of the receiver"}, {"Match/one by one", "one rule after the other"},
	}},
	{"languages", []column{
		{"Rules/picket", "Picket"},
		{"Rules/picket processor, from the body", "Picket's processor, event read from a record's Body"},
		{"Rules/ottl filterprocessor", "OTTL, filterprocessor"},
		{"Rules/cel", "CEL"},
	}},
}

// run is one line of output.
type run struct {
	ns     float64
	allocs int
}

var (
	line      = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op(?:.*\s(\d+) allocs/op)?`)
	ruleCount = regexp.MustCompile(`/rules=(\d+)`)
)

// read gathers the runs by benchmark, without its number of rules, and that number.
func read(r io.Reader) (map[string]map[int][]run, error) {
	all := map[string]map[int][]run{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		count := ruleCount.FindStringSubmatch(m[1])
		if count == nil {
			continue
		}
		rules, err := strconv.Atoi(count[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m[1], err)
		}
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m[1], err)
		}
		allocs := 0
		if m[3] != "" {
			if allocs, err = strconv.Atoi(m[3]); err != nil {
				return nil, fmt.Errorf("%s: %w", m[1], err)
			}
		}
		// go test writes blanks in names as underscores.
		name := strings.ReplaceAll(ruleCount.ReplaceAllString(m[1], ""), "_", " ")
		if all[name] == nil {
			all[name] = map[int][]run{}
		}
		all[name][rules] = append(all[name][rules], run{ns, allocs})
	}
	return all, lines.Err()
}

// cell is the median of the runs, with two significant digits or, from 10 µs on, in whole microseconds.
func cell(runs []run) string {
	slices.SortFunc(runs, func(a, b run) int { return int(a.ns - b.ns) })
	median := runs[len(runs)/2]
	us := median.ns / 1000
	text := strconv.FormatFloat(us, 'f', 2, 64)
	switch {
	case us >= 10:
		text = thousands(int(us + 0.5))
	case us >= 1:
		text = strconv.FormatFloat(us, 'f', 1, 64)
	}
	text += " µs"
	switch {
	case median.allocs == 1:
		text += ", 1 allocation"
	case median.allocs > 1:
		text += ", " + thousands(median.allocs) + " allocations"
	}
	return text
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// markdown is the table of the runs; an error names a benchmark that is missing.
func (t *table) markdown(all map[string]map[int][]run) (string, error) {
	var b strings.Builder
	b.WriteString("| rules |")
	for _, c := range t.columns {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(t.columns)+1) + "\n")
	var counts []int
	for n := range all[t.columns[0].bench] {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	if len(counts) == 0 {
		return "", fmt.Errorf("no run of the benchmark %s", t.columns[0].bench)
	}
	for _, n := range counts {
		b.WriteString("| " + thousands(n) + " |")
		for _, c := range t.columns {
			runs := all[c.bench][n]
			if runs == nil {
				return "", fmt.Errorf("no run of the benchmark %s with %d rules", c.bench, n)
			}
			b.WriteString(" " + cell(runs) + " |")
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

const end = "<!-- end figures -->"

// rewrite puts the tables into the document.
func rewrite(doc string, all map[string]map[int][]run) (string, error) {
	for i := range tables {
		text, err := tables[i].markdown(all)
		if err != nil {
			return "", err
		}
		begin := "<!-- figures: " + tables[i].name + " -->\n"
		before, rest, ok := strings.Cut(doc, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			return "", fmt.Errorf("the document has no marks for the table %q", tables[i].name)
		}
		doc = before + begin + "\n" + text + "\n" + end + after
	}
	return doc, nil
}

func main() {
	file := flag.String("file", "docs/performance.md", "the document")
	flag.Parse()
	if err := replace(*file, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "benchdoc:", err)
		os.Exit(1)
	}
}

func replace(file string, figures io.Reader) error {
	all, err := read(figures)
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	text, err := rewrite(string(doc), all)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644) //nolint:gosec,wrapcheck // a document
}
