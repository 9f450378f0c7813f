// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"testing"

	"go.opentelemetry.io/collector/component"

	"github.com/picketsec/picket/internal/policy"
)

// testHost is a collector with one extension.
type testHost struct {
	id  component.ID
	ext component.Component
}

func (h *testHost) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{h.id: h.ext}
}

// testExtension has the rules of a store.
type testExtension struct{ *policy.Store }

func (testExtension) Start(context.Context, component.Host) error { return nil }
func (testExtension) Shutdown(context.Context) error              { return nil }

func newTestHost() component.Host {
	store := policy.NewStore([]string{"testdata/policies"}, policy.Options{}, policy.OnRuleErrorLoad)
	store.Load()
	return &testHost{id: component.MustNewID("security_policies"), ext: testExtension{store}}
}

// storeHost is a collector with the rules of a policy.
func storeHost(tb testing.TB, store *policy.Store) component.Host {
	tb.Helper()
	store.Load()
	return &testHost{id: component.MustNewID("security_policies"), ext: testExtension{store}}
}
