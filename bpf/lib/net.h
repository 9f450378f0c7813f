/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_NET_H
#define PICKET_NET_H

#include "syscall.h"

#define PK_SOCKADDR_MAX 128 /* sizeof(struct sockaddr_storage) */

#define PK_DNS_PORT 53
#define PK_SUN_PATH_MAX 110 /* sizeof(struct sockaddr_un) */

/* unix_name adds the address that an AF_UNIX socket is bound to. */
static __always_inline void unix_name(struct pk_scratch *s, struct sock *sk)
{
	struct unix_sock *u = (void *)sk;
	struct unix_address *addr;
	__u32 off, len;

	if (!bpf_core_field_exists(u->addr))
		return;
	addr = BPF_CORE_READ(u, addr);
	if (!addr || !seg_open(s, PK_SEG_SOCKADDR))
		return;
	len = BPF_CORE_READ(addr, len);
	off = s->off;
	barrier_off(off);
	barrier_off(len);
	if (off > PK_DATA_SIZE || len > PK_SUN_PATH_MAX)
		return;
	if (!bpf_probe_read_kernel(s->data + off, len, (void *)addr + bpf_core_type_size(struct unix_address)))
		s->off = off + len;
	seg_close(s, 0);
}

/* file_socket returns the socket behind an open file; NULL if it is none. */
static __always_inline struct socket *file_socket(struct file *f)
{
	struct inode *inode = BPF_CORE_READ(f, f_inode);

	if (!f || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	return BPF_CORE_READ(f, private_data);
}

/* add_socket adds the two ends of the socket as the kernel has them, which is what a finished call is about. */
static __always_inline struct pk_net *add_socket(struct pk_scratch *s, struct socket *socket)
{
	struct pk_net *n = fixed(s, sizeof(*n));
	struct sock *sk;

	if (!socket)
		return n;
	sk = BPF_CORE_READ(socket, sk);
	n->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	n->protocol = BPF_CORE_READ(sk, sk_protocol);
	n->sk_type = BPF_CORE_READ(sk, sk_type);
	if (n->family == AF_INET) {
		bpf_probe_read_kernel(n->saddr, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_probe_read_kernel(n->daddr, 4, &sk->__sk_common.skc_daddr);
	} else if (n->family == AF_INET6) {
		bpf_probe_read_kernel(n->saddr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(n->daddr, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		return n; /* others have no ports */
	}
	n->dport = BPF_CORE_READ(sk, __sk_common.skc_dport);
	n->sport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_num));
	return n;
}

/*
 * exit_socket ends a record about connect or bind: descriptor, address and its length are the first arguments. The address
 * that the process gave is all there is of a refused one. It is read at exit.
 */
__noinline int exit_socket(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct socket *socket;
	struct pk_net *n;
	struct file *f;
	__u64 inode;

	if (!s)
		return 0;
	f = task_file(s, s->args[0]);
	socket = f ? file_socket(f) : NULL;
	n = add_socket(s, socket);
	if (socket && config.types & (1ULL << PK_DNS) && n->dport == __builtin_bswap16(PK_DNS_PORT)) {
		inode = BPF_CORE_READ(f, f_inode, i_ino);
		bpf_map_update_elem(&dns_owners, &inode, s->data, BPF_ANY);
	}
	user_bytes(s, PK_SEG_SOCKADDR, s->args[1], (__u32)s->args[2], PK_SOCKADDR_MAX);
	return 1;
}

/* exit_accept ends a record about accept: the new socket, or of a refused call the one that listens. */
__noinline int exit_accept(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct socket *socket;
	struct pk_net *n;
	struct file *f;

	if (!s)
		return 0;
	f = task_file(s, s->ret >= 0 ? s->ret : s->args[0]);
	socket = f ? file_socket(f) : NULL;
	n = add_socket(s, socket);
	if (socket && n->family == AF_UNIX)
		unix_name(s, BPF_CORE_READ(socket, sk));
	return 1;
}

/* Numbers of socketcall(2), include/uapi/linux/net.h. */
#define SYS_BIND 2
#define SYS_CONNECT 3
#define SYS_ACCEPT 5
#define SYS_ACCEPT4 18

/* socketcall tells which call a socketcall is; PK_SYS_NONE if it is of no interest. */
static __always_inline __u32 socketcall(struct pt_regs *regs, __u32 *type)
{
#if defined(__TARGET_ARCH_x86)
	switch ((__u32)regs->bx) {
	case SYS_BIND:
		*type = PK_BIND;
		return PK_SYS_SOCK;
	case SYS_CONNECT:
		*type = PK_CONNECT;
		return PK_SYS_SOCK;
	case SYS_ACCEPT:
	case SYS_ACCEPT4:
		*type = PK_ACCEPT;
		return PK_SYS_ACCEPT;
	}
#endif
	return PK_SYS_NONE;
}

/* socketcall_args replaces the arguments by those that the second one points to. */
static __always_inline void socketcall_args(struct pk_scratch *s)
{
	__u32 a[3] = {};

	bpf_probe_read_user(a, sizeof(a), (void *)s->args[1]);
	s->args[0] = a[0];
	s->args[1] = a[1];
	s->args[2] = a[2];
}

#endif
