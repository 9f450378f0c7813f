/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_NET_H
#define PICKET_NET_H

#include "syscall.h"

#define PK_SOCKADDR_MAX 128 /* sizeof(struct sockaddr_storage) */

/*
 * add_socket adds the two ends of the socket as the kernel has them, which is what a finished bind or connect is about,
 * and the address that the process gave, which is all there is of a refused one. The address is read at exit.
 */
static __always_inline void add_socket(struct pk_scratch *s, __u32 fd, __u64 addr, __u64 len)
{
	struct pk_net *n = fixed(s, sizeof(*n));
	struct file *f = task_file(s, fd);
	struct socket *socket;
	struct inode *inode;
	struct sock *sk;

	if (f) {
		inode = BPF_CORE_READ(f, f_inode);
		if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFSOCK) {
			socket = BPF_CORE_READ(f, private_data);
			sk = BPF_CORE_READ(socket, sk);
			n->family = BPF_CORE_READ(sk, __sk_common.skc_family);
			n->protocol = BPF_CORE_READ(sk, sk_protocol);
			n->sk_type = BPF_CORE_READ(sk, sk_type);
			n->dport = BPF_CORE_READ(sk, __sk_common.skc_dport);
			n->sport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_num));
			if (n->family == AF_INET) {
				bpf_probe_read_kernel(n->saddr, 4, &sk->__sk_common.skc_rcv_saddr);
				bpf_probe_read_kernel(n->daddr, 4, &sk->__sk_common.skc_daddr);
			} else if (n->family == AF_INET6) {
				bpf_probe_read_kernel(n->saddr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
				bpf_probe_read_kernel(n->daddr, 16, &sk->__sk_common.skc_v6_daddr);
			}
		}
	}
	user_bytes(s, PK_SEG_SOCKADDR, addr, len, PK_SOCKADDR_MAX);
}

/* exit_socket ends a record about a socket: the address is argument path, its length argument mode. */
__noinline int exit_socket(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	const volatile struct pk_syscall *sc;

	if (!s)
		return 0;
	sc = row_of(s);
	if (!sc)
		return 0;
	add_socket(s, arg(s, sc->fd), arg(s, sc->path), arg(s, sc->mode));
	return 1;
}

#endif
