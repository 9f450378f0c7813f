/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_LIFECYCLE_H
#define PICKET_LIFECYCLE_H

#include "path.h"

/* add_process fills the fixed part of an exec record: what identifies task, its parent and its file. */
static __always_inline struct pk_exec *add_process(struct pk_scratch *s, struct task_struct *task, struct file *exe)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader), *parent = BPF_CORE_READ(leader, real_parent);
	struct pk_exec *x = fixed(s, sizeof(*x));

	x->start_time = BPF_CORE_READ(leader, start_boottime);
	x->ppid = BPF_CORE_READ(parent, tgid);
	x->parent_id = pk_process_id(parent);
	if (exe)
		file_facts(&x->exe, exe);
	return x;
}

static __always_inline int on_exec(struct task_struct *task, struct linux_binprm *bprm)
{
	struct file *exe = BPF_CORE_READ(bprm, file);
	const char *filename = BPF_CORE_READ(bprm, filename);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	unsigned long start, end;
	struct pk_scratch *s = scratch_get(PK_EXEC, task);
	struct pk_exec *x;
	__u32 off;
	long n;

	if (!s)
		return 0;
	s->scope = in_scope(s->task, BPF_CORE_READ(task, tgid));
	header(s, PK_EXEC);
	x = add_process(s, task, exe);
	x->prev_id = pk_process_id_of(BPF_CORE_READ(leader, tgid), BPF_CORE_READ(leader, start_boottime),
				      BPF_CORE_READ(leader, self_exec_id) - 1);
	if (s->scope) {
		/* The new stack was just written, so its pages are resident. */
		start = BPF_CORE_READ(mm, arg_start);
		end = BPF_CORE_READ(mm, arg_end);
		x->args_len = end - start;
		user_bytes(s, PK_SEG_ARGS, start, end - start, PK_ARGS_MAX);
		start = BPF_CORE_READ(mm, env_start);
		end = BPF_CORE_READ(mm, env_end);
		x->envs_len = end - start;
		user_bytes(s, PK_SEG_ENVS, start, end - start, PK_ENVS_MAX);
		tty_name(s);
	}
	walk_file(s, exe, PK_SEG_PATH);
	/* A script runs as its interpreter: bprm->file. Its own name is what was asked for. */
	if (filename != BPF_CORE_READ(bprm, interp) && seg_open(s, PK_SEG_FILENAME)) {
		off = s->off;
		barrier_off(off);
		if (off > PK_DATA_SIZE + sizeof(struct pk_seg))
			goto out;
		n = bpf_probe_read_kernel_str(s->data + off, PK_PATH_MAX, filename);
		if (n > 0)
			s->off = off + n - 1;
		seg_close(s, n > 0 ? 0 : PK_STR_FAULT);
		if (s->scope)
			walk_cwd(s, PK_SEG_BASE);
	}
	cgroup_names(s->key);
	submit(s->key, PK_EXEC, true);
out:
	scratch_put(s);
	return 0;
}

static __always_inline int on_fork(struct task_struct *parent, struct task_struct *child)
{
	__u32 ppid = BPF_CORE_READ(parent, tgid), pid = BPF_CORE_READ(child, tgid);
	struct pk_scratch *s;
	struct pk_fork *f;
	__u8 one = 1;

	if (BPF_CORE_READ(child, pid) != pid) /* a thread */
		return 0;
	if ((config.scope & PK_SCOPE_TREES) && bpf_map_lookup_elem(&scope_trees, &ppid) &&
	    bpf_map_update_elem(&scope_trees, &pid, &one, BPF_ANY))
		pk_count(PK_FORK, PK_LOST_SCOPE_FULL);
	s = scratch_get(PK_FORK, parent);
	if (!s)
		return 0;
	s->scope = in_scope(s->task, ppid);
	header(s, PK_FORK);
	f = fixed(s, sizeof(*f));
	f->child_id = pk_process_id(child);
	f->start_time = BPF_CORE_READ(child, start_boottime);
	f->child_pid = pid;
	if (BPF_CORE_READ(child, flags) & PF_KTHREAD)
		f->child_flags = PK_KTHREAD;
	submit(s->key, PK_FORK, true);
	scratch_put(s);
	return 0;
}

static __always_inline int on_exit(struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct pk_scratch *s;
	struct pk_exit *x;

	/* One event per process: that of its last thread. */
	if (BPF_CORE_READ(signal, live.counter))
		return 0;
	s = scratch_get(PK_EXIT, task);
	if (!s)
		return 0;
	s->scope = in_scope(s->task, tgid);
	if (config.scope & PK_SCOPE_TREES)
		bpf_map_delete_elem(&scope_trees, &tgid);
	header(s, PK_EXIT);
	x = fixed(s, sizeof(*x));
	if (BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT)
		x->code = BPF_CORE_READ(signal, group_exit_code);
	else
		x->code = BPF_CORE_READ(task, group_leader, exit_code);
	submit(s->key, PK_EXIT, true);
	scratch_put(s);
	return 0;
}

/* on_task writes one process into the iterator's output. Arguments and environment come from /proc, and only in scope. */
static __always_inline int on_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	struct pk_scratch *s;
	struct pk_header *h;
	struct file *exe;
	__u32 len;

	if (!task || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	s = scratch_get(PK_EXEC, task);
	if (!s)
		return 0;
	s->scope = in_scope(s->task, BPF_CORE_READ(task, tgid));
	h = header(s, PK_EXEC);
	h->flags |= PK_SNAPSHOT;
	exe = BPF_CORE_READ(task, mm, exe_file); /* NULL for kernel threads and the dead */
	add_process(s, task, exe);
	if (exe)
		walk_file(s, exe, PK_SEG_PATH);
	if (s->scope)
		tty_name(s);
	cgroup_names(s->key);
	len = s->off;
	barrier_off(len);
	if (len > PK_DATA_SIZE)
		goto out;
	h = (struct pk_header *)s->data;
	h->size = len;
	bpf_seq_write(seq, s->data, len);
out:
	scratch_put(s);
	return 0;
}

#endif
