// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package hostinfo

import "github.com/picketsec/picket/internal/event"

// Host is what the records of a machine have in common.
type Host = event.Host
