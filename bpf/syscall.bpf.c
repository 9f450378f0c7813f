//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Copyright The Picket Authors */

/* The syscall backend: tracepoints only, for kernels that refuse hooks on functions. */

#include "lib/lifecycle.h"
#include "lib/dispatch.h"
#include "lib/used.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* TP_PROTO(struct task_struct *parent, struct task_struct *child) */
SEC("tp_btf/sched_process_fork")
int picket_fork(__u64 *ctx)
{
	return on_fork((void *)ctx[0], (void *)ctx[1]);
}

/* TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm) */
SEC("tp_btf/sched_process_exec")
int picket_exec(__u64 *ctx)
{
	drop_exec_state(ctx[1]);
	return on_exec((void *)ctx[0], (void *)ctx[2]);
}

/* TP_PROTO(struct task_struct *p); newer kernels add whether the group is dead */
SEC("tp_btf/sched_process_exit")
int picket_exit(__u64 *ctx)
{
	return on_exit((void *)ctx[0]);
}

/* TP_PROTO(struct pt_regs *regs, long id) */
SEC("tp_btf/sys_enter")
int picket_sys_enter(__u64 *ctx)
{
	return on_sys_enter((void *)ctx[0], false);
}

/* The same for kernels that have bpf_find_vma. */
SEC("tp_btf/sys_enter")
int picket_sys_enter_vma(__u64 *ctx)
{
	return on_sys_enter((void *)ctx[0], true);
}

/* First uses of syscalls, and the end of what has used them. */
SEC("tp_btf/sys_enter")
int picket_used(__u64 *ctx)
{
	return on_first_use((void *)ctx[0]);
}

SEC("tp_btf/sched_process_exec")
int picket_used_exec(__u64 *ctx)
{
	return used_set_drop();
}

SEC("tp_btf/sched_process_exit")
int picket_used_exit(__u64 *ctx)
{
	/* as in on_exit: only the last thread */
	return BPF_CORE_READ((struct task_struct *)ctx[0], signal, live.counter) ? 0 : used_set_drop();
}

/* TP_PROTO(struct pt_regs *regs, long ret) */
SEC("tp_btf/sys_exit")
int picket_sys_exit(__u64 *ctx)
{
	return on_sys_exit((void *)ctx[0], (long)ctx[1]);
}

/* TP_PROTO(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result) */
SEC("tp_btf/signal_generate")
int picket_signal(__u64 *ctx)
{
	return on_signal((int)ctx[0], (void *)ctx[1], (void *)ctx[2]);
}

/* TP_PROTO(struct sk_buff *skb) */
SEC("tp_btf/net_dev_queue")
int picket_packet(__u64 *ctx)
{
	return on_packet((void *)ctx[0], false);
}

/* The same for kernels that let a tracepoint read what is not linear. */
SEC("tp_btf/net_dev_queue")
int picket_packet_dynptr(__u64 *ctx)
{
	return on_packet((void *)ctx[0], true);
}

/* TP_PROTO(struct module *mod) */
SEC("tp_btf/module_load")
int picket_module(__u64 *ctx)
{
	return on_module_load((void *)ctx[0]);
}

/* Run by user space, not attached: the flags of a file that one of its own descriptors names. */
SEC("raw_tp")
int picket_layer(__u64 *ctx)
{
	struct file *f = file_of(bpf_get_current_task(), ctx[0]);
	struct inode *inode;

	if (!f)
		return 0;
	inode = TYPED((__u64)BPF_CORE_READ(f, f_inode), struct inode);
	return layer((__u64)inode, READ(inode, i_sb));
}

/* The processes that were there before Picket, as records of type exec. */
SEC("iter/task")
int picket_tasks(struct bpf_iter__task *ctx)
{
	return on_task(ctx);
}

/* Anchors: they put the wire types into the object's type information, from which bpf2go makes the Go twins. */
const struct pk_header *anchor_header __attribute__((unused));
const struct pk_exec *anchor_exec __attribute__((unused));
const struct pk_fork *anchor_fork __attribute__((unused));
const struct pk_exit *anchor_exit __attribute__((unused));
const struct pk_fileop *anchor_fileop __attribute__((unused));
const struct pk_net *anchor_net __attribute__((unused));
const struct pk_creds *anchor_creds __attribute__((unused));
const struct pk_target *anchor_target __attribute__((unused));
const struct pk_mem *anchor_mem __attribute__((unused));
const struct pk_bpf *anchor_bpf __attribute__((unused));
const struct pk_splice *anchor_splice __attribute__((unused));
const struct pk_mount *anchor_mount __attribute__((unused));
const struct pk_used *anchor_used __attribute__((unused));
const struct pk_dns *anchor_dns __attribute__((unused));
const struct pk_seg *anchor_seg __attribute__((unused));
const enum pk_header_flags *anchor_header_flags __attribute__((unused));
const enum pk_file_flags *anchor_file_flags __attribute__((unused));
const enum pk_seg_kind *anchor_seg_kind __attribute__((unused));
const enum pk_seg_flags *anchor_seg_flags __attribute__((unused));
const enum pk_loss *anchor_loss __attribute__((unused));
const enum pk_option *anchor_option __attribute__((unused));
const enum pk_scope *anchor_scope __attribute__((unused));
const enum pk_syscall_kind *anchor_syscall_kind __attribute__((unused));
const enum pk_type *anchor_type __attribute__((unused));
