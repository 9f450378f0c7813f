/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_SYSCALL_H
#define PICKET_SYSCALL_H

#include "path.h"

/* The registers are a trusted pointer of the tracepoint: they can be read directly on every kernel. */
static __always_inline __u32 regs_nr(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return regs->orig_ax;
#else
	return regs->syscallno;
#endif
}

/* no_row says that a number is of no interest in either table, before it is known which of them counts. */
static __always_inline bool no_row(__u32 nr)
{
	barrier_off(nr);
	if (nr >= PK_MAX_SYSCALLS)
		return true;
	return syscalls[nr].kind == PK_SYS_NONE && syscalls[nr + PK_MAX_SYSCALLS].kind == PK_SYS_NONE;
}

/* syscall_row finds what is known of a syscall; NULL if it is of no interest. */
static __always_inline const volatile struct pk_syscall *syscall_row(__u32 nr, bool compat)
{
	if (nr >= PK_MAX_SYSCALLS)
		return NULL;
	if (compat)
		nr += PK_MAX_SYSCALLS;
	barrier_off(nr);
	if (nr >= 2 * PK_MAX_SYSCALLS || syscalls[nr].kind == PK_SYS_NONE)
		return NULL;
	return &syscalls[nr];
}

/* load_args copies the six arguments; they are still in the registers when the syscall returns. */
static __always_inline void load_args(struct pk_scratch *s, struct pt_regs *regs, bool compat)
{
#if defined(__TARGET_ARCH_x86)
	if (compat) {
		s->args[0] = (__u32)regs->bx;
		s->args[1] = (__u32)regs->cx;
		s->args[2] = (__u32)regs->dx;
		s->args[3] = (__u32)regs->si;
		s->args[4] = (__u32)regs->di;
		s->args[5] = (__u32)regs->bp;
		return;
	}
	s->args[0] = regs->di;
	s->args[1] = regs->si;
	s->args[2] = regs->dx;
	s->args[3] = regs->r10;
	s->args[4] = regs->r8;
	s->args[5] = regs->r9;
#else
	/* x0 holds the return value by now, orig_x0 what was passed */
	s->args[0] = regs->orig_x0;
	s->args[1] = regs->regs[1];
	s->args[2] = regs->regs[2];
	s->args[3] = regs->regs[3];
	s->args[4] = regs->regs[4];
	s->args[5] = regs->regs[5];
#endif
}

/* arg returns argument i of the syscall, or 0 if the table says that there is none (-1). */
static __always_inline __u64 arg(struct pk_scratch *s, __s8 i)
{
	__u32 n = (__u8)i;

	if (i < 0)
		return 0;
	n &= 7;
	barrier_off(n);
	if (n > 7)
		return 0;
	return s->args[n];
}

static __always_inline bool has_error(__u32 type, long ret)
{
	__u32 e = -ret;

	if (ret >= 0 || e >= 192 || type >= PK_NUM_TYPES)
		return false;
	return config.errors[type][e / 64] & (1ULL << (e % 64));
}

/* wanted_outcome says whether a syscall that returned ret makes an event of the type. */
static __always_inline bool wanted_outcome(__u32 type, long ret)
{
	if (type == PK_EXEC_FAILED)
		return has_error(type, ret);
	if (type == PK_SIGNAL && ret >= 0)
		return false; /* signal_generate tells of it, and who got it */
	if (ret >= 0 || ret == -EACCES || ret == -EPERM || (type == PK_CONNECT && ret == -EINPROGRESS))
		return true;
	return has_error(type, ret);
}

/* row_of finds the row of the syscall that the scratch buffer is about. */
static __always_inline const volatile struct pk_syscall *row_of(struct pk_scratch *s)
{
	return syscall_row(s->nr, s->compat);
}

#endif
