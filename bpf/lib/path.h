/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_PATH_H
#define PICKET_PATH_H

#include "task.h"

static __always_inline struct mount *real_mount(__u64 mnt)
{
	return TYPED(mnt - bpf_core_field_offset(struct mount, mnt), struct mount);
}

static __always_inline __u32 rename_seq(void)
{
	__u32 seq = 0;

	if (config.rename_lock)
		bpf_probe_read_kernel(&seq, sizeof(seq), (void *)config.rename_lock);
	return seq;
}

/*
 * walk_step goes one dentry or one mount up. It returns 1 when the walk has ended. All state is in the map value, which
 * keeps the verifier's states few: 320 steps cost it about 54,000 instructions.
 */
static __always_inline int walk_step(struct pk_scratch *s, bool names)
{
	struct pk_walk *w = &s->walk;
	struct dentry *d = TYPED(w->dentry, struct dentry), *parent;
	struct vfsmount *mnt = TYPED(w->mnt, struct vfsmount);
	__u32 off;
	long n;

	w->checksum = w->checksum * 31 + READ(d, d_seq.seqcount.sequence);
	if ((__u64)d == w->root_dentry && (__u64)mnt == w->root_mnt) {
		w->flags &= ~PK_WALK_TRUNCATED;
		return 1;
	}
	if (d == READ(mnt, mnt_root)) {
		struct mount *m = real_mount(w->mnt), *up = READ(m, mnt_parent);

		if (up == m || !up) {
			w->flags ^= PK_WALK_TRUNCATED | PK_WALK_UNREACHABLE;
			return 1;
		}
		w->dentry = (__u64)READ(m, mnt_mountpoint);
		w->mnt = (__u64)up + bpf_core_field_offset(struct mount, mnt);
		return 0;
	}
	parent = READ(d, d_parent);
	if (parent == d && w->names)
		goto detached;
	if (names) {
		off = s->off;
		barrier_off(off);
		if (off > PK_DATA_SIZE || off - s->seg > PK_PATH_MAX + sizeof(struct pk_seg))
			return 1; /* still flagged as truncated */
		n = bpf_probe_read_kernel_str(s->data + off, PK_NAME_MAX, READ(d, d_name.name));
		if (n > 0)
			s->off = off + n;
		else
			w->flags |= PK_WALK_FAULT;
	}
	w->names++;
	if (parent == d) /* the only name of a file that is in no directory */
		goto detached;
	w->dentry = (__u64)parent;
	return 0;
detached:
	w->flags ^= PK_WALK_TRUNCATED | PK_WALK_DETACHED;
	return 1;
}

/*
 * walk_once goes from path to the task's root, or to the mount namespace's if the whole path is wanted. The walk counts as
 * truncated until it has come to an end.
 */
static __always_inline void walk_once(struct pk_scratch *s, const struct path *path, bool names)
{
	struct task_struct *task = TYPED(s->task, struct task_struct);
	struct fs_struct *fs = READ(task, fs);
	struct pk_walk *w = &s->walk;

	w->dentry = path ? (__u64)BPF_CORE_READ(path, dentry) : w->from_dentry;
	w->mnt = path ? (__u64)BPF_CORE_READ(path, mnt) : w->from_mnt;
	w->root_dentry = w->whole ? 0 : (__u64)READ(fs, root.dentry);
	w->root_mnt = w->whole ? 0 : (__u64)READ(fs, root.mnt);
	w->checksum = 0;
	w->flags = PK_WALK_TRUNCATED;
	w->names = 0;
	for (int i = 0; i < PK_MAX_COMPONENTS; i++)
		if (walk_step(s, names))
			break;
}

/*
 * walk_try adds the names from path up to the task's root, and returns whether a rename on the way could have mixed two
 * paths: nothing is locked. rename_lock's sequence tells, or a second pass over the dentries' sequence numbers.
 */
__noinline int walk_try(__u32 key, __u64 path)
{
	struct pk_scratch *s = scratch_at(key);
	__u32 seq, sum, flags;

	if (!s)
		return 0;
	s->off = s->seg + sizeof(struct pk_seg);
	seq = rename_seq();
	walk_once(s, (const struct path *)path, true);
	if (config.rename_lock)
		return seq != rename_seq() || (seq & 1);
	sum = s->walk.checksum;
	flags = s->walk.flags;
	walk_once(s, (const struct path *)path, false);
	s->walk.flags = flags;
	return sum != s->walk.checksum;
}

/* walk adds a segment with the path. It is tried twice; if both were disturbed, the segment says so. */
__noinline int walk(__u32 key, __u64 path, __u32 kind)
{
	struct pk_scratch *s = scratch_at(key);
	__u32 raced = 0;

	if (!s || !seg_open(s, kind))
		return 0;
	if (walk_try(key, path) && walk_try(key, path))
		raced = PK_WALK_RACED;
	seg_close(s, s->walk.flags | raced);
	return 0;
}

static __always_inline void walk_file(struct pk_scratch *s, struct file *f, __u32 kind)
{
	walk(s->key, (__u64)f + bpf_core_field_offset(struct file, f_path), kind);
}

static __always_inline void walk_cwd(struct pk_scratch *s, __u32 kind)
{
	struct task_struct *task = (void *)s->task;
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	walk(s->key, (__u64)fs + bpf_core_field_offset(struct fs_struct, pwd), kind);
}

/* task_file returns the address of the file that a descriptor of the scratch buffer's task names. */
static __always_inline struct file *file_of(__u64 address, __u32 fd)
{
	struct task_struct *task = TYPED(address, struct task_struct);
	struct fdtable *fdt = READ(task, files, fdt);
	struct file *f = NULL;

	if (fd >= READ(fdt, max_fds))
		return NULL;
	bpf_probe_read_kernel(&f, sizeof(f), READ(fdt, fd) + fd);
	return f;
}

static __always_inline struct file *task_file(struct pk_scratch *s, __u32 fd)
{
	return file_of(s->task, fd);
}

static __always_inline void inode_times(struct pk_file *out, struct inode *inode)
{
	struct inode___v67 *v67 = (void *)inode;
	struct inode___v66 *v66 = (void *)inode;
	struct inode___old *old = (void *)inode;

#define NS(sec, nsec) ((__s64)(sec) * 1000000000LL + (nsec))
#define NS_TS(p, f) NS(READ(p, f.tv_sec), READ(p, f.tv_nsec))
	if (bpf_core_field_exists(inode->i_mtime_sec)) {
		out->atime = NS(READ(inode, i_atime_sec), READ(inode, i_atime_nsec));
		out->mtime = NS(READ(inode, i_mtime_sec), READ(inode, i_mtime_nsec));
		/* 6.13 and later: the highest bit says that somebody has asked for it. */
		out->ctime = NS(READ(inode, i_ctime_sec), READ(inode, i_ctime_nsec) & 0x7fffffff);
	} else if (bpf_core_field_exists(v67->__i_mtime)) {
		out->atime = NS_TS(v67, __i_atime);
		out->mtime = NS_TS(v67, __i_mtime);
		out->ctime = NS_TS(v67, __i_ctime);
	} else if (bpf_core_field_exists(v66->__i_ctime)) {
		out->atime = NS_TS(v66, i_atime);
		out->mtime = NS_TS(v66, i_mtime);
		out->ctime = NS_TS(v66, __i_ctime);
	} else {
		out->atime = NS_TS(old, i_atime);
		out->mtime = NS_TS(old, i_mtime);
		out->ctime = NS_TS(old, i_ctime);
	}
#undef NS
#undef NS_TS
}

#define OVERLAYFS_MAGIC 0x794c7630 /* include/uapi/linux/magic.h */

/*
 * layer tells of a file on overlayfs whether it is in the upper layer: then its inode has an upper dentry. That pointer is
 * behind the inode in struct ovl_inode (fs/overlayfs/ovl_entry.h), in all kernels that there are of since 4.13; the struct is the
 * module's, and so its type need not be there.
 */
static __always_inline __u32 layer(__u64 inode, struct super_block *sb)
{
	__u64 upper = 0;

	if (READ(sb, s_magic) != OVERLAYFS_MAGIC)
		return 0;
	if (bpf_probe_read_kernel(&upper, sizeof(upper), (void *)(inode + bpf_core_type_size(struct inode))))
		return 0;
	return upper ? PK_FILE_OVERLAY | PK_FILE_UPPER : PK_FILE_OVERLAY;
}

/* place_facts fills what an inode and the place that it was found at tell. The mount is a number, because it is calculated with. */
static __always_inline void place_facts(struct pk_file *out, __u64 mnt, struct dentry *d, struct inode *inode)
{
	struct super_block *sb = READ(inode, i_sb);

	out->flags = PK_FILE_VALID | layer((__u64)inode, sb);
	out->inode = READ(inode, i_ino);
	out->mode = READ(inode, i_mode);
	out->uid = READ(inode, i_uid.val);
	out->gid = READ(inode, i_gid.val);
	out->dev = READ(sb, s_dev);
	out->mount_id = READ(real_mount(mnt), mnt_id);
	inode_times(out, inode);
	if (!READ(d, d_hash.pprev) && READ(d, d_parent) != d)
		out->flags |= PK_FILE_DELETED;
	bpf_probe_read_kernel_str(out->fstype, sizeof(out->fstype), READ(sb, s_type, name));
}

/* file_facts fills what the open file tells. */
static __always_inline void file_facts(struct pk_file *out, struct file *address)
{
	struct vfsmount *mnt = BPF_CORE_READ(address, f_path.mnt);
	struct file *f = TYPED(address, struct file);

	place_facts(out, (__u64)mnt, READ(f, f_path.dentry), READ(f, f_inode));
}

/* path_facts fills what the file at a path of the kernel tells. */
static __always_inline void path_facts(struct pk_file *out, const struct path *path)
{
	struct vfsmount *mnt = BPF_CORE_READ(path, mnt);
	struct dentry *d = TYPED(BPF_CORE_READ(path, dentry), struct dentry);

	place_facts(out, (__u64)mnt, d, READ(d, d_inode));
}

/* user_string adds a NUL-terminated string of the task, without its NUL. It returns the length, -1 on a fault. */
static __always_inline long user_string(struct pk_scratch *s, __u8 kind, __u64 ptr)
{
	__u32 off;
	long n;

	if (!seg_open(s, kind))
		return -1;
	off = s->off;
	barrier_off(off);
	if (off > PK_DATA_SIZE + sizeof(struct pk_seg))
		return -1;
	n = bpf_probe_read_user_str(s->data + off, PK_PATH_MAX, (void *)ptr);
	if (n <= 0) {
		seg_close(s, PK_STR_FAULT);
		return -1;
	}
	s->off = off + n - 1;
	seg_close(s, n == PK_PATH_MAX ? PK_STR_TRUNCATED : 0);
	return n - 1;
}

/* user_bytes adds len bytes of the task, or as many as max. It returns false if they could not be read. */
static __always_inline bool user_bytes(struct pk_scratch *s, __u8 kind, __u64 ptr, __u64 len, __u32 max)
{
	__u8 flags = 0;
	__u32 off;

	if (!seg_open(s, kind))
		return false;
	if (len > max) {
		len = max;
		flags = PK_STR_TRUNCATED;
	}
	off = s->off;
	barrier_off(off);
	barrier_off(len);
	if (off > PK_DATA_SIZE + sizeof(struct pk_seg) || len > max)
		return false;
	if (bpf_probe_read_user(s->data + off, len, (void *)ptr))
		flags |= PK_STR_FAULT;
	else
		s->off = off + len;
	seg_close(s, flags);
	return !(flags & PK_STR_FAULT);
}

#endif
