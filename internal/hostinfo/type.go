// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package hostinfo

// Host is what the records of a machine have in common.
type Host struct {
	ID, IDSource, Name, Arch, OSType, OSName, OSVersion, KernelRelease, BootID string
}
