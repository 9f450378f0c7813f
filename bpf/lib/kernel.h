/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_KERNEL_H
#define PICKET_KERNEL_H

/*
 * The kernel's types, as far as Picket reads them. Every access is relocated at load time (CO-RE), so members that the
 * running kernel has elsewhere, and members that are left out here, do no harm. What was renamed between 5.10 and today
 * has one flavour per form (name___old), chosen with bpf_core_field_exists().
 */

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2
#define BPF_RB_AVAIL_DATA 0

/* include/uapi: the few numbers that the programs decide by; the same on amd64 and arm64 unless said */
#define EPERM 1
#define EACCES 13
#define EINPROGRESS 115
#define AT_FDCWD (-100)
#define AT_REMOVEDIR 0x200
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPPROTO_HOPOPTS 0
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_DSTOPTS 60
#define AT_EMPTY_PATH 0x1000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFIFO 0010000
#define PROT_EXEC 0x4
#define VM_EXEC 0x4
#define MAP_ANONYMOUS 0x20
#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define PF_FORKNOEXEC 0x00000040
#define TS_COMPAT 0x0002      /* arch/x86/include/asm/thread_info.h */
#define TIF_32BIT_ARM64 22    /* arch/arm64/include/asm/thread_info.h */

struct seq_file;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10, r9, r8, cx, dx, si, di, bx, bp, orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
};
#else
#error "unknown target"
#endif

typedef struct { int counter; } atomic_t;
typedef struct { __u32 val; } kuid_t;
typedef struct { __u32 val; } kgid_t;
typedef struct seqcount { unsigned int sequence; } seqcount_t;
typedef struct seqcount_spinlock { seqcount_t seqcount; } seqcount_spinlock_t;
typedef __s64 time64_t;
struct timespec64 { time64_t tv_sec; long tv_nsec; };

struct hlist_bl_node { struct hlist_bl_node *next, **pprev; };
struct qstr { const unsigned char *name; };
struct inode;
struct dentry {
	seqcount_spinlock_t d_seq;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct file_system_type { const char *name; };
struct super_block { struct file_system_type *s_type; __u32 s_dev; unsigned long s_magic; };
struct inode {
	unsigned short i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	struct super_block *i_sb;
	unsigned long i_ino;
	/* 6.11 and later */
	time64_t i_atime_sec, i_mtime_sec, i_ctime_sec;
	__u32 i_atime_nsec, i_mtime_nsec, i_ctime_nsec;
};
struct inode___v67 { /* 6.7 to 6.10 */
	struct timespec64 __i_atime, __i_mtime, __i_ctime;
};
struct inode___v66 { /* 6.6: only ctime was renamed */
	struct timespec64 i_atime, i_mtime, __i_ctime;
};
struct inode___old {
	struct timespec64 i_atime, i_mtime, i_ctime;
};
struct rb_node { struct rb_node *rb_right, *rb_left; };
struct rb_root { struct rb_node *rb_node; };
struct list_head { struct list_head *next, *prev; };
struct vfsmount { struct dentry *mnt_root; };
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct rb_node mnt_node;
	int mnt_id;
};
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { struct path f_path; struct inode *f_inode; void *private_data; };
struct fs_struct { struct path root, pwd; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };

struct ns_common { unsigned int inum; };
struct mnt_namespace { struct ns_common ns; struct rb_root mounts; struct rb_node *mnt_last_node; };
struct mnt_namespace___v67 { struct list_head list; }; /* before 6.8 */
struct mount___v67 { struct list_head mnt_list; };
struct net { struct ns_common ns; };
struct xarray { void *xa_head; };
struct xa_node { unsigned char shift; void *slots[64]; };
struct idr { struct xarray idr_rt; };
struct pid_namespace { struct pid_namespace *parent; struct ns_common ns; struct idr idr; };
struct nsproxy { struct mnt_namespace *mnt_ns; struct net *net_ns; };
struct upid { int nr; struct pid_namespace *ns; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_head { struct hlist_node *first; };
struct pid { unsigned int level; struct hlist_head tasks[4]; struct upid numbers[1]; };

typedef struct { __u64 val; } kernel_cap_t;
struct kernel_cap_struct___old { __u32 cap[2]; };
struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
	kuid_t fsuid;
	kgid_t fsgid;
	kernel_cap_t cap_permitted, cap_effective;
};
struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
};
struct vm_area_struct { unsigned long vm_start, vm_end, vm_flags; };
struct mm_struct___v60 { struct rb_root mm_rb; }; /* before 6.1 */
struct vm_area_struct___v60 { struct rb_node vm_rb; };

struct pipe_buffer { unsigned int flags; };
struct pipe_inode_info { unsigned int head, ring_size; struct pipe_buffer *bufs; };

struct bpf_prog_aux { __u32 id; char name[16]; };
enum bpf_prog_type { PK_PROG_TYPE };
enum bpf_attach_type { PK_ATTACH_TYPE };
enum bpf_map_type { PK_MAP_TYPE };
struct bpf_prog { enum bpf_prog_type type; enum bpf_attach_type expected_attach_type; __u8 tag[8]; struct bpf_prog_aux *aux; };
struct bpf_map { enum bpf_map_type map_type; __u32 id; char name[16]; };
struct module { char name[56]; };
struct tty_struct { char name[64]; };
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID };
struct signal_struct {
	atomic_t live;
	unsigned int flags;
	int group_exit_code;
	struct pid *pids[4];
	struct tty_struct *tty;
};
struct thread_info { unsigned long flags; __u32 status; };

struct kernfs_node { const char *name; __u64 id; struct kernfs_node *parent; };
struct kernfs_node___v615 { struct kernfs_node *__parent; };
struct cgroup;
struct cgroup_subsys_state { struct cgroup *cgroup; struct cgroup_subsys_state *parent; };
struct cgroup { struct cgroup_subsys_state self; struct kernfs_node *kn; };
struct css_set { struct cgroup_subsys_state *subsys[14]; struct cgroup *dfl_cgrp; };
enum cgroup_subsys_id { memory_cgrp_id = 4 };

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	struct mm_struct *mm;
	int exit_code;
	int pid, tgid;
	struct task_struct *real_parent, *group_leader;
	__u64 start_boottime;
	__u64 self_exec_id;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct pid *thread_pid;
	struct hlist_node pid_links[4];
	struct css_set *cgroups;
	kuid_t loginuid;
	unsigned int sessionid;
};

struct kernel_siginfo { int si_signo, si_errno, si_code; };

struct linux_binprm { struct file *file; const char *filename, *interp; };

typedef struct { struct net *net; } possible_net_t;
struct in6_addr { union { __u8 u6_addr8[16]; } in6_u; };
struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct socket;
struct sock { struct sock_common __sk_common; __u16 sk_type, sk_protocol; struct socket *sk_socket; };
struct socket { struct sock *sk; struct file *file; };
struct unix_address { int len; };
struct unix_sock { struct sock sk; struct unix_address *addr; };
struct net_device { char name[16]; int ifindex; possible_net_t nd_net; };
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned int len, data_len;
	__be16 protocol;
	__u16 network_header;
	unsigned char *head, *data;
};

struct bpf_iter_meta { struct seq_file *seq; __u64 session_id, seq_num; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };

#pragma clang attribute pop

#endif
