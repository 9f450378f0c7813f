/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_DISPATCH_H
#define PICKET_DISPATCH_H

#include "fileop.h"
#include "net.h"
#include "dns.h"
#include "cred.h"
#include "target.h"
#include "mem.h"
#include "bpfcall.h"
#include "mount.h"
#include "module.h"
#include "selinux.h"

/*
 * From a syscall to the functions of its kind. Those are global functions that are given the key of the scratch buffer, in
 * which they find the arguments: enter_* return whether what they added is to be kept until the exit, exit_* whether the
 * record is to be sent.
 */

static __always_inline bool keep_at_entry(struct pk_scratch *s, __u32 kind, bool find_vma)
{
	__u32 off;
	bool keep;

	s->again = 0;
	switch (kind) {
	case PK_SYS_FD:
		keep = old_file(s->key);
		break;
	case PK_SYS_CRED:
		return enter_cred(s->key);
	case PK_SYS_MPROTECT:
		return find_vma ? enter_mprotect_find(s->key) : enter_mprotect(s->key);
	case PK_SYS_SPLICE:
		return enter_splice(s->key);
	case PK_SYS_PATH:
		keep = user_paths(s->key);
		old_file(s->key);
		break;
	default:
		keep = user_paths(s->key);
	}
	off = s->off;
	if (keep && !user_data(s->key)) { /* what is there is kept, the rest can be read at exit */
		s->off = off;
		s->again = PK_STATE_AGAIN;
	}
	return keep;
}

static __always_inline bool end_record(struct pk_scratch *s, __u32 kind)
{
	switch (kind) {
	case PK_SYS_SOCK:
		return exit_socket(s->key);
	case PK_SYS_ACCEPT:
		return exit_accept(s->key);
	case PK_SYS_CRED:
		return exit_cred(s->key);
	case PK_SYS_SIGNAL:
		return exit_signal(s->key);
	case PK_SYS_PTRACE:
		return exit_ptrace(s->key);
	case PK_SYS_MMAP:
		return exit_mmap(s->key);
	case PK_SYS_MPROTECT:
		return exit_mprotect(s->key);
	case PK_SYS_SPLICE:
		return exit_splice(s->key);
	case PK_SYS_BPF:
		return exit_bpf(s->key);
	case PK_SYS_CWD:
		return exit_cwd(s->key);
	case PK_SYS_MOUNT:
		return exit_mount(s->key);
	case PK_SYS_MODULE:
		return exit_module(s->key);
	case PK_SYS_WRITE:
		return exit_selinux(s->key);
	case PK_SYS_IO_URING:
		return s->ret >= 0;
	}
	return exit_fileop(s->key);
}

static __always_inline int on_sys_enter(struct pt_regs *regs, bool find_vma)
{
	__u32 nr = regs_nr(regs), type, kind, len;
	const volatile struct pk_syscall *sc;
	__u64 task, pid_tgid;
	struct pk_scratch *s;
	bool compat;
	long err;

	if (no_row(nr))
		return 0;
	task = bpf_get_current_task();
	compat = task_is_compat(TYPED(task, struct task_struct));
	sc = syscall_row(nr, compat);
	if (!sc || !sc->entry)
		return 0;
	type = sc->type;
	kind = sc->kind;
	pid_tgid = bpf_get_current_pid_tgid();
	if (pid_tgid >> 32 == config.self || !in_scope(task, pid_tgid >> 32))
		return 0;
	s = scratch_get(type, (struct task_struct *)task);
	if (!s)
		return 0;
	s->nr = nr;
	s->compat = compat;
	load_args(s, regs, compat);
	s->off = sizeof(__u32); /* the value of the state maps begins with its length */
	if (keep_at_entry(s, kind, find_vma)) {
		len = s->off - sizeof(__u32);
		*(__u32 *)s->data = len | s->again;
		if (len <= PK_STATE_SMALL)
			err = bpf_map_update_elem(&states_small, &pid_tgid, s->data, BPF_ANY);
		else if (len <= PK_STATE_LARGE)
			err = bpf_map_update_elem(&states_large, &pid_tgid, s->data, BPF_ANY);
		else
			err = -1;
		if (err)
			pk_count(type, PK_NOTE_STATE_FULL);
	}
	scratch_put(s);
	return 0;
}

static __always_inline int on_sys_exit(struct pt_regs *regs, long ret)
{
	__u32 nr = regs_nr(regs), type, kind;
	const volatile struct pk_syscall *sc;
	__u64 task, pid_tgid;
	struct pk_scratch *s;
	struct pk_header *h;
	bool compat, entry, indirect = false;

	if (no_row(nr))
		return 0;
	task = bpf_get_current_task();
	compat = task_is_compat(TYPED(task, struct task_struct));
	sc = syscall_row(nr, compat);
	if (!sc)
		return 0;
	kind = sc->kind;
	type = sc->type;
	entry = sc->entry;
	if (kind == PK_SYS_MMAP && mmap_is_filtered(regs, compat))
		return 0;
	if (kind == PK_SYS_WRITE && no_selinux_write(regs, compat, task))
		return 0;
	if (kind == PK_SYS_SOCKETCALL) {
		kind = socketcall(regs, &type);
		if (kind == PK_SYS_NONE)
			return 0;
		indirect = true;
	}
	pid_tgid = bpf_get_current_pid_tgid();
	/* unlinkat serves unlink and rmdir, whose errors are asked for separately; which it is, its flags tell below. */
	if (!wanted_outcome(type, ret) && !(type == PK_UNLINK && wanted_outcome(PK_RMDIR, ret)))
		goto unwanted;
	if (pid_tgid >> 32 == config.self || !in_scope(task, pid_tgid >> 32))
		goto unwanted;
	s = scratch_get(type, (struct task_struct *)task);
	if (!s)
		goto unwanted;
	s->scope = 1;
	s->nr = nr;
	s->compat = compat;
	s->ret = ret;
	s->pid_tgid = pid_tgid;
	load_args(s, regs, compat);
	if (indirect)
		socketcall_args(s);
	if (type == PK_UNLINK && (arg(s, sc->flags) & AT_REMOVEDIR))
		type = PK_RMDIR;
	if (!(config.types & (1ULL << type)) || !wanted_outcome(type, ret)) {
		scratch_put(s);
		goto unwanted;
	}
	h = header(s, type);
	h->nr = nr;
	h->retval = ret;
	if (compat)
		h->flags |= PK_COMPAT;
	if (!end_record(s, kind)) {
		scratch_put(s);
		goto unwanted;
	}
	submit(s->key, type, type == PK_SETUID || type == PK_SETGID || type == PK_CAPSET);
	scratch_put(s);
	return 0;
unwanted:
	if (entry)
		drop_state(pid_tgid);
	return 0;
}

#endif
