/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_FILEOP_H
#define PICKET_FILEOP_H

#include "syscall.h"

/*
 * user_path adds what the process named: its string, and for a relative one the walk of the directory that it starts
 * from. An empty string means the descriptor itself (AT_EMPTY_PATH). It returns false if the string could not be read.
 */
static __always_inline bool user_path(struct pk_scratch *s, __u64 ptr, int dirfd, bool second)
{
	long n = user_string(s, second ? PK_SEG_STRING2 : PK_SEG_STRING, ptr);
	__u32 off, base = second ? PK_SEG_BASE2 : PK_SEG_BASE;
	struct file *dir;

	if (n < 0)
		return false;
	if (n > 0) {
		off = s->seg + sizeof(struct pk_seg);
		barrier_off(off);
		if (off > PK_DATA_SIZE)
			return true;
		if (s->data[off] == '/')
			return true;
	}
	if (dirfd == AT_FDCWD) {
		walk_cwd(s, base);
	} else {
		dir = task_file(s, dirfd);
		if (dir)
			walk_file(s, dir, base);
	}
	return true;
}

/*
 * named_fd returns the descriptor whose file a call is about, or -1 if it is about a path. Where the call allows it, an empty
 * path or none is the descriptor itself.
 */
static __always_inline int named_fd(struct pk_scratch *s, const volatile struct pk_syscall *sc)
{
	__u32 kind = sc->kind;
	int dirfd = AT_FDCWD;
	__u64 path;
	char c = 1;

	if (kind == PK_SYS_FD)
		return arg(s, sc->fd);
	if (kind != PK_SYS_PATH && kind != PK_SYS_EXEC)
		return -1;
	if (sc->dirfd >= 0)
		dirfd = arg(s, sc->dirfd);
	if (dirfd < 0)
		return -1;
	path = arg(s, sc->path);
	if (!path && sc->type == PK_UTIMES)
		return dirfd;
	if (!(arg(s, sc->flags) & AT_EMPTY_PATH))
		return -1;
	if (path && (bpf_probe_read_user(&c, 1, (void *)path) || c))
		return -1;
	return dirfd;
}

/* user_paths adds the paths that a syscall names; it returns 0 if one could not be read. */
__noinline int user_paths(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct file *f;
	bool ok = true;
	int fd;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	fd = named_fd(s, sc);
	if (fd >= 0) {
		f = task_file(s, fd);
		if (f)
			walk_file(s, f, PK_SEG_PATH);
	} else if (sc->path >= 0)
		ok = user_path(s, arg(s, sc->path), sc->dirfd < 0 ? AT_FDCWD : (int)arg(s, sc->dirfd), false);
	if (sc->path2 >= 0 && arg(s, sc->path2)) /* what is mounted may be nothing */
		ok &= user_path(s, arg(s, sc->path2), sc->dirfd2 < 0 ? AT_FDCWD : (int)arg(s, sc->dirfd2), true);
	return ok;
}

/*
 * user_data adds what else a syscall names in the memory of the process: a string that is no path, and bytes. It returns 0
 * if something could not be read.
 */
__noinline int user_data(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	bool ok = true;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	if (sc->name >= 0 && arg(s, sc->name))
		ok = user_string(s, PK_SEG_NAME, arg(s, sc->name)) >= 0;
	if (sc->data >= 0 && arg(s, sc->data))
		ok &= user_bytes(s, PK_SEG_DATA, arg(s, sc->data), sc->data_size, 255);
	return ok;
}

/* old_file adds the facts that the file has before a call that is about a descriptor. */
__noinline int old_file(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct file *f;
	__u32 off;
	int fd;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	fd = named_fd(s, sc);
	if (fd < 0)
		return 0;
	f = task_file(s, fd);
	if (!f || !seg_open(s, PK_SEG_OLD))
		return 0;
	off = s->off;
	barrier_off(off);
	if (off > PK_DATA_SIZE)
		return 0;
	__builtin_memset(s->data + off, 0, sizeof(struct pk_file));
	file_facts((struct pk_file *)(s->data + off), f);
	s->off = off + sizeof(struct pk_file);
	seg_close(s, 0);
	return 1;
}

/* take_state moves what was kept at entry into the record. */
static __always_inline bool take_state(struct pk_scratch *s, __u64 pid_tgid)
{
	struct pk_state_small *small = bpf_map_lookup_elem(&states_small, &pid_tgid);
	struct pk_state_large *large;
	__u32 off = s->off, len;
	bool ok = false;

	barrier_off(off);
	if (off > PK_DATA_SIZE)
		return false;
	if (small) {
		len = small->len;
		s->again = len & PK_STATE_AGAIN;
		len &= ~PK_STATE_AGAIN;
		barrier_off(len);
		if (len <= PK_STATE_SMALL) {
			bpf_probe_read_kernel(s->data + off, len, small->data);
			s->off = off + len;
			ok = true;
		}
		bpf_map_delete_elem(&states_small, &pid_tgid);
		return ok;
	}
	large = bpf_map_lookup_elem(&states_large, &pid_tgid);
	if (!large)
		return false;
	len = large->len;
	s->again = len & PK_STATE_AGAIN;
	len &= ~PK_STATE_AGAIN;
	barrier_off(len);
	if (len <= PK_DATA_SLACK) {
		bpf_probe_read_kernel(s->data + off, len, large->data);
		s->off = off + len;
		ok = true;
	}
	bpf_map_delete_elem(&states_large, &pid_tgid);
	return ok;
}

static __always_inline void drop_state(__u64 pid_tgid)
{
	if (bpf_map_delete_elem(&states_small, &pid_tgid))
		bpf_map_delete_elem(&states_large, &pid_tgid);
}

/* drop_exec_state: a thread that executes takes the number of its leader, and what was kept of its call is under its own. */
static __always_inline void drop_exec_state(__u32 old_pid)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();

	if (old_pid != (__u32)pid_tgid)
		drop_state((pid_tgid >> 32 << 32) | old_pid);
}

struct pk_open_how { /* include/uapi/linux/openat2.h */
	__u64 flags, mode, resolve;
};

/* add_fileop fills the fixed part of a record about a file from the arguments. */
static __always_inline struct pk_fileop *add_fileop(struct pk_scratch *s, const volatile struct pk_syscall *sc)
{
	struct pk_fileop *op = fixed(s, sizeof(*op));

	op->flags = (__u32)arg(s, sc->flags) | sc->fixed_flags;
	op->mode = arg(s, sc->mode);
	op->uid = arg(s, sc->uid);
	op->gid = arg(s, sc->gid);
	return op;
}

/* add_entry_state adds what was kept at entry; what was not is read now, and the record says so. */
static __always_inline void add_entry_state(struct pk_scratch *s)
{
	if (take_state(s, s->pid_tgid)) {
		if (!s->again)
			return;
	} else {
		user_paths(s->key);
	}
	((struct pk_header *)s->data)->flags |= PK_EXIT_READ;
	user_data(s->key);
}

/* exit_fileop ends a record about a file: of the kinds open, openat2, path, fd and exec. */
__noinline int exit_fileop(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct pk_open_how how = {};
	struct pk_fileop *op;
	struct file *f = NULL;
	bool exact; /* the path is walked from the file that there is now */
	__u32 kind;
	int fd;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	kind = sc->kind;
	op = add_fileop(s, sc);
	if (kind == PK_SYS_OPENAT2) {
		bpf_probe_read_user(&how, sizeof(how), (void *)arg(s, sc->flags));
		op->flags = how.flags;
		op->mode = how.mode;
	}
	if (kind == PK_SYS_OPEN || kind == PK_SYS_OPENAT2)
		fd = s->ret >= 0 ? s->ret : -1;
	else
		fd = named_fd(s, sc);
	exact = kind != PK_SYS_PATH && kind != PK_SYS_EXEC;
	if (fd >= 0)
		f = task_file(s, fd);
	if (f) {
		file_facts(&op->file, f);
		if (exact)
			walk_file(s, f, PK_SEG_PATH);
	}
	if (sc->entry) {
		add_entry_state(s);
	} else if (!f && kind != PK_SYS_FD) {
		((struct pk_header *)s->data)->flags |= PK_EXIT_READ;
		user_paths(key);
	}
	return 1;
}

/*
 * exit_cwd ends a record about the directory that a task has now: chdir, fchdir, chroot and pivot_root. A new root is "/" to the task, so
 * its path is that below the root of the mount namespace.
 */
__noinline int exit_cwd(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct task_struct *task;
	struct fs_struct *fs;
	struct pk_fileop *op;
	struct file *f;
	__u64 path;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	op = add_fileop(s, sc);
	if (s->ret >= 0) {
		task = (void *)s->task;
		fs = BPF_CORE_READ(task, fs);
		path = (__u64)fs + bpf_core_field_offset(struct fs_struct, pwd);
		if (sc->type == PK_CHROOT) {
			path = (__u64)fs + bpf_core_field_offset(struct fs_struct, root);
			s->walk.whole = 1;
		}
		path_facts(&op->file, (const struct path *)path);
		if (sc->path2 < 0) /* of pivot_root the new root has no path any more but "/" */
			walk(key, path, PK_SEG_PATH);
		s->walk.whole = 0;
	} else if (sc->fd >= 0) {
		f = task_file(s, arg(s, sc->fd));
		if (f) {
			file_facts(&op->file, f);
			walk_file(s, f, PK_SEG_PATH);
		}
	}
	if (sc->entry)
		add_entry_state(s);
	return 1;
}

#endif
