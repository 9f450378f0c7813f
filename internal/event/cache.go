// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

type processCache struct{}
