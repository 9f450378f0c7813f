// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package local does what rules call for on the host itself: it signals processes and hashes files.
//
// It does so only for events that a receiver of the same process made. The proof of that is a value in the context that the
// receiver hands its records on with (Origin), never a claim of a record: whoever can send records to a collector could claim
// any host, process and file.
package local
