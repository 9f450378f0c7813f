/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_DNS_H
#define PICKET_DNS_H

#include "net.h"

/*
 * Queries to name servers, seen where a packet is handed to a device: the tracepoint net_dev_queue. Only as much of a packet
 * is understood here as it takes to know that it is one; the message itself is read in user space.
 */

#define PK_DNS_MAX 512       /* bytes of the message that are sent: the question comes first */
#define PK_IPV6_EXTENSIONS 4 /* headers before the transport header */
#define PK_OWNER_FDS 256     /* descriptors in which a process is searched for the socket */
#define PK_DUP_NS 10000000   /* a packet passes the devices that are stacked on each other within that time */
#define TCP_TIME_WAIT 6
#define TCP_NEW_SYN_RECV 12

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

extern int bpf_dynptr_from_skb(struct sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym __weak;

/* What was sent last on a CPU: the same packet comes again for a device below another one (VLAN, bond, bridge). */
struct pk_last_packet {
	__u64 skb, time;
	__u32 ifindex, id;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pk_last_packet);
} last_packet SEC(".maps");

struct pk_packet {
	__u64 payload;  /* address, if it is linear */
	__u32 offset;   /* of the payload from skb->data */
	__u32 len;      /* of the payload */
	__u32 linear;   /* bytes of it that are linear */
	struct pk_dns dns;
};

/* parse_packet understands the headers of a packet to port 53; false if it is something else. */
static __always_inline bool parse_packet(struct sk_buff *skb, struct pk_packet *p)
{
	__u64 head = (__u64)BPF_CORE_READ(skb, head), data = (__u64)BPF_CORE_READ(skb, data);
	__u64 ip = head + BPF_CORE_READ(skb, network_header), l4, payload;
	__u32 len = BPF_CORE_READ(skb, len), linear = len - BPF_CORE_READ(skb, data_len);
	__u16 protocol = __builtin_bswap16(BPF_CORE_READ(skb, protocol));
	__u8 h[40] = {}, next;
	__be16 ports[2] = {};
	__u64 end = data + len;

	if (protocol == ETH_P_IP) {
		if (bpf_probe_read_kernel(h, 20, (void *)ip))
			return false;
		if (((h[6] & 0x1f) | h[7]) != 0) /* a fragment that is not the first */
			return false;
		next = h[9];
		l4 = ip + (h[0] & 0xf) * 4;
		p->dns.family = AF_INET;
		__builtin_memcpy(p->dns.saddr, h + 12, 4);
		__builtin_memcpy(p->dns.daddr, h + 16, 4);
	} else if (protocol == ETH_P_IPV6) {
		if (bpf_probe_read_kernel(h, 40, (void *)ip))
			return false;
		next = h[6];
		l4 = ip + 40;
		p->dns.family = AF_INET6;
		__builtin_memcpy(p->dns.saddr, h + 8, 16);
		__builtin_memcpy(p->dns.daddr, h + 24, 16);
		for (int i = 0; i < PK_IPV6_EXTENSIONS; i++) {
			__u8 ext[2] = {};

			if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
				break;
			if (bpf_probe_read_kernel(ext, sizeof(ext), (void *)l4))
				return false;
			next = ext[0];
			l4 += (ext[1] + 1) * 8;
		}
	} else {
		return false;
	}
	if (next != IPPROTO_UDP && next != IPPROTO_TCP)
		return false;
	if (bpf_probe_read_kernel(ports, sizeof(ports), (void *)l4) || ports[1] != __builtin_bswap16(PK_DNS_PORT))
		return false;
	p->dns.sport = ports[0];
	p->dns.dport = ports[1];
	p->dns.protocol = next;
	if (next == IPPROTO_UDP) {
		payload = l4 + 8;
	} else {
		__u8 words = 0;

		bpf_probe_read_kernel(&words, 1, (void *)(l4 + 12));
		payload = l4 + (words >> 4) * 4;
	}
	if (payload < data || payload >= end)
		return false;
	p->payload = payload;
	p->offset = payload - data;
	p->len = end - payload;
	p->linear = p->offset < linear ? linear - p->offset : 0;
	p->dns.size = end - ip;
	p->dns.len = p->len;
	return true;
}

/* owns says whether the current process has a descriptor of the socket's file. */
static __always_inline bool owns(struct task_struct *task, struct file *file)
{
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **fds = BPF_CORE_READ(fdt, fd), *f;
	__u32 max = BPF_CORE_READ(fdt, max_fds);

	for (__u32 i = 0; i < PK_OWNER_FDS && i < max; i++) {
		f = NULL;
		bpf_probe_read_kernel(&f, sizeof(f), fds + i);
		if (f == file)
			return true;
	}
	return false;
}

/* seen_before says whether a device above has had the packet. */
static __always_inline bool seen_before(struct sk_buff *skb, __u32 ifindex, __u32 id)
{
	__u32 zero = 0;
	struct pk_last_packet *last = bpf_map_lookup_elem(&last_packet, &zero);
	__u64 now = bpf_ktime_get_boot_ns();
	bool again;

	if (!last)
		return false;
	again = last->skb == (__u64)skb && last->ifindex != ifindex && last->id == id && now - last->time < PK_DUP_NS;
	last->skb = (__u64)skb;
	last->time = now;
	last->ifindex = ifindex;
	last->id = id;
	return again;
}

/*
 * dns_header begins the record with the process that sent the packet. That is the current one if it holds the socket;
 * packets that waited, or are sent again, leave in the name of whoever runs, and then who connected the socket counts.
 */
__noinline int dns_header(__u32 key, __u64 sk_addr)
{
	struct pk_scratch *s = scratch_at(key);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct sock *sk = (void *)sk_addr;
	struct socket *socket;
	struct pk_header *h;
	struct file *file;
	__u64 inode;

	if (!s)
		return 0;
	socket = BPF_CORE_READ(sk, sk_socket);
	file = BPF_CORE_READ(socket, file);
	if (!socket || !file) {
		pk_count(PK_DNS, PK_LOST_OWNER);
		return 0;
	}
	if (owns((void *)s->task, file)) {
		if (pid_tgid >> 32 == config.self || !in_scope(s->task, pid_tgid >> 32))
			return 0;
		s->scope = 1;
		header(s, PK_DNS);
		return 1;
	}
	inode = BPF_CORE_READ(file, f_inode, i_ino);
	h = bpf_map_lookup_elem(&dns_owners, &inode);
	if (!h) {
		/* Nothing is lost to a scope that this is outside of; but who knows. */
		pk_count(PK_DNS, PK_LOST_OWNER);
		return 0;
	}
	bpf_probe_read_kernel(s->data, sizeof(*h), h);
	h = (struct pk_header *)s->data;
	h->type = PK_DNS;
	h->nr = 0;
	h->retval = 0;
	h->flags &= ~(PK_COMPAT | PK_EXIT_READ);
	h->time = bpf_ktime_get_boot_ns();
	s->off = sizeof(*h);
	return 1;
}

/* dns_fixed adds the fixed part and opens the segment of the message; it returns how many bytes go there. */
static __always_inline __u32 dns_fixed(struct pk_scratch *s, struct pk_packet *p)
{
	struct pk_dns *d = fixed(s, sizeof(*d));

	*d = p->dns;
	if (!seg_open(s, PK_SEG_DATA))
		return 0;
	return p->len > PK_DNS_MAX ? PK_DNS_MAX : p->len;
}

static __always_inline int on_packet(struct sk_buff *skb, bool dynptr)
{
	struct sock *sk = BPF_CORE_READ(skb, sk);
	struct pk_packet p = {};
	struct net_device *dev;
	struct pk_scratch *s;
	struct bpf_dynptr ptr;
	__u32 len, off, id = 0;
	__u8 state;
	long err;

	if (!sk) /* forwarded, or come out of another network namespace, where it was seen */
		return 0;
	if (!parse_packet(skb, &p))
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV) /* no whole sockets */
		return 0;
	dev = BPF_CORE_READ(skb, dev);
	p.dns.ifindex = BPF_CORE_READ(dev, ifindex);
	p.dns.netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	bpf_probe_read_kernel(p.dns.ifname, sizeof(p.dns.ifname), &dev->name);
	if (p.linear)
		bpf_probe_read_kernel(&id, sizeof(id), (void *)p.payload);
	if (seen_before(skb, p.dns.ifindex, id ^ p.dns.sport))
		return 0;
	s = scratch_get(PK_DNS, (struct task_struct *)bpf_get_current_task());
	if (!s)
		return 0;
	if (!dns_header(s->key, (__u64)sk))
		goto out;
	len = dns_fixed(s, &p);
	off = s->off;
	barrier_off(off);
	barrier_off(len);
	if (off > PK_DATA_SIZE || len == 0 || len > PK_DNS_MAX)
		goto out;
	if (p.linear >= len) {
		err = bpf_probe_read_kernel(s->data + off, len, (void *)p.payload);
	} else if (dynptr) { /* what TCP sends is in pages */
		err = bpf_dynptr_from_skb(skb, 0, &ptr);
		if (!err)
			err = bpf_dynptr_read(s->data + off, len, &ptr, p.offset, 0);
	} else {
		err = -1;
	}
	if (!err)
		s->off = off + len;
	seg_close(s, p.len > len ? PK_STR_TRUNCATED : err ? PK_STR_FAULT : 0);
	submit(s->key, PK_DNS, false);
out:
	scratch_put(s);
	return 0;
}

#endif
