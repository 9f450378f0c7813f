// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the kernel side of Picket: C sources, the objects compiled from them, and the Go bindings.
//
// The objects are committed, so that building needs no compiler for BPF. `make generate` compiles them anew with clang 16.
package bpf

//go:generate go tool -modfile=../internal/tools/go.mod bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types -type pk_syscall -type pk_config -type pk_header -type pk_exec -type pk_fork -type pk_exit -type pk_file -type pk_fileop -type pk_net -type pk_creds -type pk_target -type pk_mem -type pk_bpf -type pk_splice -type pk_mount -type pk_dns -type pk_used -type pk_option -type pk_seg -type pk_type -type pk_header_flags -type pk_file_flags -type pk_seg_kind -type pk_seg_flags -type pk_loss -type pk_scope -type pk_syscall_kind Syscall syscall.bpf.c -- -Wall -Werror -mcpu=v3 -I.
//go:generate go tool -modfile=../internal/tools/go.mod bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types SyscallDirect syscall.bpf.c -- -Wall -Werror -mcpu=v3 -I. -DPK_DIRECT
//go:generate go tool -modfile=../internal/tools/go.mod bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types Probe probe.bpf.c -- -Wall -Werror -mcpu=v3 -I.
