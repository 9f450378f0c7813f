/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_MAPS_H
#define PICKET_MAPS_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "wire.h"

/*
 * How kernel memory is read. From 6.2 on a number can be made a typed pointer again (bpf_rdonly_cast), and a member is then
 * one load; before that it is a call of a helper per step. The object is compiled both ways, and user space tries the
 * direct one first. What is read seldom is left to BPF_CORE_READ in both.
 */
#ifdef PK_DIRECT
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;
#define TYPED(address, type) ((type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))
#define pk_m1(p, a) (p)->a
#define pk_m2(p, a, b) (p)->a->b
#define pk_m3(p, a, b, c) (p)->a->b->c
#define pk_m4(p, a, b, c, d) (p)->a->b->c->d
#define READ(p, ...) ___apply(pk_m, ___narg(__VA_ARGS__))(p, __VA_ARGS__)
#else
#define TYPED(address, type) ((type *)(address))
#define READ BPF_CORE_READ
#endif

/* One path has at most PATH_MAX bytes; 320 components fit the verifier's budget on 5.10. */
#define PK_PATH_MAX 4096
#define PK_MAX_COMPONENTS 320
#define PK_NAME_MAX 256
#define PK_ARGS_MAX 16384
#define PK_ENVS_MAX 16384
#define PK_CGROUP_COMPONENTS 24
#define PK_MAX_NS_LEVELS 32
#define PK_MAX_CGROUP_LEVELS 32

/*
 * A record is put together in a scratch buffer, because it may be larger than a stack and its size is not constant, as
 * bpf_ringbuf_reserve() wants it. Below PK_DATA_SIZE a segment may begin; the slack behind it takes the longest one, so
 * that the verifier needs no more than one comparison per write.
 */
#define PK_DATA_SIZE 49152
#define PK_DATA_SLACK 16640

struct pk_walk {
	__u64 dentry, root_dentry;
	__u64 mnt, root_mnt;
	__u32 checksum; /* of the dentries' sequence numbers */
	__u32 flags;
	__u32 names;
	__u64 from_dentry, from_mnt; /* where to start, if no path is given */
	__u32 whole; /* up to the root of the mount namespace, and not to the task's */
};

struct pk_scratch {
	__u64 busy;
	volatile __u64 task; /* the acting task; volatile, so that it comes back as a number and no longer as a pointer */
	__u32 off;
	__u32 seg; /* offset of the open segment */
	__u32 scope; /* the actor is in scope */
	__u32 key;   /* of this buffer in the map */
	__u32 nr;    /* of the syscall, which has a row in the table */
	__u32 compat;
	__u32 again; /* something could not be read at entry: the exit is to try again */
	__s64 ret;
	__u64 pid_tgid;
	__u64 args[8];
	struct pk_walk walk;
	__u8 data[PK_DATA_SIZE + PK_DATA_SLACK] __attribute__((aligned(8)));
};

/*
 * Two per CPU: a tracepoint that interrupts another one uses the second. Not a per-CPU map, whose values may not be larger
 * than 32 KiB; user space sets the number of entries.
 */
#define PK_SCRATCH_PER_CPU 2
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PK_SCRATCH_PER_CPU);
	__type(key, __u32);
	__type(value, struct pk_scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* set by user space */
} events SEC(".maps");

struct pk_losses {
	__u64 count[PK_NUM_LOSSES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PK_NUM_TYPES);
	__type(key, __u32);
	__type(value, struct pk_losses);
} losses SEC(".maps");

/*
 * User strings and bases of path operations, from the entry of a syscall to its exit: the segments as they will be sent.
 * Small ones are the rule. What finds no place is read at exit instead.
 */
#define PK_STATE_SMALL 640
#define PK_STATE_LARGE 17408

#define PK_STATE_AGAIN (1U << 31) /* in len: strings that are no paths, and data, are to be read at exit */

struct pk_state_small {
	__u32 len;
	__u8 data[PK_STATE_SMALL];
};

struct pk_state_large {
	__u32 len;
	__u8 data[PK_STATE_LARGE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* pid_tgid */
	__type(value, struct pk_state_small);
} states_small SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, __u64);
	__type(value, struct pk_state_large);
} states_large SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32); /* thread group id */
	__type(value, __u8);
} scope_trees SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* cgroup id */
	__type(value, __u8);
} scope_cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* inode number of the namespace */
	__type(value, __u8);
} scope_pidns SEC(".maps");

/* Who connected a socket to a name server, by the inode of the socket: for packets that leave on behalf of somebody else. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct pk_header);
} dns_owners SEC(".maps");

const volatile struct pk_config config = {};

/* User space sets it when it has found nothing for a while: the next record wakes it, and clears this. */
volatile __u32 reader_asleep = 0;
/* The numbers of the kernel's own tasks, then those of 32-bit ones. */
const volatile struct pk_syscall syscalls[2 * PK_MAX_SYSCALLS] = {};

static __always_inline void pk_count(__u32 type, __u32 why)
{
	struct pk_losses *l = bpf_map_lookup_elem(&losses, &type);

	if (l && why < PK_NUM_LOSSES)
		l->count[why]++;
}

/*
 * The parts that cost the verifier most are global functions: it checks each of them once, instead of once per way that
 * leads to it. On 5.10 these take numbers only, so they are given the key of the scratch buffer, and tasks, files and
 * paths as addresses.
 */
static __always_inline struct pk_scratch *scratch_at(__u32 key)
{
	return bpf_map_lookup_elem(&scratch, &key);
}

/* scratch_get takes the first free scratch buffer of this CPU for a record about task; scratch_put gives it back. */
static __always_inline struct pk_scratch *scratch_get(__u32 type, struct task_struct *task)
{
	__u32 key = bpf_get_smp_processor_id() * PK_SCRATCH_PER_CPU;
	struct pk_scratch *s = bpf_map_lookup_elem(&scratch, &key);

	if (s && s->busy) {
		key++;
		s = bpf_map_lookup_elem(&scratch, &key);
	}
	if (!s || s->busy) {
		pk_count(type, PK_LOST_SCRATCH);
		return NULL;
	}
	s->busy = 1;
	s->key = key;
	s->task = (__u64)task;
	s->off = 0;
	return s;
}

static __always_inline void scratch_put(struct pk_scratch *s)
{
	s->busy = 0;
}

/* barrier_off keeps the compiler from proving a bound that the verifier then cannot see. */
#define barrier_off(x) asm volatile("" : "+r"(x))

/* fixed returns room for the fixed part of a record, which begins behind the header. */
static __always_inline void *fixed(struct pk_scratch *s, __u32 size)
{
	void *p = s->data + sizeof(struct pk_header);

	__builtin_memset(p, 0, size);
	s->off = sizeof(struct pk_header) + size;
	return p;
}

static __always_inline bool seg_open(struct pk_scratch *s, __u8 kind)
{
	__u32 off = s->off;
	struct pk_seg *g;

	barrier_off(off);
	if (off > PK_DATA_SIZE)
		return false;
	g = (struct pk_seg *)(s->data + off);
	g->kind = kind;
	g->flags = 0;
	g->len = 0;
	s->seg = off;
	s->off = off + sizeof(*g);
	return true;
}

static __always_inline void seg_close(struct pk_scratch *s, __u8 flags)
{
	__u32 seg = s->seg, off = s->off;
	struct pk_seg *g;

	barrier_off(seg);
	if (seg > PK_DATA_SIZE)
		return;
	g = (struct pk_seg *)(s->data + seg);
	g->flags = flags;
	g->len = off - seg - sizeof(*g);
}

/* submit hands the record to user space; it fills in the size. Above the reserve only lifecycle records go through. */
__noinline int submit(__u32 key, __u32 type, __u32 lifecycle)
{
	struct pk_scratch *s = scratch_at(key);
	__u64 avail, after, flags = BPF_RB_NO_WAKEUP;
	struct pk_header *h;
	__u32 len;

	if (!s)
		return 0;
	h = (struct pk_header *)s->data;
	len = s->off;
	barrier_off(len);
	if (len > PK_DATA_SIZE + PK_DATA_SLACK)
		return 0;
	h->size = len;
	avail = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	if (!lifecycle && avail > config.ring_reserve) {
		pk_count(type, PK_LOST_RESERVED);
		return 0;
	}
	/* A wake-up costs more than everything else here. User space drains on a timer while there is something; it is woken
	 * only by the first record after a pause, and each time that the fill crosses an eighth of the ring above the half. */
	after = avail + len;
	if (reader_asleep) {
		reader_asleep = 0;
		flags = BPF_RB_FORCE_WAKEUP;
	} else if (after >= config.ring_size / 2 && (avail / (config.ring_size / 8 + 1)) != (after / (config.ring_size / 8 + 1)))
		flags = BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_output(&events, s->data, len, flags))
		pk_count(type, PK_LOST_RING_FULL);
	return 0;
}

#endif
