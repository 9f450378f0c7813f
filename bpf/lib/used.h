/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_USED_H
#define PICKET_USED_H

#include "syscall.h"

/*
 * The first use of a syscall by a process image. Each image has a set with a bit for each number of the kernel's own table
 * and of that of 32-bit tasks; it is made by the first call, and goes with the image: when it executes another one, or ends.
 */
struct pk_used_set {
	__u64 bits[2 * PK_MAX_SYSCALLS / 64];
};

/* User space leaves the map out unless the type is wanted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); /* thread group id */
	__type(value, struct pk_used_set);
} used_sets SEC(".maps");

/* used_set_new makes the set of a process that has none; NULL if the map is full. Another thread may be faster. */
static __always_inline struct pk_used_set *used_set_new(__u32 tgid)
{
	struct pk_used_set none = {};

	bpf_map_update_elem(&used_sets, &tgid, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&used_sets, &tgid);
}

static __always_inline int on_first_use(struct pt_regs *regs)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, nr = regs_nr(regs), at = nr;
	__u64 task = bpf_get_current_task(), bit;
	struct pk_used_set *set;
	struct pk_scratch *s;
	struct pk_header *h;
	struct pk_used *u;
	bool compat;

	if (nr == ~0U) /* a tracer took the call away */
		return 0;
	/* Numbers that no table has share the last bit, which is no syscall's yet. */
	if (at >= PK_MAX_SYSCALLS)
		at = PK_MAX_SYSCALLS - 1;
	compat = task_is_compat(TYPED(task, struct task_struct));
	if (compat)
		at += PK_MAX_SYSCALLS;
	bit = 1ULL << (at % 64);
	at /= 64;
	barrier_off(at);
	if (at >= 2 * PK_MAX_SYSCALLS / 64)
		return 0;
	set = bpf_map_lookup_elem(&used_sets, &tgid);
	if (set && (set->bits[at] & bit))
		return 0;
	if (!set) {
		if (tgid == config.self || !in_scope(task, tgid))
			return 0;
		set = used_set_new(tgid);
		if (!set) {
			pk_count(PK_SYSCALLS, PK_LOST_SET_FULL);
			return 0;
		}
	}
#ifdef PK_DIRECT
	if (__sync_fetch_and_or(&set->bits[at], bit) & bit)
		return 0;
#else /* before 5.12 there is nothing atomic for it: threads that use new syscalls in the same instant may both tell */
	set->bits[at] |= bit;
#endif
	s = scratch_get(PK_SYSCALLS, (struct task_struct *)task);
	if (!s)
		return 0;
	s->scope = 1;
	h = header(s, PK_SYSCALLS);
	h->nr = nr;
	if (compat)
		h->flags |= PK_COMPAT;
	u = fixed(s, sizeof(*u));
	u->nr = nr;
	submit(s->key, PK_SYSCALLS, false);
	scratch_put(s);
	return 0;
}

/* The image that the thread group had, or was, is gone. */
static __always_inline int used_set_drop(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	bpf_map_delete_elem(&used_sets, &tgid);
	return 0;
}

#endif
