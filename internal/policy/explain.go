// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// dropSource forgets what only Explain needs.
func (s *Set) dropSource() { s.env, s.expressions = nil, nil }

// Explain says how the expression of a rule comes to its result for the event of c. The set was loaded with KeepSource; it is
// for one goroutine at a time then.
func (s *Set) Explain(id string, c *secl.Context) (*secl.Explanation, error) {
	if s.env == nil {
		return nil, errors.New("the rules were loaded without their source")
	}
	var other *Rule
	for t := range event.NumTypes {
		for _, r := range s.byType[t] {
			switch {
			case r.ID != id:
			case t == c.Event.Type:
				return secl.Explain(s.expressions[r], s.env, c) //nolint:wrapcheck // it compiled before
			case other == nil:
				other = r
			}
		}
	}
	if other != nil {
		return secl.Explain(s.expressions[other], s.env, c) //nolint:wrapcheck // it compiled before
	}
	return nil, fmt.Errorf("there is no rule %q%s", id, DidYouMean(id, s.ids))
}
