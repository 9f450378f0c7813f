//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Copyright The Picket Authors */

/* The smallest program of a kind. Loading and attaching it is the only honest test of what a kernel allows. */

#include "lib/kernel.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sched_process_exit")
int picket_probe_tp_btf(void *ctx)
{
	return 0;
}
