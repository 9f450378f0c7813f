/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_MOUNT_H
#define PICKET_MOUNT_H

#include "fileop.h"

#define OPEN_TREE_CLONE 1
/* Flags of mount(2) with which it makes no new mount (include/uapi/linux/mount.h). */
#define MS_REMOUNT 32
#define MS_MOVE 8192
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#define MS_NO_NEW (MS_REMOUNT | MS_MOVE | MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED)
#define MS_MGC_VAL 0xc0ed0000 /* in the upper half of the flags of old programs */
#define MS_MGC_MSK 0xffff0000
#define PK_RB_DEPTH 40 /* of a red-black tree of a million mounts */

/*
 * The mount API. In the table path is where something is mounted and path2 what is mounted, which may be the mount that dirfd2
 * is of. A call without path returns the descriptor of a mount.
 */

/* makes_no_mount says that an open_tree only opens a path. Flags are argument 2, as in every call of that form. */
static __always_inline bool makes_no_mount(struct pk_scratch *s, const volatile struct pk_syscall *sc)
{
	return sc->path < 0 && sc->path2 >= 0 && !(arg(s, sc->flags) & OPEN_TREE_CLONE);
}

/* moved_file is the file of the mount that a call made or moved, if a descriptor is of it. */
static __always_inline struct file *moved_file(struct pk_scratch *s, const volatile struct pk_syscall *sc)
{
	__u64 from;
	char c = 1;

	if (sc->path >= 0 && sc->dirfd2 >= 0) {
		from = arg(s, sc->path2);
		if (from && (bpf_probe_read_user(&c, 1, (void *)from) || c))
			return NULL; /* below the descriptor, not itself */
		return task_file(s, arg(s, sc->dirfd2));
	}
	if (sc->path < 0 && s->ret >= 0)
		return task_file(s, s->ret);
	return NULL;
}

/* newest_mount is the mount that was attached last in the namespace of the task. */
static __always_inline struct mount *newest_mount(struct pk_scratch *s)
{
	struct task_struct *task = TYPED(s->task, struct task_struct);
	struct mnt_namespace *ns = READ(task, nsproxy, mnt_ns);
	struct mnt_namespace___v67 *old = (void *)ns;
	struct rb_node *node, *right;
	__u64 at;

	if (!ns)
		return NULL;
	if (bpf_core_field_exists(old->list)) {
		at = (__u64)BPF_CORE_READ(old, list.prev);
		at -= bpf_core_field_offset(struct mount___v67, mnt_list);
		return (struct mount *)at;
	}
	if (bpf_core_field_exists(ns->mnt_last_node)) {
		node = BPF_CORE_READ(ns, mnt_last_node);
	} else {
		node = BPF_CORE_READ(ns, mounts.rb_node);
		for (int i = 0; i < PK_RB_DEPTH; i++) {
			right = BPF_CORE_READ(node, rb_right);
			if (!right)
				break;
			node = right;
		}
	}
	return node ? (struct mount *)((__u64)node - bpf_core_field_offset(struct mount, mnt_node)) : NULL;
}

/* add_mount adds the facts of a mount, and the path of its root, which is the mount point's once it is attached. */
static __always_inline void add_mount(struct pk_scratch *s, struct pk_mount *m, struct mount *mnt)
{
	__u64 vfsmnt = (__u64)mnt + bpf_core_field_offset(struct mount, mnt);
	struct mount *parent = BPF_CORE_READ(mnt, mnt_parent);
	__u64 at = (__u64)BPF_CORE_READ(mnt, mnt.mnt_root);
	struct dentry *root = TYPED(at, struct dentry);

	place_facts(&m->root, vfsmnt, root, READ(root, d_inode));
	if (parent && parent != mnt)
		m->parent_id = BPF_CORE_READ(parent, mnt_id);
	m->whole = (__u64)READ(root, d_parent) == at;
	s->walk.from_dentry = at;
	s->walk.from_mnt = vfsmnt;
	walk(s->key, 0, PK_SEG_PATH);
}

/* exit_mount ends a record about a mount. Where only a path tells which one it is, user space looks. */
__noinline int exit_mount(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct mount *mnt = NULL;
	struct pk_mount *m;
	struct file *f;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc || makes_no_mount(s, sc))
		return 0;
	m = fixed(s, sizeof(*m));
	m->flags = arg(s, sc->flags);
	if (sc->name >= 0 && (m->flags & MS_MGC_MSK) == MS_MGC_VAL)
		m->flags &= ~MS_MGC_MSK;
	f = moved_file(s, sc);
	if (f)
		mnt = (struct mount *)((__u64)BPF_CORE_READ(f, f_path.mnt) - bpf_core_field_offset(struct mount, mnt));
	else if (sc->name >= 0 && s->ret == 0 && !(m->flags & MS_NO_NEW))
		mnt = newest_mount(s);
	if (mnt)
		add_mount(s, m, mnt);
	if (sc->entry)
		add_entry_state(s);
	return 1;
}

#endif
