/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_SELINUX_H
#define PICKET_SELINUX_H

#include "fileop.h"

#define SELINUX_MAGIC 0xf97cff8c /* include/uapi/linux/magic.h */
#define PK_SELINUX_MAX 63        /* bytes of what is written that are sent */

/* no_selinux_write says, before anything is paid for, that a write is one to another file than of selinuxfs. */
static __always_inline bool no_selinux_write(struct pt_regs *regs, bool compat, __u64 task)
{
	struct super_block *sb;
	struct file *f;
	__u32 fd;

#if defined(__TARGET_ARCH_x86)
	fd = compat ? regs->bx : regs->di;
#else
	fd = regs->orig_x0;
#endif
	f = file_of(task, fd);
	if (!f)
		return true;
	sb = BPF_CORE_READ(f, f_inode, i_sb);
	return BPF_CORE_READ(sb, s_magic) != SELINUX_MAGIC;
}

/* exit_selinux ends a record about a write to selinuxfs. The data of writev and its like are in struct iovecs: the first counts. */
__noinline int exit_selinux(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	__u64 from, len, iov[2] = {};
	__u32 iov32[2] = {};
	struct pk_fileop *op;
	struct file *f;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	op = add_fileop(s, sc);
	f = task_file(s, arg(s, sc->fd));
	if (!f)
		return 0;
	file_facts(&op->file, f);
	walk_file(s, f, PK_SEG_PATH);
	from = arg(s, sc->data);
	len = s->ret > 0 ? s->ret : PK_SELINUX_MAX;
	if (sc->data_size == sizeof(iov)) {
		bpf_probe_read_user(iov, sizeof(iov), (void *)from);
		from = iov[0];
		len = iov[1];
	} else if (sc->data_size == sizeof(iov32)) {
		bpf_probe_read_user(iov32, sizeof(iov32), (void *)from);
		from = iov32[0];
		len = iov32[1];
	} else if (s->ret <= 0) {
		len = arg(s, sc->mode); /* what was to be written */
	}
	user_bytes(s, PK_SEG_DATA, from, len, PK_SELINUX_MAX);
	return 1;
}

#endif
