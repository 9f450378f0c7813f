/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_BPFCALL_H
#define PICKET_BPFCALL_H

#include "fileop.h"

/* enum bpf_cmd of include/uapi/linux/bpf.h, as far as a call names a map or a program. */
enum pk_bpf_cmd {
	MAP_CREATE = 0, MAP_LOOKUP_ELEM = 1, MAP_UPDATE_ELEM = 2, MAP_DELETE_ELEM = 3, MAP_GET_NEXT_KEY = 4, PROG_LOAD = 5,
	OBJ_PIN = 6, OBJ_GET = 7, PROG_ATTACH = 8, PROG_DETACH = 9, PROG_TEST_RUN = 10, PROG_GET_FD_BY_ID = 13, MAP_GET_FD_BY_ID = 14,
	OBJ_GET_INFO_BY_FD = 15, RAW_TRACEPOINT_OPEN = 17, MAP_LOOKUP_AND_DELETE_ELEM = 21, MAP_FREEZE = 22,
	MAP_LOOKUP_BATCH = 24, MAP_DELETE_BATCH = 27, LINK_CREATE = 28, LINK_UPDATE = 29, PROG_BIND_MAP = 35,
};

/* Members of union bpf_attr by their place in it, in words of 32 bits. */
#define PK_ATTR_WORDS 20
#define PK_INSN_SIZE 8
#define PK_INSNS_MAX 16384 /* bytes of a program's instructions that are sent */

/* add_bpf_object tells what is behind a descriptor: the dentry of an anonymous inode has the name of its kind. */
static __always_inline void add_bpf_object(struct pk_bpf *b, struct pk_scratch *s, __u32 fd)
{
	struct file *f = task_file(s, fd);
	struct bpf_prog_aux *aux;
	struct bpf_prog *prog;
	struct bpf_map *map;
	char name[12] = {};

	if (!f)
		return;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(f, f_path.dentry, d_name.name));
	if (!__builtin_memcmp(name, "bpf-map", 8)) {
		map = BPF_CORE_READ(f, private_data);
		b->map_id = BPF_CORE_READ(map, id);
		b->map_type = BPF_CORE_READ(map, map_type);
		bpf_probe_read_kernel(b->map_name, sizeof(b->map_name), &map->name);
	} else if (!__builtin_memcmp(name, "bpf-prog", 9)) {
		prog = BPF_CORE_READ(f, private_data);
		aux = BPF_CORE_READ(prog, aux);
		b->prog_id = BPF_CORE_READ(aux, id);
		b->prog_type = BPF_CORE_READ(prog, type);
		b->attach_type = BPF_CORE_READ(prog, expected_attach_type);
		bpf_probe_read_kernel(b->tag, sizeof(b->tag), &prog->tag);
		bpf_probe_read_kernel(b->prog_name, sizeof(b->prog_name), &aux->name);
	}
}

/* exit_bpf ends a record about bpf(2): what the kernel made or was pointed to, and of what it refused what was asked for. */
__noinline int exit_bpf(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	__u32 w[PK_ATTR_WORDS] = {};
	int fd = -1, fd2 = -1;
	struct pk_bpf *b;
	__u64 len;

	if (!s)
		return 0;
	b = fixed(s, sizeof(*b));
	b->cmd = s->args[0];
	len = s->args[2];
	if (len > sizeof(w))
		len = sizeof(w);
	barrier_off(len);
	if (len > sizeof(w))
		return 0;
	bpf_probe_read_user(w, len, (void *)s->args[1]);
	switch (b->cmd) {
	case MAP_CREATE:
		if (s->ret < 0) {
			b->map_type = w[0];
			__builtin_memcpy(b->map_name, &w[7], sizeof(b->map_name));
		}
		fd = s->ret;
		break;
	case PROG_LOAD:
		if (s->ret < 0) {
			b->prog_type = w[0];
			b->attach_type = w[17];
			__builtin_memcpy(b->prog_name, &w[12], sizeof(b->prog_name));
		}
		b->insns = w[1];
		fd = s->ret;
		break;
	case OBJ_GET:
	case PROG_GET_FD_BY_ID:
	case MAP_GET_FD_BY_ID:
		fd = s->ret;
		break;
	case MAP_LOOKUP_ELEM:
	case MAP_UPDATE_ELEM:
	case MAP_DELETE_ELEM:
	case MAP_GET_NEXT_KEY:
	case MAP_LOOKUP_AND_DELETE_ELEM:
	case MAP_FREEZE:
	case PROG_TEST_RUN:
	case OBJ_GET_INFO_BY_FD:
		fd = w[0];
		break;
	case OBJ_PIN:
	case RAW_TRACEPOINT_OPEN:
		fd = w[2];
		break;
	case PROG_ATTACH:
	case PROG_DETACH:
	case LINK_UPDATE:
		fd = w[1];
		break;
	case LINK_CREATE:
		fd = w[0];
		break;
	case PROG_BIND_MAP:
		fd = w[0];
		fd2 = w[1];
		break;
	default:
		if (b->cmd >= MAP_LOOKUP_BATCH && b->cmd <= MAP_DELETE_BATCH)
			fd = w[9];
	}
	if (fd >= 0)
		add_bpf_object(b, s, fd);
	if (fd2 >= 0)
		add_bpf_object(b, s, fd2);
	if (b->cmd == PROG_ATTACH || b->cmd == PROG_DETACH || b->cmd == LINK_CREATE)
		b->attach_type = w[2];
	if (b->cmd == PROG_LOAD)
		user_bytes(s, PK_SEG_DATA, *(__u64 *)&w[2], (__u64)b->insns * PK_INSN_SIZE, PK_INSNS_MAX);
	return 1;
}

#endif
