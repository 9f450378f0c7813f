// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

func TestExpandFIM(t *testing.T) {
	expr := `fim.write.file.path == "fim.write.file.x" && fim.write.file.uid == 0 # fim.write.file.y`
	got := map[event.Type]string{}
	for _, v := range expandFIM(expr) {
		got[v.event] = v.expression
	}
	assert.Len(t, got, 7)
	assert.Equal(t, "(chmod.file.path == \"fim.write.file.x\" && chmod.file.uid == 0 # fim.write.file.y\n)", got[event.TypeChmod])
	assert.Equal(t, "(rename.file.path == \"fim.write.file.x\" && rename.file.uid == 0 # fim.write.file.y\n) || "+
		"(rename.file.destination.path == \"fim.write.file.x\" && rename.file.destination.uid == 0 # fim.write.file.y\n)", got[event.TypeRename])
	assert.Equal(t, "((open.file.path == \"fim.write.file.x\" && open.file.uid == 0 # fim.write.file.y\n)) && "+
		"(open.flags & (O_CREAT|O_TRUNC|O_APPEND|O_RDWR|O_WRONLY) > 0)", got[event.TypeOpen])

	assert.Equal(t, []variant{{expression: `open.file.path == "fim.write.file."`}}, expandFIM(`open.file.path == "fim.write.file."`))
}

func TestFIMOrigin(t *testing.T) {
	expr := `process.uid == 1 && fim.write.file.path == "/a" && fim.write.file.nope == 3`
	for _, v := range expandFIM(expr) {
		for _, mark := range []string{`"/a"`, "nope", "== 3", "process.uid"} {
			at := strings.Index(v.expression, mark)
			require.GreaterOrEqual(t, at, 0)
			assert.Equal(t, strings.Index(expr, mark), v.origin(at), "%s %s", v.event, mark)
		}
		// Within what was replaced, the place is the start of the field.
		assert.Equal(t, strings.Index(expr, "fim."), v.origin(strings.Index(v.expression, ".file.path")), v.event)
		assert.Equal(t, len(expr), v.origin(len(v.expression)))
	}
}
