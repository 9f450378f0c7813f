/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copyright The Picket Authors */
#ifndef PICKET_CRED_H
#define PICKET_CRED_H

#include "fileop.h"

/* enter_cred keeps the credentials that the task has before the call. */
__noinline int enter_cred(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct task_struct *task;
	const struct cred *cred;
	struct pk_creds *c;
	__u32 off;

	if (!s || !seg_open(s, PK_SEG_OLD))
		return 0;
	off = s->off;
	barrier_off(off);
	if (off > PK_DATA_SIZE)
		return 0;
	c = (struct pk_creds *)(s->data + off);
	task = TYPED(s->task, struct task_struct);
	cred = READ(task, cred);
	c->uid = READ(cred, uid.val);
	c->gid = READ(cred, gid.val);
	c->euid = READ(cred, euid.val);
	c->egid = READ(cred, egid.val);
	c->fsuid = READ(cred, fsuid.val);
	c->fsgid = READ(cred, fsgid.val);
	c->cap_effective = pk_caps(&cred->cap_effective);
	c->cap_permitted = pk_caps(&cred->cap_permitted);
	s->off = off + sizeof(*c);
	seg_close(s, 0);
	return 1;
}

/*
 * exit_cred says whether the credentials that the call is about are others now. The return value does not tell: setfsuid
 * returns the id before. What was not kept at entry is compared by user space.
 */
__noinline int exit_cred(__u32 key)
{
	struct pk_scratch *s = scratch_at(key);
	struct pk_header *h;
	struct pk_creds *c;

	if (!s)
		return 0;
	h = (struct pk_header *)s->data;
	if (!take_state(s, s->pid_tgid))
		return 1;
	c = (struct pk_creds *)(s->data + sizeof(*h) + sizeof(struct pk_seg));
	switch (h->type) {
	case PK_SETUID:
		return c->uid != h->uid || c->euid != h->euid || c->fsuid != h->fsuid;
	case PK_SETGID:
		return c->gid != h->gid || c->egid != h->egid || c->fsgid != h->fsgid;
	}
	return c->cap_effective != h->cap_effective || c->cap_permitted != h->cap_permitted;
}

#endif
