/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_WIRE_H
#define PICKET_WIRE_H

/*
 * What the kernel side sends: records in the ring buffer, and the same records from the task iterator.
 *
 * A record is a pk_header, the fixed part of its type, then segments: a pk_seg and seg.len bytes, one after the other
 * and not aligned. Numbers are in the host's byte order. bpf2go makes the Go twins of these structs.
 */

/* The same numbers as event.Type in internal/event/types.go, up to PK_NUM_EVENTS; a test compares them. */
enum pk_type {
	PK_NONE = 0,
	PK_EXEC = 1,
	PK_FORK = 2,
	PK_EXIT = 3,
	PK_OPEN = 4,
	PK_UNLINK = 5,
	PK_RMDIR = 6,
	PK_RENAME = 7,
	PK_MKDIR = 8,
	PK_CHMOD = 9,
	PK_CHOWN = 10,
	PK_LINK = 11,
	PK_CONNECT = 12,
	PK_BIND = 13,
	PK_SYMLINK = 14,
	PK_UTIMES = 15,
	PK_SETXATTR = 16,
	PK_REMOVEXATTR = 17,
	PK_CHDIR = 18,
	PK_CHROOT = 19,
	PK_SPLICE = 20,
	PK_MOUNT = 21,
	PK_UMOUNT = 22,
	PK_SETUID = 23,
	PK_SETGID = 24,
	PK_CAPSET = 25,
	PK_SIGNAL = 26,
	PK_PTRACE = 27,
	PK_MMAP = 28,
	PK_MPROTECT = 29,
	PK_SYSCALLS = 30,
	PK_BPF = 31,
	PK_LOAD_MODULE = 32,
	PK_UNLOAD_MODULE = 33,
	PK_SELINUX = 34,
	PK_ACCEPT = 35,
	PK_DNS = 36,
	PK_NUM_EVENTS = 37,
	/* Records that are no event type of their own. */
	PK_EXEC_FAILED = 37, /* about the caller: what it asked for is in a pk_fileop */
	PK_IO_URING = 38,    /* a ring was made; no fixed part */
	PK_NUM_TYPES = 39,
};

enum pk_header_flags {
	PK_IN_SCOPE = 1 << 0, /* the actor is in scope; without it the record holds ids, comm and the executable's path only */
	PK_KTHREAD = 1 << 1,
	PK_COMPAT = 1 << 2,   /* a 32-bit task */
	PK_SNAPSHOT = 1 << 3, /* from the task iterator: the process was there before Picket */
	PK_FORKED = 1 << 5,   /* the process has executed nothing since its fork */
	PK_EXIT_READ = 1 << 4, /* user memory was read at the exit of the syscall: it was not resident at entry, or no place was left to keep it */
};

struct pk_header {
	__u32 size; /* bytes of the whole record */
	__u8 type;  /* enum pk_type */
	__u8 flags; /* enum pk_header_flags */
	__u16 nr;   /* number of the syscall, in the task's own table */
	__u64 time; /* boot clock, ns */
	__u64 id;   /* process id, see pk_process_id() */
	__u32 pid;  /* thread group id, in the initial pid namespace */
	__u32 tid;
	__s64 retval;
	__u32 uid, gid, euid, egid, fsuid, fsgid;
	__u64 cap_effective, cap_permitted;
	__u32 auid, sid;
	__u32 mntns, netns; /* inode numbers */
	__u64 cgroup;       /* id on the v2 hierarchy */
	char comm[16];
};

enum pk_file_flags {
	PK_FILE_VALID = 1 << 0,
	PK_FILE_DELETED = 1 << 1, /* no name left */
	PK_FILE_OVERLAY = 1 << 2, /* on overlayfs */
	PK_FILE_UPPER = 1 << 3,   /* and it is in the upper layer there */
};

/* Facts of an open file. Times are ns since the epoch. */
struct pk_file {
	__u64 inode;
	__s64 atime, mtime, ctime;
	__u32 mode, uid, gid; /* in the initial user namespace */
	__u32 mount_id;
	__u32 flags; /* enum pk_file_flags */
	__u32 dev;
	char fstype[16];
};

struct pk_exec {
	__u64 prev_id;   /* id of the image before the exec; 0 in a snapshot */
	__u64 parent_id; /* id of the parent process */
	__u64 start_time; /* boot clock, ns: when the process was forked */
	__u32 ppid;
	__u32 args_len, envs_len; /* bytes that the kernel holds; more than the segment has means truncated */
	__u32 reserved;
	struct pk_file exe; /* the file that runs: for a script its interpreter */
};

struct pk_fork {
	__u64 child_id;
	__u64 start_time;
	__u32 child_pid;
	__u32 child_flags; /* PK_KTHREAD */
};

struct pk_exit {
	__u32 code; /* as wait(2) has it: status << 8 | signal, 0x80 core dumped */
	__u32 reserved;
};

struct pk_fileop {
	struct pk_file file; /* of fd-based operations and successful opens */
	__u32 flags, mode, uid, gid;
};

/* Credentials before the call (PK_SEG_OLD); those after it are in the header. */
struct pk_creds {
	__u32 uid, gid, euid, egid, fsuid, fsgid;
	__u64 cap_effective, cap_permitted;
};

/* The area that an mprotect is about, before the call. */
struct pk_vma {
	__u64 start, end, flags;
};

/* signal and ptrace: what was done to another process. */
struct pk_target {
	__u64 id;      /* process id; 0 if the target is not known */
	__u64 address; /* ptrace */
	__u64 data;
	__u32 pid, tid; /* in the initial pid namespace; 0 if not known */
	__s32 given;   /* the pid as the caller gave it */
	__u32 request; /* number of the signal, or ptrace request */
};

/* mmap and mprotect. */
struct pk_mem {
	struct pk_file file;
	__u64 address, length, offset;
	__u64 vm_start, vm_end, vm_flags; /* mprotect: the area before the call; vm_end is 0 if it is not known */
	__u32 prot, flags;
};

struct pk_bpf {
	__u32 cmd;
	__u32 map_id, map_type;
	__u32 prog_id, prog_type, attach_type;
	__u32 insns; /* PROG_LOAD: number of instructions; PK_SEG_DATA has as many as fit */
	__u32 reserved;
	__u8 tag[8];
	char map_name[16], prog_name[16];
};

struct pk_splice {
	struct pk_file file; /* what is read from */
	__u32 entry_flags, exit_flags; /* PIPE_BUF_FLAG_* of the last buffer of the pipe that is written to */
	__u32 known; /* bit 0: entry_flags, bit 1: exit_flags */
	__u32 flags; /* SPLICE_F_* */
};

struct pk_mount {
	struct pk_file root; /* of the mount: a new one, or one that a descriptor is of */
	__u32 parent_id;     /* of that mount; 0: it is attached nowhere, or not known */
	__u32 flags;
	__u32 whole; /* 1: of a whole file system, 0: of a part */
	__u32 reserved;
};

/* syscalls: a process image used a syscall for the first time. */
struct pk_used {
	__s32 nr; /* as the task gave it; the header's is for those that a table has */
	__u32 reserved;
};

struct pk_dns {
	__u8 saddr[16], daddr[16]; /* IPv4 in the first four bytes */
	__be16 sport, dport;
	__u16 family, protocol;
	__u32 netns, ifindex;
	__u32 size; /* bytes of the packet */
	__u32 len;  /* bytes of what it carries, which can be more than is sent */
	char ifname[16];
};

struct pk_net {
	__u16 family, protocol, sk_type;
	__be16 sport, dport; /* network order */
	__u16 reserved[3];
	__u8 saddr[16], daddr[16]; /* IPv4 in the first four bytes */
};

/* Kinds of segments. The path of an operation is joined from base and string, unless a walk gives it exactly. */
enum pk_seg_kind {
	PK_SEG_PATH = 1,     /* walk: the file itself (exec: what runs) */
	PK_SEG_STRING = 2,   /* user string: first path */
	PK_SEG_STRING2 = 3,  /* user string: second path (rename, link) */
	PK_SEG_BASE = 4,     /* walk: directory that a relative first path starts from */
	PK_SEG_BASE2 = 5,
	PK_SEG_FILENAME = 6, /* exec: bprm->filename, the script or program as given */
	PK_SEG_ARGS = 7,     /* NUL-separated */
	PK_SEG_ENVS = 8,
	PK_SEG_TTY = 9,
	PK_SEG_CGROUP = 10,  /* walk: names of the cgroup */
	PK_SEG_SOCKADDR = 11, /* struct sockaddr as the process gave it */
	PK_SEG_OLD = 12,      /* state before the call: a struct pk_file of fd-based file operations, a struct pk_creds of setuid and its like */
	PK_SEG_NAME = 13,     /* user string that is no path: attribute, file system type, link target, module */
	PK_SEG_DATA = 14,     /* bytes: what the type needs more */
	PK_NUM_SEGS = 15,
};

/* A walk holds NUL-terminated names, leaf first. */
enum pk_seg_flags {
	PK_WALK_TRUNCATED = 1 << 0,   /* too many components or bytes */
	PK_WALK_RACED = 1 << 1,       /* renamed while walked, twice */
	PK_WALK_UNREACHABLE = 1 << 2, /* ended at a root that is not the task's */
	PK_WALK_DETACHED = 1 << 3,    /* no parent: memfd, pipe, socket; the one name is the file's own */
	PK_WALK_FAULT = 1 << 4,       /* kernel memory could not be read */
	PK_STR_FAULT = 1 << 5,        /* user memory could not be read */
	PK_STR_TRUNCATED = 1 << 6,
};

struct pk_seg {
	__u8 kind, flags;
	__u16 len;
};

/* Why something was lost. Counted per type and CPU in the map `losses`. */
enum pk_loss {
	PK_LOST_RING_FULL = 0, /* no room in the ring buffer */
	PK_LOST_RESERVED = 1,  /* only the room for lifecycle events was left */
	PK_LOST_SCRATCH = 2,   /* both scratch buffers of the CPU were in use */
	PK_LOST_SCOPE_FULL = 3, /* no place for a child in the map of the process trees: its activity is not seen */
	PK_LOST_OWNER = 4,     /* a packet of which it is not known which process sent it */
	PK_LOST_SET_FULL = 5,  /* no place for the set of syscalls that a process has used: calls, new ones or not, that were not looked at */
	PK_NOTE_STATE_FULL = 6, /* nothing lost: user memory had to be read at exit, because no place was left at entry */
	PK_NUM_LOSSES = 7,
};

/* One row of the syscall table: which event a syscall makes, and which argument is what; -1 is none. */
struct pk_syscall {
	__u8 type;
	__u8 kind; /* enum pk_syscall_kind */
	__u8 entry; /* something is kept at entry */
	__s8 dirfd, path, dirfd2, path2, flags, mode, uid, gid, fd;
	__s8 name; /* user string that is no path */
	__s8 data; /* user memory */
	__u8 data_size; /* bytes of it */
	__u8 pad;
	__u32 fixed_flags; /* flags that the syscall implies (creat, truncate, rmdir) */
};

enum pk_syscall_kind {
	PK_SYS_NONE = 0,
	PK_SYS_OPEN = 1,    /* returns a descriptor */
	PK_SYS_OPENAT2 = 2, /* flags and mode are in a struct open_how */
	PK_SYS_PATH = 3,    /* user strings are kept from entry to exit */
	PK_SYS_FD = 4,      /* exact: the operation names an open file */
	PK_SYS_SOCK = 5,
	PK_SYS_ACCEPT = 6,
	PK_SYS_EXEC = 7,    /* only when it fails */
	PK_SYS_CWD = 8,     /* chdir, chroot: what the task has afterwards is exact */
	PK_SYS_CRED = 9,
	PK_SYS_SIGNAL = 10, /* refused ones; those that are sent come from signal_generate */
	PK_SYS_PTRACE = 11,
	PK_SYS_MMAP = 12,
	PK_SYS_MPROTECT = 13,
	PK_SYS_BPF = 14,
	PK_SYS_MODULE = 15, /* data: what the kernel calls it */
	PK_SYS_SPLICE = 16,
	PK_SYS_MOUNT = 17,
	PK_SYS_WRITE = 18,  /* only to selinuxfs */
	PK_SYS_IO_URING = 19,
	PK_SYS_SOCKETCALL = 20, /* i386: bind, connect and accept by one number */
};

#define PK_MODULE_NAME 56 /* bytes with the NUL: MODULE_NAME_LEN of the kernel */

#define PK_MAX_SYSCALLS 512

/* Bits of pk_config.scope */
enum pk_scope {
	PK_SCOPE_TREES = 1 << 0,
	PK_SCOPE_CGROUPS = 1 << 1,
	PK_SCOPE_PIDNS = 1 << 2,
	PK_SCOPE_LISTS = 7,
	PK_SCOPE_CONTAINERS = 1 << 3, /* another mount namespace than the host's; user space decides by the container id */
	PK_SCOPE_CGROUP_V1 = 1 << 4,  /* cgroups are looked up on the memory hierarchy of v1 */
};

struct pk_config {
	__u64 types; /* bit per enum pk_type: user space wants it */
	__u32 scope; /* enum pk_scope */
	__u32 host_mntns;
	__u32 self; /* thread group id of the collector: its own activity is no event */
	__u32 options; /* enum pk_option */
	__u64 ring_size, ring_reserve; /* bytes; above ring_reserve only lifecycle records are submitted */
	__u64 rename_lock; /* address, 0 if unknown */
	__u64 errors[PK_NUM_TYPES][3]; /* bit per errno: opted in beside EACCES and EPERM */
};

/* Bits of pk_config.options */
enum pk_option {
	PK_ALL_MMAP = 1 << 0,     /* also mmap without PROT_EXEC */
	PK_ALL_MPROTECT = 1 << 1, /* also mprotect without PROT_EXEC before and after */
	PK_KERNEL_SIGNALS = 1 << 2, /* also signals that the kernel made */
};

#endif
