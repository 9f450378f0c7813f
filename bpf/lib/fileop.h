/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_FILEOP_H
#define PICKET_FILEOP_H

#include "net.h"

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

/* user_paths adds the paths that a syscall names; it returns false if one could not be read. */
__noinline int user_paths(__u32 key, __u32 nr, __u32 compat)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	bool ok;

	sc = syscall_row(nr, compat);
	if (!s || !sc)
		return 0;
	if (sc->path < 0)
		return 1;
	ok = user_path(s, arg(s, sc->path), sc->dirfd < 0 ? AT_FDCWD : (int)arg(s, sc->dirfd), false);
	if (sc->path2 >= 0)
		ok &= user_path(s, arg(s, sc->path2), sc->dirfd2 < 0 ? AT_FDCWD : (int)arg(s, sc->dirfd2), true);
	return ok;
}

static __always_inline int on_sys_enter(struct pt_regs *regs)
{
	__u32 nr = regs_nr(regs), type, len;
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
	if (!sc || sc->kind != PK_SYS_PATH)
		return 0;
	type = sc->type;
	pid_tgid = bpf_get_current_pid_tgid();
	if (pid_tgid >> 32 == config.self || !in_scope(task, pid_tgid >> 32))
		return 0;
	s = scratch_get(type, (struct task_struct *)task);
	if (!s)
		return 0;
	load_args(s, regs, compat);
	s->off = sizeof(__u32); /* the value of the state maps begins with its length */
	if (user_paths(s->key, nr, compat)) {
		len = s->off - sizeof(__u32);
		*(__u32 *)s->data = len;
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

struct pk_open_how { /* include/uapi/linux/openat2.h */
	__u64 flags, mode, resolve;
};

static __always_inline int on_sys_exit(struct pt_regs *regs, long ret)
{
	__u32 nr = regs_nr(regs), type, kind;
	const volatile struct pk_syscall *sc;
	bool compat, from_exit = false;
	__u64 task, pid_tgid;
	struct pk_open_how how = {};
	struct pk_scratch *s;
	struct pk_header *h;
	struct pk_fileop *op;
	struct file *f = NULL;

	if (no_row(nr))
		return 0;
	task = bpf_get_current_task();
	compat = task_is_compat(TYPED(task, struct task_struct));
	sc = syscall_row(nr, compat);
	if (!sc)
		return 0;
	kind = sc->kind;
	type = sc->type;
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
	load_args(s, regs, compat);
	if (type == PK_UNLINK && (arg(s, sc->flags) & AT_REMOVEDIR))
		type = PK_RMDIR;
	if (!(config.types & (1U << type)) || !wanted_outcome(type, ret)) {
		scratch_put(s);
		goto unwanted;
	}
	h = header(s, type);
	h->nr = nr;
	h->retval = ret;
	if (compat)
		h->flags |= PK_COMPAT;
	if (kind == PK_SYS_SOCK) {
		add_socket(s, arg(s, sc->fd), arg(s, sc->path), arg(s, sc->mode));
		goto send;
	}
	op = fixed(s, sizeof(*op));
	if (kind == PK_SYS_OPENAT2) {
		bpf_probe_read_user(&how, sizeof(how), (void *)arg(s, sc->flags));
		op->flags = how.flags;
		op->mode = how.mode;
	} else {
		op->flags = (__u32)arg(s, sc->flags) | sc->fixed_flags;
		op->mode = arg(s, sc->mode);
	}
	op->uid = arg(s, sc->uid);
	op->gid = arg(s, sc->gid);
	if (kind == PK_SYS_FD)
		f = task_file(s, arg(s, sc->fd));
	else if (kind != PK_SYS_PATH && ret >= 0)
		f = task_file(s, ret);
	if (f) {
		file_facts(&op->file, f);
		walk_file(s, f, PK_SEG_PATH);
	}
	if (kind == PK_SYS_PATH)
		from_exit = !take_state(s, pid_tgid);
	if (from_exit || (!f && kind != PK_SYS_FD && kind != PK_SYS_PATH)) {
		h->flags |= PK_EXIT_READ;
		user_paths(s->key, nr, compat);
	}
send:
	submit(s->key, type, false);
	scratch_put(s);
	return 0;
unwanted:
	if (kind == PK_SYS_PATH)
		drop_state(pid_tgid);
	return 0;
}

#endif
