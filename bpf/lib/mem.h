/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_MEM_H
#define PICKET_MEM_H

#include "fileop.h"

#define PK_PAGE_SHIFT_MMAP2 12 /* mmap2 counts its offset in units of 4096 bytes */
#define PK_RB_DEPTH 40         /* a tree of 65,530 areas, the default limit, is at most 32 deep */

/* mmap_is_filtered says, before anything is paid for, that a mapping makes nothing executable. */
static __always_inline bool mmap_is_filtered(struct pt_regs *regs, bool compat)
{
	if (config.options & PK_ALL_MMAP || compat)
		return false;
#if defined(__TARGET_ARCH_x86)
	return !(regs->dx & PROT_EXEC);
#else
	return !(regs->regs[2] & PROT_EXEC);
#endif
}

/* exit_mmap ends a record about a mapping. The old mmap of i386 has its arguments in memory. */
__noinline int exit_mmap(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	__u32 old[6] = {};
	struct pk_mem *m;
	struct file *f;
	int fd;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	if (s->compat && !sc->fixed_flags) {
		bpf_probe_read_user(old, sizeof(old), (void *)s->args[0]);
		for (int i = 0; i < 6; i++)
			s->args[i] = old[i];
	}
	if (!(config.options & PK_ALL_MMAP) && !(s->args[2] & PROT_EXEC))
		return 0;
	m = fixed(s, sizeof(*m));
	m->address = s->ret < 0 && s->ret >= -4095 ? s->args[0] : (__u64)s->ret;
	m->length = s->args[1];
	m->prot = s->args[2];
	m->flags = s->args[3];
	fd = s->args[4];
	m->offset = sc->fixed_flags ? s->args[5] << PK_PAGE_SHIFT_MMAP2 : s->args[5];
	if (m->flags & MAP_ANONYMOUS)
		return 1;
	f = task_file(s, fd);
	if (f) {
		file_facts(&m->file, f);
		walk_file(s, f, PK_SEG_PATH);
	}
	return 1;
}

/* struct pk_vma is what PK_SEG_OLD has of an area before mprotect. */
static __always_inline int keep_vma(struct pk_scratch *s, struct pk_vma *v)
{
	__u32 off;

	if (!v->end || !seg_open(s, PK_SEG_OLD))
		return 0;
	off = s->off;
	barrier_off(off);
	if (off > PK_DATA_SIZE)
		return 0;
	__builtin_memcpy(s->data + off, v, sizeof(*v));
	s->off = off + sizeof(*v);
	seg_close(s, 0);
	return 1;
}

static long copy_vma(struct task_struct *task, struct vm_area_struct *vma, struct pk_vma *v)
{
	v->start = vma->vm_start;
	v->end = vma->vm_end;
	v->flags = vma->vm_flags;
	return 0;
}

/* enter_mprotect_find keeps the area that the call is about; for kernels that have bpf_find_vma (5.17). */
__noinline int enter_mprotect_find(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct pk_vma v = {};

	if (!s)
		return 0;
	bpf_find_vma(bpf_get_current_task_btf(), s->args[0], copy_vma, &v, 0);
	return keep_vma(s, &v);
}

/* enter_mprotect does the same on kernels whose areas are in a tree that can be followed (before 6.1). */
__noinline int enter_mprotect(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct mm_struct___v60 *mm;
	struct task_struct *task;
	struct pk_vma v = {};
	struct rb_node *node;

	if (!s)
		return 0;
	task = (void *)s->task;
	mm = (void *)BPF_CORE_READ(task, mm);
	if (!bpf_core_field_exists(mm->mm_rb))
		return 0;
	node = BPF_CORE_READ(mm, mm_rb.rb_node);
	for (int i = 0; i < PK_RB_DEPTH && node; i++) {
		struct vm_area_struct *vma = (void *)node - bpf_core_field_offset(struct vm_area_struct___v60, vm_rb);

		v.start = BPF_CORE_READ(vma, vm_start);
		v.end = BPF_CORE_READ(vma, vm_end);
		if (s->args[0] < v.start) {
			node = BPF_CORE_READ(node, rb_left);
		} else if (s->args[0] >= v.end) {
			node = BPF_CORE_READ(node, rb_right);
		} else {
			v.flags = BPF_CORE_READ(vma, vm_flags);
			return keep_vma(s, &v);
		}
	}
	return 0;
}

/* exit_mprotect ends a record about protections: of memory that is, or is to be, executable. */
__noinline int exit_mprotect(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct pk_mem *m;
	struct pk_vma *v;

	if (!s)
		return 0;
	m = fixed(s, sizeof(*m));
	m->address = s->args[0];
	m->length = s->args[1];
	m->prot = s->args[2];
	if (take_state(s, s->pid_tgid)) {
		v = (struct pk_vma *)(s->data + sizeof(struct pk_header) + sizeof(*m) + sizeof(struct pk_seg));
		m->vm_start = v->start;
		m->vm_end = v->end;
		m->vm_flags = v->flags;
		s->off = sizeof(struct pk_header) + sizeof(*m);
	}
	return (config.options & PK_ALL_MPROTECT) || (m->prot & PROT_EXEC) || (m->vm_flags & VM_EXEC);
}

/* last_flags reads the flags of the newest buffer of a pipe. */
static __always_inline bool last_flags(__u32 *flags, struct file *f)
{
	struct pipe_inode_info *pipe;
	struct pipe_buffer *bufs;
	struct inode *inode;
	__u32 head, size;

	if (!f)
		return false;
	inode = BPF_CORE_READ(f, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFIFO)
		return false;
	pipe = BPF_CORE_READ(f, private_data);
	head = BPF_CORE_READ(pipe, head);
	size = BPF_CORE_READ(pipe, ring_size);
	bufs = BPF_CORE_READ(pipe, bufs);
	if (!size)
		return false;
	bufs = (void *)bufs + (__u64)((head - 1) & (size - 1)) * bpf_core_type_size(struct pipe_buffer);
	*flags = BPF_CORE_READ(bufs, flags);
	return true;
}

/* enter_splice keeps the flags of the pipe that is written to: argument dirfd2. */
__noinline int enter_splice(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	__u32 flags = 0, off;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc || !last_flags(&flags, task_file(s, arg(s, sc->dirfd2))) || !seg_open(s, PK_SEG_OLD))
		return 0;
	off = s->off;
	barrier_off(off);
	if (off > PK_DATA_SIZE)
		return 0;
	__builtin_memcpy(s->data + off, &flags, sizeof(flags));
	s->off = off + sizeof(flags);
	seg_close(s, 0);
	return 1;
}

/* exit_splice ends a record about splice: what is read from is argument fd. */
__noinline int exit_splice(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct pk_splice *p;
	struct file *f;
	__u32 flags = 0;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	p = fixed(s, sizeof(*p));
	p->flags = arg(s, sc->flags);
	if (take_state(s, s->pid_tgid)) {
		__builtin_memcpy(&p->entry_flags, s->data + sizeof(struct pk_header) + sizeof(*p) + sizeof(struct pk_seg), sizeof(p->entry_flags));
		p->known |= 1;
		s->off = sizeof(struct pk_header) + sizeof(*p);
	}
	if (last_flags(&flags, task_file(s, arg(s, sc->dirfd2)))) {
		p->exit_flags = flags;
		p->known |= 2;
	}
	f = sc->fd >= 0 ? task_file(s, arg(s, sc->fd)) : NULL;
	if (f) {
		file_facts(&p->file, f);
		walk_file(s, f, PK_SEG_PATH);
	}
	return 1;
}

#endif
