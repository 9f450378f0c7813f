// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

// What pk_mix in bpf/lib/task.h multiplies by, and the inverses modulo 2^64.
const (
	mixFirst, mixSecond            = 0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53
	unmixFirst, unmixSecond uint64 = 0x4f74430c22a54005, 0x9cb4b2f8129337db
)

func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= mixFirst
	x ^= x >> 33
	x *= mixSecond
	return x ^ x>>33
}

func unmix(x uint64) uint64 {
	x ^= x >> 33
	x *= unmixSecond
	x ^= x >> 33
	x *= unmixFirst
	return x ^ x>>33
}

// PreviousImage returns the id that a process had before its last exec, from the one that it has: ids of a process are mixed of one number
// and the count of its execs (pk_process_id_of in bpf/lib/task.h). Of another number than an id of the kernel side, and of a
// process that has executed nothing, it is the id of nobody.
func PreviousImage(id uint64) uint64 { return mix(unmix(id) - 1) }
