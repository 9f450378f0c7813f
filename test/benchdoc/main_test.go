// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const figures = `goos: linux
BenchmarkMatch/index/rules=10-2         	 8000000	       130.4 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/index/rules=10-2         	 8000000	       990.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/index/rules=10-2         	 8000000	       144.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/filter/rules=10-2        	 8000000	       160.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/one_by_one/rules=10-2    	 8000000	      1363000 ns/op	       0 B/op	       0 allocs/op
BenchmarkRules/rules=1000/picket-2      	 8000000	       136.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkRules/rules=1000/picket_processor,_from_the_body-2 	 1	 1549 ns/op	 1 B/op	 1 allocs/op
BenchmarkRules/rules=1000/ottl_filterprocessor-2 	 1	 213000 ns/op	 1 B/op	 1672 allocs/op
BenchmarkRules/rules=1000/cel-2 	 1	 14300 ns/op	 1 B/op	 10 allocs/op
BenchmarkLimiter-2 	 1	 14300 ns/op	 1 B/op	 10 allocs/op
`

const document = "a\n<!-- figures: rules -->\nold\n<!-- end figures -->\nb\n<!-- figures: languages -->\n<!-- end figures -->\n"

func TestRewrite(t *testing.T) {
	all, err := read(strings.NewReader(figures))
	require.NoError(t, err)
	got, err := rewrite(document, all)
	require.NoError(t, err)
	assert.Equal(t, `a
<!-- figures: rules -->

| rules | index | filter of the receiver | one rule after the other |
|---|---|---|---|
| 10 | 0.14 µs | 0.16 µs | 1,363 µs |

<!-- end figures -->
b
<!-- figures: languages -->

| rules | Picket | Picket's processor, event read from a record's Body | OTTL, filterprocessor | CEL |
|---|---|---|---|---|
| 1,000 | 0.14 µs | 1.5 µs, 1 allocation | 213 µs, 1,672 allocations | 14 µs, 10 allocations |

<!-- end figures -->
`, got)
	again, err := rewrite(got, all)
	require.NoError(t, err)
	assert.Equal(t, got, again)

	_, err = rewrite("no marks", all)
	require.EqualError(t, err, `the document has no marks for the table "rules"`)
	delete(all["Rules/cel"], 1000)
	_, err = rewrite(document, all)
	require.EqualError(t, err, "no run of the benchmark Rules/cel with 1000 rules")
	_, err = rewrite(document, nil)
	require.EqualError(t, err, "no run of the benchmark Match/index")
}

// TestDocument: the project's own document has the marks.
func TestDocument(t *testing.T) {
	all, err := read(strings.NewReader(figures))
	require.NoError(t, err)
	doc, err := os.ReadFile("../../docs/performance.md")
	require.NoError(t, err)
	_, err = rewrite(string(doc), all)
	require.NoError(t, err)
}
