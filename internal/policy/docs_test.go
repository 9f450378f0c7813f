// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/secl"
)

// TestRulesDocument loads what docs/rules.md shows, and compares its limits with the code.
func TestRulesDocument(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "rules.md"))
	require.NoError(t, err)
	doc := string(data)

	blocks := regexp.MustCompile("(?ms)^```(yaml|secl)\n(.*?)^```$").FindAllStringSubmatch(doc, -1)
	require.Len(t, blocks, 3)
	for _, block := range blocks {
		if block[1] == "yaml" {
			_, report := loadDir(t, map[string]string{"doc.policy": block[2]})
			require.Empty(t, report.Problems(), block[2])
			for _, r := range report.Policies[0].Rules {
				assert.Empty(t, r.Message, r.ID)
			}
			continue
		}
		for line := range strings.Lines(block[2]) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			_, err := secl.Compile(strings.TrimSpace(line), &secl.Env{Variables: secl.NewVariables(), RequireEvent: true})
			require.NoError(t, err, line)
		}
	}

	limits := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| (.*) \| (\d+) \|$`).FindAllStringSubmatch(doc, -1) {
		limits[row[1]], err = strconv.Atoi(row[2])
		require.NoError(t, err)
	}
	assert.Equal(t, map[string]int{
		"bytes of a policy file": maxFileSize, "values and keys in a file": maxNodes, "nesting in a file": maxDepth, "files": maxFiles,
		"rules of a file": maxRules, "macros of a file": maxMacros, "values of a macro": maxMacroValues,
		"bytes of an expression": maxExpression, "nesting in an expression": secl.MaxDepth, "values of an array": secl.MaxArrayMembers,
		"bytes of a regular expression": secl.MaxRegexpBytes, "operands of an expression with its macros": secl.MaxNodes,
		"operands of all macros and expressions": maxOperands,
		"letters of iterators in an expression":  secl.MaxIterators, "tags of a rule": maxTags, "actions of a rule": maxActions,
		"filters of a rule or macro": maxFilters, "fields of a `limiter_token`": maxLimiterToken,
		"different tokens of a rule and host at a time": maxTokens, "elements of a list variable (`size`)": secl.MaxListSize,
		"processes, containers or cgroups with a value of a variable": secl.MaxVariableCells,
		"bytes of a string in a variable":                             secl.MaxStringBytes,
		"bytes that a list in a variable takes, about":                secl.MaxListBytes,
		"bytes that all values of a variable take, about":             secl.MaxVariableBytes,
		"bytes of a message of `log`":                                 maxMessage,
	}, limits)
}
