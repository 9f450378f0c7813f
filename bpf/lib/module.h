/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_MODULE_H
#define PICKET_MODULE_H

#include "fileop.h"

/* What the kernel calls a module is in the module; the tracepoint module_load tells it on the way through the call. */

struct pk_module_name {
	char name[PK_MODULE_NAME];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 128);
	__type(key, __u64); /* pid_tgid */
	__type(value, struct pk_module_name);
} module_names SEC(".maps");

static __always_inline int on_module_load(struct module *mod)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct pk_module_name name = {};

	bpf_probe_read_kernel_str(name.name, sizeof(name.name), &mod->name);
	bpf_map_update_elem(&module_names, &pid_tgid, &name, BPF_ANY);
	return 0;
}

/* exit_module ends a record about a module: of init_module, finit_module (which has a file) and delete_module. */
__noinline int exit_module(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;
	struct pk_module_name *name;
	struct pk_fileop *op;
	struct file *f;
	__u32 off;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	op = add_fileop(s, sc);
	f = sc->fd >= 0 ? task_file(s, arg(s, sc->fd)) : NULL;
	if (f) {
		file_facts(&op->file, f);
		walk_file(s, f, PK_SEG_PATH);
	}
	add_entry_state(s);
	name = bpf_map_lookup_elem(&module_names, &s->pid_tgid);
	if (name && seg_open(s, PK_SEG_DATA)) {
		off = s->off;
		barrier_off(off);
		if (off <= PK_DATA_SIZE) {
			bpf_probe_read_kernel(s->data + off, sizeof(*name), name);
			s->off = off + sizeof(*name);
			seg_close(s, 0);
		}
	}
	bpf_map_delete_elem(&module_names, &s->pid_tgid);
	return 1;
}

#endif
