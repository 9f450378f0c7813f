/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_TARGET_H
#define PICKET_TARGET_H

#include "fileop.h"

/* include/uapi/asm-generic/siginfo.h: who made a signal. */
#define SI_TKILL (-6)
#define SI_TIMER (-2)
#define SI_ASYNCIO (-4)
#define SI_SIGIO (-5)
#define SI_DETHREAD (-7)

#define PTRACE_TRACEME 0

/* own_pidns returns the pid namespace whose numbers a task uses. */
static __always_inline struct pid_namespace *own_pidns(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct pid_namespace *ns = NULL;
	void *last = (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);

	bpf_probe_read_kernel(&ns, sizeof(ns), last + bpf_core_field_offset(struct upid, ns));
	return ns;
}

/*
 * A pid namespace finds its pids in a radix tree with 64 slots per node: an entry whose lowest bits are 10 is a node, one
 * whose lowest bits are 00 the pid. 22 bits of a pid take four levels.
 */
#define PK_RADIX_LEVELS 6
#define PK_RADIX_SLOTS 64

/* find_task returns the task that has a number in a pid namespace; NULL if there is none. */
static __always_inline struct task_struct *find_task(struct pid_namespace *ns, __u32 nr)
{
	__u64 entry = (__u64)BPF_CORE_READ(ns, idr.idr_rt.xa_head);
	struct hlist_node *link;
	__u32 first = 64;

	for (int i = 0; i < PK_RADIX_LEVELS; i++) {
		struct xa_node *node = (void *)(entry & ~3ULL);
		void *slots;
		__u32 shift;

		if ((entry & 3) != 2)
			break;
		shift = BPF_CORE_READ(node, shift);
		if (shift >= 32 || (first == 64 && nr >> shift >= PK_RADIX_SLOTS))
			return NULL;
		first = shift;
		slots = (void *)node + bpf_core_field_offset(struct xa_node, slots);
		entry = 0;
		bpf_probe_read_kernel(&entry, sizeof(entry), slots + ((nr >> shift) & (PK_RADIX_SLOTS - 1)) * sizeof(entry));
	}
	if (!entry || entry & 3 || first != 0)
		return NULL;
	link = BPF_CORE_READ((struct pid *)entry, tasks[PIDTYPE_PID].first);
	if (!link)
		return NULL;
	return (void *)link - bpf_core_field_offset(struct task_struct, pid_links);
}

static __always_inline void set_target(struct pk_target *t, struct task_struct *task)
{
	t->id = pk_process_id(task);
	t->pid = BPF_CORE_READ(task, tgid);
	t->tid = BPF_CORE_READ(task, pid);
}

/* exit_signal ends a record about a signal that was refused: the pid is argument fd, or uid if a thread is meant. */
__noinline int exit_signal(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct task_struct *task = NULL;
	struct pk_target *t;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	drop_state(s->pid_tgid);
	t = fixed(s, sizeof(*t));
	t->request = arg(s, sc->mode);
	t->given = arg(s, sc->uid >= 0 ? sc->uid : sc->fd);
	if (sc->fixed_flags) { /* a pidfd: only the kernel of the call knows whose */
		t->given = 0;
		return 1;
	}
	if (t->given > 0)
		task = find_task(own_pidns((void *)s->task), t->given);
	if (task)
		set_target(t, task);
	return 1;
}

/* exit_ptrace ends a record about a ptrace call. */
__noinline int exit_ptrace(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct task_struct *task;
	struct pk_target *t;

	if (!s)
		return 0;
	t = fixed(s, sizeof(*t));
	t->request = s->args[0];
	t->given = s->args[1];
	t->address = s->args[2];
	t->data = s->args[3];
	if (t->request == PTRACE_TRACEME) {
		set_target(t, (void *)s->task);
		return 1;
	}
	task = find_task(own_pidns((void *)s->task), t->given);
	if (task)
		set_target(t, task);
	return 1;
}

/*
 * sent_by_caller says whether it was the current task that sent a signal, and not the kernel on its own. The codes of
 * timers and the like may also come from rt_sigqueueinfo, whose entry leaves a mark. What a process does to threads of its
 * own by tgkill is no message to anybody: runtimes interrupt their threads so, hundreds of times a second.
 */
static __always_inline bool sent_by_caller(struct kernel_siginfo *info, __u64 pid_tgid, struct task_struct *target)
{
	struct pk_state_small *state;
	int code;

	if ((__u64)info <= 1) /* SEND_SIG_NOINFO, SEND_SIG_PRIV */
		return false;
	code = BPF_CORE_READ(info, si_code);
	if (code > 0)
		return false;
	if (code == SI_TKILL)
		return BPF_CORE_READ(target, tgid) != pid_tgid >> 32;
	if (code != SI_TIMER && code != SI_ASYNCIO && code != SI_SIGIO && code != SI_DETHREAD)
		return true;
	state = bpf_map_lookup_elem(&states_small, &pid_tgid);
	return state && state->data[0] == PK_SEG_DATA;
}

static __always_inline int on_signal(int sig, struct kernel_siginfo *info, struct task_struct *target)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid(), task = bpf_get_current_task();
	struct pk_scratch *s;
	struct pk_target *t;

	if (!sent_by_caller(info, pid_tgid, target) && !(config.options & PK_KERNEL_SIGNALS))
		return 0;
	if (pid_tgid >> 32 == config.self || !in_scope(task, pid_tgid >> 32))
		return 0;
	s = scratch_get(PK_SIGNAL, (struct task_struct *)task);
	if (!s)
		return 0;
	s->scope = 1;
	header(s, PK_SIGNAL);
	t = fixed(s, sizeof(*t));
	t->request = sig;
	set_target(t, target);
	submit(s->key, PK_SIGNAL, false);
	scratch_put(s);
	return 0;
}

#endif
