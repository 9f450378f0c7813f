// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"

	"github.com/picketsec/picket/internal/policy"
)

// decision is what a rate limit said of a match.
type decision struct {
	host       string
	rule       *policy.Rule
	token      string
	suppressed int64
	allowed    bool
}

// decisions are those of a batch. They are in the context of its way through the processor.
type decisions struct{ list []decision }

type decisionsKey struct{}

var decisionsPool = sync.Pool{New: func() any { return new(decisions) }}

// maxKeptDecisions keeps a single large batch from holding memory for ever.
const maxKeptDecisions = 4096

// redeliverable is the processor with its way back: if the components behind it refuse a batch, whoever sent it sends it again, and
// its detections must not meet rate limits that they have used up themselves.
type redeliverable struct {
	processor.Logs
	rules *rules
}

// ConsumeLogs implements consumer.Logs.
func (r *redeliverable) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	d := decisionsPool.Get().(*decisions)
	err := r.Logs.ConsumeLogs(context.WithValue(ctx, decisionsKey{}, d), ld)
	if err != nil && !consumererror.IsPermanent(err) {
		for _, x := range slices.Backward(d.list) { // what was last is undone first
			r.rules.limiter.Undo(x.host, x.rule, []byte(x.token), x.suppressed, x.allowed)
		}
	}
	if cap(d.list) <= maxKeptDecisions {
		clear(d.list)
		d.list = d.list[:0]
		decisionsPool.Put(d)
	}
	return err //nolint:wrapcheck // it is not ours
}
