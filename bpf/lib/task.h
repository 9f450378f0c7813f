/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_TASK_H
#define PICKET_TASK_H

#include "maps.h"

/*
 * The id of a process image: new at fork (start time of the group leader) and at exec (its exec count), never reused, and
 * the same whoever computes it and when. The mixing steps are those of a 64-bit finaliser (xor-shift and multiply).
 */
static __always_inline __u64 pk_mix(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	x ^= x >> 33;
	return x;
}

static __always_inline __u64 pk_process_id_of(__u32 tgid, __u64 start, __u64 execs)
{
	__u64 id = pk_mix(pk_mix(start ^ ((__u64)tgid << 32)) + execs);

	return id ? id : 1;
}

static __always_inline __u64 pk_process_id(struct task_struct *task)
{
	struct task_struct *leader = READ(TYPED(task, struct task_struct), group_leader);

	/* self_exec_id belongs to the thread that executes, which is the leader when the exec is done */
	return pk_process_id_of(READ(leader, tgid), READ(leader, start_boottime),
				READ(leader, self_exec_id));
}

static __always_inline __u64 pk_caps(const kernel_cap_t *cap)
{
	struct kernel_cap_struct___old old;
	__u64 v = 0;

	if (bpf_core_type_exists(struct kernel_cap_struct___old)) { /* before 6.3: two words, the low one first */
		bpf_probe_read_kernel(&old, sizeof(old), cap);
		return ((__u64)old.cap[1] << 32) | old.cap[0];
	}
	bpf_probe_read_kernel(&v, sizeof(v), cap);
	return v;
}

static __always_inline bool task_is_compat(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return READ(task, thread_info.status) & TS_COMPAT;
#else
	return READ(task, thread_info.flags) & (1UL << TIF_32BIT_ARM64);
#endif
}

static __always_inline struct cgroup *task_cgroup(struct task_struct *task, bool v1)
{
	struct css_set *css = BPF_CORE_READ(task, cgroups);

	if (v1 && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		__u32 i = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
		struct cgroup_subsys_state *state = NULL;

		if (i < 14)
			bpf_probe_read_kernel(&state, sizeof(state), (void *)css + bpf_core_field_offset(struct css_set, subsys) + i * sizeof(state));
		if (state)
			return BPF_CORE_READ(state, cgroup);
	}
	return BPF_CORE_READ(css, dfl_cgrp);
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	struct kernfs_node___v615 *new = (void *)kn;

	if (bpf_core_field_exists(new->__parent))
		return BPF_CORE_READ(new, __parent);
	return BPF_CORE_READ(kn, parent);
}

static __always_inline bool in_scope_cgroups(struct task_struct *task)
{
	/* Apart from the read: inside of it, the member of our own struct would be looked for in the kernel's types. */
	bool v1 = config.scope & PK_SCOPE_CGROUP_V1;
	struct cgroup *cgroup = task_cgroup(task, v1);
	struct kernfs_node *kn = BPF_CORE_READ(cgroup, kn);

	for (int i = 0; i < PK_MAX_CGROUP_LEVELS && kn; i++) {
		__u64 id = BPF_CORE_READ(kn, id);

		if (bpf_map_lookup_elem(&scope_cgroups, &id))
			return true;
		kn = kernfs_parent(kn);
	}
	return false;
}

static __always_inline bool in_scope_pidns(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct pid_namespace *ns = NULL;
	struct upid *last = (void *)pid + bpf_core_field_offset(struct pid, numbers);

	last = (void *)last + level * bpf_core_type_size(struct upid);
	bpf_probe_read_kernel(&ns, sizeof(ns), (void *)last + bpf_core_field_offset(struct upid, ns));
	for (int i = 0; i < PK_MAX_NS_LEVELS && ns; i++) {
		__u32 inum = BPF_CORE_READ(ns, ns.inum);

		if (bpf_map_lookup_elem(&scope_pidns, &inum))
			return true;
		ns = BPF_CORE_READ(ns, parent);
	}
	return false;
}

/* in_scope decides by the actor, before any string is read. */
__noinline int in_scope(__u64 address, __u32 tgid)
{
	struct task_struct *task = (void *)address;
	__u32 scope = config.scope;

	if (!scope)
		return true;
	if (scope & PK_SCOPE_LISTS) {
		if (!((scope & PK_SCOPE_TREES) && bpf_map_lookup_elem(&scope_trees, &tgid)) &&
		    !((scope & PK_SCOPE_CGROUPS) && in_scope_cgroups(task)) &&
		    !((scope & PK_SCOPE_PIDNS) && in_scope_pidns(task)))
			return false;
	}
	if ((scope & PK_SCOPE_CONTAINERS) && BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum) == config.host_mntns)
		return false;
	return true;
}

/* fill_header begins a record about what the scratch buffer's task does. */
__noinline int fill_header(__u32 key, __u32 type)
{
	struct pk_scratch *s = scratch_at(key);
	struct task_struct *task;
	const struct cred *cred;
	struct pk_header *h;
	struct nsproxy *ns;
	__u32 task_flags;
	struct pid *sid;

	if (!s)
		return 0;
	task = TYPED(s->task, struct task_struct);
	h = (struct pk_header *)s->data;
	__builtin_memset(h, 0, sizeof(*h));
	s->off = sizeof(*h);
	h->type = type;
	h->time = bpf_ktime_get_boot_ns();
	h->id = pk_process_id(task);
	h->pid = READ(task, tgid);
	h->tid = READ(task, pid);
	if (s->scope)
		h->flags |= PK_IN_SCOPE;
	task_flags = READ(task, flags);
	if (task_flags & PF_KTHREAD)
		h->flags |= PK_KTHREAD;
	if (task_flags & PF_FORKNOEXEC)
		h->flags |= PK_FORKED;
	cred = READ(task, cred);
	h->uid = READ(cred, uid.val);
	h->gid = READ(cred, gid.val);
	h->euid = READ(cred, euid.val);
	h->egid = READ(cred, egid.val);
	h->fsuid = READ(cred, fsuid.val);
	h->fsgid = READ(cred, fsgid.val);
	h->cap_effective = pk_caps(&cred->cap_effective);
	h->cap_permitted = pk_caps(&cred->cap_permitted);
	h->auid = ~0U;
	if (bpf_core_field_exists(task->loginuid)) /* only with CONFIG_AUDIT */
		h->auid = READ(task, loginuid.val);
	sid = READ(task, signal, pids[PIDTYPE_SID]);
	h->sid = BPF_CORE_READ(sid, numbers[0].nr);
	ns = READ(task, nsproxy);
	h->mntns = READ(ns, mnt_ns, ns.inum);
	h->netns = READ(ns, net_ns, ns.inum);
	h->cgroup = READ(task, cgroups, dfl_cgrp, kn, id);
	bpf_probe_read_kernel(h->comm, sizeof(h->comm), &task->comm);
	return 0;
}

static __always_inline struct pk_header *header(struct pk_scratch *s, __u8 type)
{
	fill_header(s->key, type);
	return (struct pk_header *)s->data;
}

/* cgroup_names adds the cgroup's path. Container runtimes on v1 leave v2 at its root, so then the memory hierarchy counts. */
__noinline int cgroup_names(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	__u8 flags = PK_WALK_TRUNCATED;
	struct task_struct *task;
	struct kernfs_node *kn;

	if (!s)
		return 0;
	task = (void *)s->task;
	kn = BPF_CORE_READ(task_cgroup(task, false), kn);
	if (!kernfs_parent(kn))
		kn = BPF_CORE_READ(task_cgroup(task, true), kn);
	if (!seg_open(s, PK_SEG_CGROUP))
		return 0;
	for (int i = 0; i < PK_CGROUP_COMPONENTS; i++) {
		struct kernfs_node *parent = kernfs_parent(kn);
		__u32 off = s->off;
		long n;

		if (!parent) { /* the root has no name */
			flags = 0;
			break;
		}
		barrier_off(off);
		if (off > PK_DATA_SIZE)
			break;
		n = bpf_probe_read_kernel_str(s->data + off, PK_NAME_MAX, BPF_CORE_READ(kn, name));
		if (n > 0)
			s->off = off + n;
		kn = parent;
	}
	seg_close(s, flags);
	return 0;
}

static __always_inline void tty_name(struct pk_scratch *s)
{
	struct task_struct *task = (void *)s->task;
	struct tty_struct *tty = BPF_CORE_READ(task, signal, tty);
	__u32 off;
	long n;

	if (!tty || !seg_open(s, PK_SEG_TTY))
		return;
	off = s->off;
	barrier_off(off);
	if (off > PK_DATA_SIZE + 64)
		return;
	n = bpf_probe_read_kernel_str(s->data + off, 64, &tty->name);
	if (n > 1)
		s->off = off + n - 1;
	seg_close(s, 0);
}

#endif
