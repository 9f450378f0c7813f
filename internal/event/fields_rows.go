// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"strings"
)

// Objects that rows are read from.

func self(e *Event) *Event { return e }

func actor(e *Event) *Process { return e.Process.Process }

func createActor(e *Event) *Process {
	if e.Process.Process == nil {
		e.Process.Process = &Process{}
	}
	return e.Process.Process
}

func parent(e *Event) *Process {
	if e.Process.Parent != nil {
		return e.Process.Parent
	}
	if len(e.Process.Ancestors) > 0 {
		return e.Process.Ancestors[0]
	}
	return nil
}

func createParent(e *Event) *Process {
	if e.Process.Parent == nil {
		e.Process.Parent = &Process{}
	}
	return e.Process.Parent
}

func executable(p *Process) *File {
	if p == nil {
		return nil
	}
	return p.Executable
}

func createExecutable(p *Process) *File {
	if p.Executable == nil {
		p.Executable = &File{}
	}
	return p.Executable
}

func interpreter(p *Process) *File {
	if p == nil {
		return nil
	}
	return p.Interpreter
}

func createInterpreter(p *Process) *File {
	if p.Interpreter == nil {
		p.Interpreter = &File{}
	}
	return p.Interpreter
}

func eventFile(e *Event) *File {
	if e.File == nil {
		return nil
	}
	return &e.File.File
}

func createEventFile(e *Event) *File {
	if e.File == nil {
		e.File = &FileEvent{}
	}
	return &e.File.File
}

func destinationFile(e *Event) *File {
	if e.File == nil {
		return nil
	}
	return e.File.Destination
}

func createDestinationFile(e *Event) *File {
	createEventFile(e)
	if e.File.Destination == nil {
		e.File.Destination = &File{}
	}
	return e.File.Destination
}

func flatOfEvent(e *Event) **flatValues     { return &e.flat }
func flatOfProcess(p *Process) **flatValues { return &p.flat }
func flatOfFile(f *File) **flatValues       { return &f.flat }

// Checked narrowing, for flat events.

func narrow[T uint16 | uint32](dst *T, v int64) error {
	if v < 0 || v > int64(^T(0)) {
		return fmt.Errorf("%d is out of range, 0 to %d", v, ^T(0))
	}
	*dst = T(v)
	return nil
}

func unsigned(dst *uint64, v int64) error {
	if v < 0 {
		return fmt.Errorf("%d is out of range, 0 to %d", v, int64(math.MaxInt64))
	}
	*dst = uint64(v)
	return nil
}

// int64s is set for a member of 64 bits.
func int64s(dst *int64, v int64) error {
	*dst = v
	return nil
}

func setTime(dst *Time, v int64) error {
	*dst = Time(v)
	return nil
}

// Unavailable rows: nothing fills them yet, except flat events.

func noFileString(name string) row[File] {
	return row[File]{name: name, source: FieldUnavailable, s: func(f *File) string { return f.flat.string(name) }}
}

func noFileInt(name string) row[File] {
	return row[File]{name: name, source: FieldUnavailable, i: func(f *File) int64 { return f.flat.int(name) }}
}

func noFileBool(name string) row[File] {
	return row[File]{name: name, source: FieldUnavailable, b: func(f *File) bool { return f.flat.bool(name) }}
}

func noProcessString(name string) row[Process] {
	return row[Process]{name: name, source: FieldUnavailable, s: func(p *Process) string { return p.flat.string(name) }}
}

func noProcessInt(name string, ps ...prop) row[Process] {
	r := row[Process]{name: name, source: FieldUnavailable, i: func(p *Process) int64 { return p.flat.int(name) }}
	for _, p := range ps {
		r.prop |= p
	}
	return r
}

func noEventString(name string) row[Event] {
	return row[Event]{name: name, source: FieldUnavailable, s: func(e *Event) string { return e.flat.string(name) }}
}

func noEventInt(name string) row[Event] {
	return row[Event]{name: name, source: FieldUnavailable, i: func(e *Event) int64 { return e.flat.int(name) }}
}

// Permission bits of a mode, S_ISUID, S_ISGID and S_ISVTX included.
const rightsMask = 0o7777

func hasOwner(f *File) bool { return f.Has&HasOwner != 0 }
func hasMode(f *File) bool  { return f.Has&HasMode != 0 }

// fileRows are the fields of a file.
var fileRows = []row[File]{
	{
		name: "uid", source: FieldBody, has: hasOwner, i: func(f *File) int64 { return f.UID },
		setI: func(f *File, v int64) error { f.Has |= HasOwner; return int64s(&f.UID, v) },
	},
	{name: "user", source: FieldBody, has: hasOwner, s: func(f *File) string { return f.User }, setS: func(f *File, v string) { f.User = v }},
	{
		name: "gid", source: FieldBody, has: hasOwner, i: func(f *File) int64 { return f.GID },
		setI: func(f *File, v int64) error { f.Has |= HasOwner; return int64s(&f.GID, v) },
	},
	{name: "group", source: FieldBody, has: hasOwner, s: func(f *File) string { return f.Group }, setS: func(f *File, v string) { f.Group = v }},
	{
		name: "mode", source: FieldBody, has: hasMode, i: func(f *File) int64 { return int64(f.Mode) },
		setI: func(f *File, v int64) error { f.Has |= HasMode; return narrow(&f.Mode, v) },
	},
	{
		name: "rights", source: FieldDerived, has: hasMode,
		i: func(f *File) int64 {
			if v := f.flat.get("rights"); v != nil {
				return v.i
			}
			return int64(f.Mode & rightsMask)
		},
	},
	{
		name: "change_time", source: FieldBody, prop: propTimestamp, has: func(f *File) bool { return f.ChangeTime != 0 },
		i: func(f *File) int64 { return int64(f.ChangeTime) }, setI: func(f *File, v int64) error { return setTime(&f.ChangeTime, v) },
	},
	{
		name: "modification_time", source: FieldBody, prop: propTimestamp, has: func(f *File) bool { return f.ModificationTime != 0 },
		i: func(f *File) int64 { return int64(f.ModificationTime) }, setI: func(f *File, v int64) error { return setTime(&f.ModificationTime, v) },
	},
	{
		name: "inode", source: FieldBody, has: func(f *File) bool { return f.Has&HasInode != 0 },
		i: func(f *File) int64 { return int64(f.Inode) }, setI: func(f *File, v int64) error { f.Has |= HasInode; return unsigned(&f.Inode, v) },
	},
	{
		name: "mount_id", source: FieldBody, has: func(f *File) bool { return f.Has&HasMountID != 0 },
		i: func(f *File) int64 { return int64(f.MountID) }, setI: func(f *File, v int64) error { f.Has |= HasMountID; return narrow(&f.MountID, v) },
	},
	{
		name: "in_upper_layer", source: FieldBody, has: func(f *File) bool { return f.Has&HasUpperLayer != 0 },
		b: func(f *File) bool { return f.InUpperLayer }, setB: func(f *File, v bool) { f.Has |= HasUpperLayer; f.InUpperLayer = v },
	},
	{name: "path", source: FieldBody, prop: propPath, s: func(f *File) string { return f.Path }, setS: func(f *File, v string) { f.Path = v }},
	{
		name: "path.length", source: FieldDerived,
		i: func(f *File) int64 {
			if v := f.flat.get("path.length"); v != nil {
				return v.i
			}
			return int64(len(f.Path))
		},
	},
	{name: "name", source: FieldBody, s: func(f *File) string { return f.Name }, setS: func(f *File, v string) { f.Name = v }},
	{
		name: "name.length", source: FieldDerived,
		i: func(f *File) int64 {
			if v := f.flat.get("name.length"); v != nil {
				return v.i
			}
			return int64(len(f.Name))
		},
	},
	{
		name: "filesystem", source: FieldBody, has: func(f *File) bool { return f.Filesystem != "" },
		s: func(f *File) string { return f.Filesystem }, setS: func(f *File, v string) { f.Filesystem = v },
	},
	{name: "extension", source: FieldDerived, prop: propExtension, s: extension},
	noFileBool("mount_visible"),
	noFileBool("mount_detached"),
	{
		name: "package.name", source: FieldUnavailable, has: func(f *File) bool { return f.PackageName != "" },
		s: func(f *File) string { return f.PackageName }, setS: func(f *File, v string) { f.PackageName = v },
	},
	{
		name: "package.version", source: FieldUnavailable, has: func(f *File) bool { return f.PackageVersion != "" },
		s: func(f *File) string { return f.PackageVersion }, setS: func(f *File, v string) { f.PackageVersion = v },
	},
	noFileInt("package.epoch"),
	noFileString("package.release"),
	noFileString("package.source_version"),
	noFileInt("package.source_epoch"),
	noFileString("package.source_release"),
	{
		name: "hashes", source: FieldUnavailable, has: func(f *File) bool { return len(f.Hashes) > 0 },
		a: func(f *File) []string { return f.Hashes }, setA: func(f *File, v []string) { f.Hashes = v },
	},
}

// metadataRows say what is in an executable.
var metadataRows = []row[File]{
	noFileInt("size"), noFileInt("type"), noFileBool("is_executable"), noFileInt("architecture"), noFileInt("abi"),
	noFileBool("is_upx_packed"), noFileInt("compression"), noFileBool("is_garble_obfuscated"),
}

// extension is the part of the file's name from its last dot on, with the dot.
func extension(f *File) string {
	if v := f.flat.get("extension"); v != nil {
		return v.s
	}
	name := f.Name
	if name == "" {
		name = f.Path
	}
	return path.Ext(name)
}

// credential reads a member of the credentials, or of the process if it has none.
func credential(get func(*ProcessCredentials) *uint32, fallback func(*Process) *uint32) (i func(*Process) int64, set func(*Process, int64) error) {
	i = func(p *Process) int64 {
		if p.Credentials != nil {
			return int64(*get(p.Credentials))
		}
		return int64(*fallback(p))
	}
	set = func(p *Process, v int64) error { return narrow(get(createCredentials(p)), v) }
	return i, set
}

func credentialName(get func(*ProcessCredentials) *string, fallback func(*Process) *string) (s func(*Process) string, set func(*Process, string)) {
	s = func(p *Process) string {
		if p.Credentials != nil {
			return *get(p.Credentials)
		}
		return *fallback(p)
	}
	set = func(p *Process, v string) { *get(createCredentials(p)) = v }
	return s, set
}

func createCredentials(p *Process) *ProcessCredentials {
	if p.Credentials == nil {
		p.Credentials = &ProcessCredentials{}
	}
	return p.Credentials
}

func idRow(name string, get func(*ProcessCredentials) *uint32, fallback func(*Process) *uint32) row[Process] {
	i, set := credential(get, fallback)
	return row[Process]{name: name, source: FieldBody, need: NeedCredentials, i: i, setI: set}
}

func nameRow(name string, get func(*ProcessCredentials) *string, fallback func(*Process) *string) row[Process] {
	s, set := credentialName(get, fallback)
	return row[Process]{name: name, source: FieldBody, need: NeedCredentials, s: s, setS: set}
}

func uidOf(p *Process) *uint32   { return &p.UID }
func gidOf(p *Process) *uint32   { return &p.GID }
func userOf(p *Process) *string  { return &p.User }
func groupOf(p *Process) *string { return &p.Group }

func createSession(p *Process) *UserSessionContext {
	if p.UserSession == nil {
		p.UserSession = &UserSessionContext{}
	}
	return p.UserSession
}

func sessionRow(name string, get func(*UserSessionContext) *string) row[Process] {
	return row[Process]{
		name: name, source: FieldUnavailable, has: func(p *Process) bool { return p.UserSession != nil },
		s: func(p *Process) string {
			if p.UserSession == nil {
				return ""
			}
			return *get(p.UserSession)
		},
		setS: func(p *Process, v string) { *get(createSession(p)) = v },
	}
}

func createContainer(p *Process) *ContainerContext {
	if p.Container == nil {
		p.Container = &ContainerContext{}
	}
	return p.Container
}

// processRows are the fields of a process itself; its files are bound to fileRows.
var processRows = []row[Process]{
	{name: "pid", source: FieldBody, i: func(p *Process) int64 { return int64(p.PID) }, setI: func(p *Process, v int64) error { return narrow(&p.PID, v) }},
	{name: "tid", source: FieldBody, i: func(p *Process) int64 { return int64(p.TID) }, setI: func(p *Process, v int64) error { return narrow(&p.TID, v) }},
	{name: "ppid", source: FieldBody, i: func(p *Process) int64 { return int64(p.PPID) }, setI: func(p *Process, v int64) error { return narrow(&p.PPID, v) }},
	{
		name: "netns", source: FieldAttribute, has: func(p *Process) bool { return p.NetNS != 0 },
		i: func(p *Process) int64 { return int64(p.NetNS) }, setI: func(p *Process, v int64) error { return narrow(&p.NetNS, v) },
	},
	{
		name: "mntns", source: FieldAttribute, has: func(p *Process) bool { return p.MntNS != 0 },
		i: func(p *Process) int64 { return int64(p.MntNS) }, setI: func(p *Process, v int64) error { return narrow(&p.MntNS, v) },
	},
	{
		name: "sid", source: FieldAttribute, has: func(p *Process) bool { return p.SID != 0 },
		i: func(p *Process) int64 { return int64(p.SID) }, setI: func(p *Process, v int64) error { return narrow(&p.SID, v) },
	},
	{
		name: "auid", source: FieldAttribute,
		i: func(p *Process) int64 { return int64(p.AUID) }, setI: func(p *Process, v int64) error { return narrow(&p.AUID, v) },
	},
	{name: "is_kworker", source: FieldBody, b: func(p *Process) bool { return p.IsKworker }, setB: func(p *Process, v bool) { p.IsKworker = v }},
	{name: "is_thread", source: FieldBody, b: func(p *Process) bool { return p.IsThread }, setB: func(p *Process, v bool) { p.IsThread = v }},
	{
		name: "is_exec", source: FieldDerived,
		b: func(p *Process) bool {
			if p.flat != nil {
				if v := p.flat.get("is_exec"); v != nil {
					return v.b
				}
				return p.flat.has("is_thread") && !p.IsThread
			}
			return !p.IsThread && !p.IsKworker
		},
	},
	{
		name: "cgroup.id", source: FieldAttribute, has: func(p *Process) bool { return p.CgroupPath != "" },
		s: func(p *Process) string { return p.CgroupPath }, setS: func(p *Process, v string) { p.CgroupPath = v },
	},
	{
		name: "cgroup.file.inode", source: FieldAttribute, has: func(p *Process) bool { return p.CgroupID != 0 },
		i: func(p *Process) int64 { return int64(p.CgroupID) }, setI: func(p *Process, v int64) error { return unsigned(&p.CgroupID, v) },
	},
	noProcessInt("cgroup.file.mount_id"),
	noProcessInt("cgroup.version"),
	noProcessInt("cgroup.created_at", propTimestamp),
	{
		name: "container.id", source: FieldBody, need: NeedContainer,
		s: func(p *Process) string {
			if p.Container == nil {
				return ""
			}
			return p.Container.ID
		},
		setS: func(p *Process, v string) { createContainer(p).ID = v },
	},
	{
		name: "container.created_at", source: FieldBody, need: NeedContainer, prop: propTimestamp,
		i: func(p *Process) int64 {
			if p.Container == nil {
				return 0
			}
			return int64(p.Container.CreatedAt)
		},
		setI: func(p *Process, v int64) error { return setTime(&createContainer(p).CreatedAt, v) },
	},
	{name: "container.tags", source: FieldUnavailable, a: func(p *Process) []string { return p.flat.strings("container.tags") }},
	{name: "tty_name", source: FieldBody, s: func(p *Process) string { return p.TTY }, setS: func(p *Process, v string) { p.TTY = v }},
	{name: "comm", source: FieldBody, s: func(p *Process) string { return p.Comm }, setS: func(p *Process, v string) { p.Comm = v }},
	{
		name: "created_at", source: FieldDerived, prop: propTimestamp,
		i: func(p *Process) int64 {
			if p.ExecTime != 0 {
				return int64(p.ExecTime)
			}
			return int64(p.ForkTime)
		},
		setI: func(p *Process, v int64) error { return setTime(&p.ExecTime, v) },
	},
	noProcessInt("caps_attempted"),
	noProcessInt("caps_used"),
	sessionRow("user_session.k8s_username", func(u *UserSessionContext) *string { return &u.K8SUsername }),
	sessionRow("user_session.k8s_uid", func(u *UserSessionContext) *string { return &u.K8SUID }),
	{
		name: "user_session.k8s_groups", source: FieldUnavailable, has: func(p *Process) bool { return p.UserSession != nil },
		a: func(p *Process) []string {
			if p.UserSession == nil {
				return nil
			}
			return p.UserSession.K8SGroups
		},
		setA: func(p *Process, v []string) { createSession(p).K8SGroups = v },
	},
	noProcessString("user_session.ssh_username"),
	noProcessInt("user_session.ssh_port"),
	noProcessString("user_session.ssh_client_ip"),
	noProcessInt("user_session.ssh_auth_method"),
	noProcessString("user_session.ssh_public_key"),
	{name: "argv0", source: FieldBody, need: NeedArgs, s: func(p *Process) string { return p.Argv0 }, setS: func(p *Process, v string) { p.Argv0 = v }},
	{name: "argv", source: FieldBody, need: NeedArgs, a: func(p *Process) []string { return p.Args }, setA: func(p *Process, v []string) { p.Args = v }},
	{name: "args", source: FieldDerived, need: NeedArgs, s: func(p *Process) string { return p.derive().args }},
	{name: "args_flags", source: FieldDerived, need: NeedArgs, a: func(p *Process) []string { return p.derive().flags }},
	{name: "args_options", source: FieldDerived, need: NeedArgs, a: func(p *Process) []string { return p.derive().options }},
	{
		name: "args_truncated", source: FieldBody, need: NeedArgs,
		b: func(p *Process) bool { return p.ArgsTruncated }, setB: func(p *Process, v bool) { p.ArgsTruncated = v },
	},
	{name: "envp", source: FieldBody, need: NeedEnvs, a: func(p *Process) []string { return p.Envs }, setA: func(p *Process, v []string) { p.Envs = v }},
	{name: "envs", source: FieldDerived, need: NeedEnvs, a: func(p *Process) []string { return p.derive().envs }},
	{
		name: "envs_truncated", source: FieldBody, need: NeedEnvs,
		b: func(p *Process) bool { return p.EnvsTruncated }, setB: func(p *Process, v bool) { p.EnvsTruncated = v },
	},
	idRow("uid", func(c *ProcessCredentials) *uint32 { return &c.UID }, uidOf),
	idRow("gid", func(c *ProcessCredentials) *uint32 { return &c.GID }, gidOf),
	idRow("euid", func(c *ProcessCredentials) *uint32 { return &c.EUID }, uidOf),
	idRow("egid", func(c *ProcessCredentials) *uint32 { return &c.EGID }, gidOf),
	idRow("fsuid", func(c *ProcessCredentials) *uint32 { return &c.FSUID }, uidOf),
	idRow("fsgid", func(c *ProcessCredentials) *uint32 { return &c.FSGID }, gidOf),
	nameRow("user", func(c *ProcessCredentials) *string { return &c.User }, userOf),
	nameRow("group", func(c *ProcessCredentials) *string { return &c.Group }, groupOf),
	nameRow("euser", func(c *ProcessCredentials) *string { return &c.EUser }, userOf),
	nameRow("egroup", func(c *ProcessCredentials) *string { return &c.EGroup }, groupOf),
	nameRow("fsuser", func(c *ProcessCredentials) *string { return &c.FSUser }, userOf),
	nameRow("fsgroup", func(c *ProcessCredentials) *string { return &c.FSGroup }, groupOf),
	{
		name: "cap_effective", source: FieldBody, need: NeedCredentials,
		i: func(p *Process) int64 {
			if p.Credentials == nil {
				return 0
			}
			return int64(p.Credentials.CapEffective)
		},
		setI: func(p *Process, v int64) error { return unsigned((*uint64)(&createCredentials(p).CapEffective), v) },
	},
	{
		name: "cap_permitted", source: FieldBody, need: NeedCredentials,
		i: func(p *Process) int64 {
			if p.Credentials == nil {
				return 0
			}
			return int64(p.Credentials.CapPermitted)
		},
		setI: func(p *Process, v int64) error { return unsigned((*uint64)(&createCredentials(p).CapPermitted), v) },
	},
}

// derivedProcess holds what Args and Envs imply.
type derivedProcess struct {
	args           string
	flags, options []string
	envs           []string
}

// derive returns the derived forms, computed once per process.
func (p *Process) derive() *derivedProcess {
	if d := p.derived.Load(); d != nil {
		return d
	}
	d := &derivedProcess{
		args: strings.Join(p.Args, " "), flags: argsFlags(p.Args), options: argsOptions(p.Args), envs: envNames(p.Envs),
	}
	if p.flat != nil {
		if v := p.flat.get("args"); v != nil {
			d.args = v.s
		}
		if v := p.flat.get("args_flags"); v != nil {
			d.flags = v.a
		}
		if v := p.flat.get("args_options"); v != nil {
			d.options = v.a
		}
		if v := p.flat.get("envs"); v != nil {
			d.envs = v.a
		}
	}
	p.derived.Store(d) // whoever is first, the value is the same
	return d
}

// dashed returns an option's text after its one or two dashes; ok is false for an argument that is none.
func dashed(arg string) (name string, long, ok bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", false, false
	}
	name, long = strings.CutPrefix(arg[1:], "-")
	return name, long, name != ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// argsFlags lists the options without a value. A cluster such as -ln counts as l, n and ln, because nothing tells a
// cluster from a long option with one dash (java -version).
func argsFlags(args []string) []string {
	var flags []string
	for _, arg := range args {
		name, long, ok := dashed(arg)
		if !ok {
			continue
		}
		cluster := !long
		for i := 0; i < len(name) && cluster; i++ {
			cluster = isAlphanumeric(name[i])
		}
		if cluster {
			for i := range len(name) {
				flags = append(flags, name[i:i+1])
			}
		}
		if (len(name) > 1 || !cluster) && !strings.Contains(name, "=") {
			flags = append(flags, name)
		}
	}
	return flags
}

// argsOptions lists the options with a value as key=value: --k=v, or -k v where v does not begin with a dash.
func argsOptions(args []string) []string {
	var options []string
	for i := 0; i < len(args); i++ {
		name, _, ok := dashed(args[i])
		if !ok || !isAlphanumeric(name[0]) {
			continue
		}
		if strings.Contains(name, "=") {
			options = append(options, name)
		} else if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			options = append(options, name+"="+args[i+1])
			i++
		}
	}
	return options
}

func envNames(envs []string) []string {
	if len(envs) == 0 {
		return nil
	}
	names := make([]string, len(envs))
	for i, env := range envs {
		names[i], _, _ = strings.Cut(env, "=")
	}
	return names
}

// actorRows are the fields of the acting process that belong to the event: they replace those of processRows.
var actorRows = []row[Event]{
	{
		name: "tid", source: FieldBody,
		i: func(e *Event) int64 {
			if e.Process.ActorTID == 0 && e.Process.Process != nil {
				return int64(e.Process.TID)
			}
			return int64(e.Process.ActorTID)
		},
		setI: func(e *Event, v int64) error { return narrow(&e.Process.ActorTID, v) },
	},
	{
		name: "netns", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.NetNS != 0 },
		i: func(e *Event) int64 { return int64(e.Facts.NetNS) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.NetNS, v) },
	},
	{
		name: "mntns", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.MntNS != 0 },
		i: func(e *Event) int64 { return int64(e.Facts.MntNS) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.MntNS, v) },
	},
	{
		name: "sid", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.SID != 0 },
		i: func(e *Event) int64 { return int64(e.Facts.SID) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.SID, v) },
	},
	{
		name: "auid", source: FieldAttribute,
		i: func(e *Event) int64 { return int64(e.Facts.AUID) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.AUID, v) },
	},
	{
		name: "cgroup.id", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.CgroupPath != "" },
		s: func(e *Event) string { return e.Facts.CgroupPath }, setS: func(e *Event, v string) { e.Facts.CgroupPath = v },
	},
	{
		name: "cgroup.file.inode", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.CgroupID != 0 },
		i: func(e *Event) int64 { return int64(e.Facts.CgroupID) }, setI: func(e *Event, v int64) error { return unsigned(&e.Facts.CgroupID, v) },
	},
	{
		name: "container.id", source: FieldBody, need: NeedContainer,
		s: func(e *Event) string {
			if c := e.container(); c != nil {
				return c.ID
			}
			return ""
		},
		setS: func(e *Event, v string) { e.createContainer().ID = v },
	},
	{
		name: "container.created_at", source: FieldBody, need: NeedContainer, prop: propTimestamp,
		i: func(e *Event) int64 {
			if c := e.container(); c != nil {
				return int64(c.CreatedAt)
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return setTime(&e.createContainer().CreatedAt, v) },
	},
}

// container is the container of the acting process: the event repeats it at its root.
func (e *Event) container() *ContainerContext {
	if e.Container == nil && e.Process.Process != nil {
		return e.Process.Container
	}
	return e.Container
}

func (e *Event) createContainer() *ContainerContext {
	if e.Container == nil {
		e.Container = &ContainerContext{}
	}
	return e.Container
}

// fixed is a field that has one value for every event that Picket makes. A flat event starts without it.
func fixed(name, value string) row[Event] {
	return row[Event]{name: name, source: FieldDerived, s: func(e *Event) string {
		if e.flat != nil {
			return e.flat.string(name)
		}
		return value
	}}
}

// serviceVariables name the service that a process is part of.
var serviceVariables = []string{"DD_SERVICE=", "OTEL_SERVICE_NAME="}

// service is the service that the acting process says that it is part of.
func service(e *Event) string {
	if v := e.flat.get("event.service"); v != nil {
		return v.s
	}
	p := e.Process.Process
	if p == nil {
		return ""
	}
	for _, variable := range serviceVariables {
		for _, env := range p.Envs {
			if name, ok := strings.CutPrefix(env, variable); ok {
				return name
			}
		}
	}
	return ""
}

// commonRows are the fields of every event that are no process's.
var commonRows = []row[Event]{
	{name: "event.async", source: FieldBody, b: func(e *Event) bool { return e.Evt.Async }, setB: func(e *Event, v bool) { e.Evt.Async = v }},
	{
		name: "event.timestamp", source: FieldBody, prop: propTimestamp,
		i: func(e *Event) int64 { return int64(e.Date) }, setI: func(e *Event, v int64) error { return setTime(&e.Date, v) },
	},
	fixed("event.origin", "ebpf"),
	fixed("event.os", "linux"),
	fixed("event.source", "runtime"),
	noEventString("event.hostname"),
	{name: "event.service", source: FieldDerived, need: NeedProcess | NeedEnvs, s: service},
	noEventString("event.signature"),
	{name: "event.rule.tags", source: FieldUnavailable, a: func(e *Event) []string { return e.flat.strings("event.rule.tags") }},
}

var retvalRow = row[Event]{
	name: "retval", source: FieldAttribute, i: func(e *Event) int64 { return e.Facts.Retval },
	setI: func(e *Event, v int64) error {
		e.Evt.Outcome = OutcomeOf(e.Type, v)
		return int64s(&e.Facts.Retval, v)
	},
}

var flagsRow = row[Event]{
	name: "flags", source: FieldAttribute,
	i: func(e *Event) int64 { return int64(e.Facts.Flags) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.Flags, v) },
}

var syscallPathRow = row[Event]{
	name: "syscall.path", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.SyscallPath != "" },
	s: func(e *Event) string { return e.Facts.SyscallPath }, setS: func(e *Event, v string) { e.Facts.SyscallPath = v },
}

var syscallDestinationRow = row[Event]{
	name: "syscall.destination.path", source: FieldAttribute, has: func(e *Event) bool { return e.Facts.SyscallDestinationPath != "" },
	s: func(e *Event) string { return e.Facts.SyscallDestinationPath }, setS: func(e *Event, v string) { e.Facts.SyscallDestinationPath = v },
}

var syscallModeRow = row[Event]{
	name: "syscall.mode", source: FieldAttribute,
	i: func(e *Event) int64 { return int64(e.Facts.SyscallMode) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.SyscallMode, v) },
}

// syscallOf is an argument of the system call that another field holds too. A flat event gives each of its own.
func syscallOf(name string, read func(*Event) int64) row[Event] {
	return row[Event]{name: name, source: FieldDerived, i: func(e *Event) int64 {
		if e.flat != nil {
			return e.flat.int(name)
		}
		return read(e)
	}}
}

var syscallFlagsRow = syscallOf("syscall.flags", func(e *Event) int64 { return int64(e.Facts.Flags) })

func destinationID(get func(*File) int64) func(*Event) int64 {
	return func(e *Event) int64 {
		if f := destinationFile(e); f != nil {
			return get(f)
		}
		return 0
	}
}

// peer is the address that a connect, bind or accept is about. A flat event may give a network.
func peer(e *Event) netip.Prefix {
	if v := e.flat.get("addr.ip"); v != nil {
		return v.ip
	}
	a, _ := peerAddr(e)
	a = a.Unmap()
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func peerAddr(e *Event) (netip.Addr, uint16) {
	switch {
	case e.Connect != nil:
		return e.Connect.Addr.IP, e.Connect.Addr.Port
	case e.Bind != nil:
		return e.Bind.Addr.IP, e.Bind.Addr.Port
	case e.Accept != nil:
		return e.Accept.Addr.IP, e.Accept.Addr.Port
	case e.Type == TypeAccept && e.Network != nil: // who connected
		return e.Network.Source.IP, e.Network.Source.Port
	case e.Network != nil:
		return e.Network.Destination.IP, e.Network.Destination.Port
	}
	return netip.Addr{}, 0
}

func createPeer(e *Event) *IPPortFamily {
	if e.Type == TypeBind {
		if e.Bind == nil {
			e.Bind = &BindEvent{}
		}
		return &e.Bind.Addr
	}
	if e.Type == TypeAccept {
		if e.Accept == nil {
			e.Accept = &AcceptEvent{}
		}
		return &e.Accept.Addr
	}
	if e.Connect == nil {
		e.Connect = &ConnectEvent{}
	}
	return &e.Connect.Addr
}

// addrRows are the fields of a socket address.
var addrRows = []row[Event]{
	retvalRow,
	{name: "addr.ip", source: FieldBody, need: NeedNetwork, ip: peer},
	{
		name: "addr.port", source: FieldBody, need: NeedNetwork,
		i:    func(e *Event) int64 { _, port := peerAddr(e); return int64(port) },
		setI: func(e *Event, v int64) error { return narrow(&createPeer(e).Port, v) },
	},
	{
		name: "addr.is_public", source: FieldDerived, need: NeedNetwork,
		b: func(e *Event) bool {
			if v := e.flat.get("addr.is_public"); v != nil {
				return v.b
			}
			return isPublic(peer(e))
		},
	},
	{
		name: "addr.family", source: FieldAttribute,
		i: func(e *Event) int64 { return int64(e.Facts.SocketFamily) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.SocketFamily, v) },
	},
	{
		name: "protocol", source: FieldAttribute,
		i: func(e *Event) int64 { return int64(e.Facts.SocketProtocol) }, setI: func(e *Event, v int64) error { return narrow(&e.Facts.SocketProtocol, v) },
	},
}

// specialNetworks are the address blocks that are not globally reachable, by the IANA special-purpose registries,
// and multicast.
var specialNetworks = func() []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
		"::/128", "::1/128", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10", "ff00::/8",
	} {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}()

func isPublic(p netip.Prefix) bool {
	if !p.IsValid() {
		return false
	}
	for _, special := range specialNetworks {
		if special.Contains(p.Addr()) {
			return false
		}
	}
	return true
}

// eventRows are the fields of each event type, but for its file.
var eventRows = [NumTypes][]row[Event]{
	TypeExec: {syscallPathRow},
	TypeExit: {
		{
			name: "cause", source: FieldBody, need: NeedExit,
			i: func(e *Event) int64 {
				if e.Exit == nil {
					return 0
				}
				return exitCauses[e.Exit.Cause]
			},
			setI: func(e *Event, v int64) error {
				for name, n := range exitCauses {
					if n == v {
						createExit(e).Cause = name
						return nil
					}
				}
				return fmt.Errorf("%d is no exit cause", v)
			},
		},
		{
			name: "code", source: FieldBody, need: NeedExit,
			i: func(e *Event) int64 {
				if e.Exit == nil {
					return 0
				}
				return int64(e.Exit.Code)
			},
			setI: func(e *Event, v int64) error { return narrow(&createExit(e).Code, v) },
		},
	},
	TypeOpen:   {retvalRow, flagsRow, syscallPathRow, syscallFlagsRow, syscallModeRow},
	TypeUnlink: {retvalRow, flagsRow, syscallPathRow, syscallFlagsRow, noEventInt("syscall.dirfd")},
	TypeRmdir:  {retvalRow, syscallPathRow},
	TypeRename: {retvalRow, syscallPathRow, syscallDestinationRow},
	TypeMkdir:  {retvalRow, syscallPathRow, syscallModeRow},
	TypeChmod:  {retvalRow, syscallPathRow, syscallModeRow},
	TypeChown: {
		retvalRow, syscallPathRow,
		syscallOf("syscall.uid", destinationID(func(f *File) int64 { return f.UID })),
		syscallOf("syscall.gid", destinationID(func(f *File) int64 { return f.GID })),
	},
	TypeLink:    {retvalRow, syscallPathRow, syscallDestinationRow},
	TypeConnect: append(append([]row[Event]{}, hostnameRows...), addrRows...),
	TypeBind:    addrRows,
}

func createExit(e *Event) *ExitEvent {
	if e.Exit == nil {
		e.Exit = &ExitEvent{Cause: CauseExited}
	}
	return e.Exit
}

// exitCauses are the numbers of the exit causes as rules see them.
var exitCauses = map[string]int64{CauseExited: 0, CauseCoreDumped: 1, CauseSignaled: 2}

// LegacyNames returns the names of the first versions of the rule language, each with the field that it stands for.
func LegacyNames() map[string]string { return maps.Clone(legacyNames) }

// legacyNames maps names of the first SECL versions to those that replaced them.
var legacyNames = func() map[string]string {
	m := map[string]string{
		"chmod.mode": "chmod.file.destination.mode", "open.mode": "open.file.destination.mode",
		"mkdir.mode": "mkdir.file.destination.mode", "exec.name": "exec.comm", "exit.name": "exit.comm",
		"chown.uid": "chown.file.destination.uid", "chown.user": "chown.file.destination.user",
		"chown.gid": "chown.file.destination.gid", "chown.group": "chown.file.destination.group",
		"rename.old.filename": "rename.file.path", "rename.old.basename": "rename.file.name",
		"rename.new.filename": "rename.file.destination.path", "rename.new.basename": "rename.file.destination.name",
		"link.source.filename": "link.file.path", "link.source.basename": "link.file.name",
		"link.target.filename": "link.file.destination.path", "link.target.basename": "link.file.destination.name",
	}
	for _, t := range []string{"chmod", "chown", "open", "mkdir", "rmdir", "unlink", "exec", "process", "process.ancestors", "process.parent"} {
		m[t+".filename"] = t + ".file.path"
		m[t+".basename"] = t + ".file.name"
	}
	for _, p := range []string{"process", "process.ancestors", "process.parent"} {
		m[p+".name"] = p + ".comm"
	}
	return m
}()
