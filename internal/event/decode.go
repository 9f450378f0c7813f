// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-faster/jx"
)

// Bounds of what is read of a body, which may come from the network.
const (
	maxAncestors = 1024
	maxStrings   = 4096 // elements of an array of strings
)

// Decoder reads CSM Threats JSON back into the model. It may be reused, but not by two goroutines at once.
type Decoder struct {
	dec  jx.Decoder
	need Need
}

var errTooLong = errors.New("array is too long")

// Decode reads an event's or a detection's body, as far as need asks for it, and replaces all of e. Members that are not
// known are skipped. What is read does not alias body.
func (d *Decoder) Decode(body []byte, need Need, e *Event) error {
	*e = Event{}
	d.need = need
	d.dec.ResetBytes(body)
	if err := d.event(e); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if p := &e.Process; p.Process != nil {
		inheritArgs(p.Process, p.Ancestors)
		for i, a := range p.Ancestors {
			inheritArgs(a, p.Ancestors[i+1:])
		}
		if p.Parent != nil {
			inheritArgs(p.Parent, p.Ancestors[min(1, len(p.Ancestors)):])
		}
	}
	return nil
}

// inheritArgs gives a forked child the arguments that the encoder left to the next entry that has them.
func inheritArgs(p *Process, next []*Process) {
	if !p.IsThread || p.Argv0 != "" || len(p.Args) > 0 || len(p.Envs) > 0 {
		return
	}
	for _, n := range next {
		if n.Argv0 != "" || len(n.Args) > 0 || len(n.Envs) > 0 || !n.IsThread {
			p.Argv0, p.Args, p.ArgsTruncated, p.Envs, p.EnvsTruncated = n.Argv0, n.Args, n.ArgsTruncated, n.Envs, n.EnvsTruncated
			return
		}
	}
}

func (d *Decoder) wants(n Need) bool { return d.need&n != 0 }

// object reads an object member by member. A null is an empty object.
func (d *Decoder) object(member func(key []byte) error) error {
	if d.dec.Next() == jx.Null {
		return d.dec.Null()
	}
	return d.dec.ObjBytes(func(_ *jx.Decoder, key []byte) error {
		if err := member(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

func (d *Decoder) array(element func() error) error {
	if d.dec.Next() == jx.Null {
		return d.dec.Null()
	}
	return d.dec.Arr(func(*jx.Decoder) error { return element() })
}

func (d *Decoder) str(v *string) error {
	if d.dec.Next() == jx.Null {
		return d.dec.Null()
	}
	s, err := d.dec.Str()
	*v = Unescape(s)
	return err
}

func (d *Decoder) strs(v *[]string) error {
	return d.array(func() error {
		if len(*v) == maxStrings {
			return errTooLong
		}
		var s string
		err := d.str(&s)
		*v = append(*v, s)
		return err
	})
}

func (d *Decoder) boolean(v *bool) (err error) {
	*v, err = d.dec.Bool()
	return err
}

func (d *Decoder) u64(v *uint64) (err error) {
	*v, err = d.dec.UInt64()
	return err
}

func (d *Decoder) u32(v *uint32) (err error) {
	*v, err = d.dec.UInt32()
	return err
}

func (d *Decoder) u16(v *uint16) (err error) {
	*v, err = d.dec.UInt16()
	return err
}

func (d *Decoder) time(v *Time) error {
	s, err := d.dec.Str()
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return err
	}
	*v = Time(t.UnixNano())
	return nil
}

func (d *Decoder) caps(v *CapSet) error {
	return d.array(func() error {
		s, err := d.dec.Str()
		if err != nil {
			return err
		}
		if n, ok := capNumbers[s]; ok {
			*v |= 1 << n
			return nil
		}
		// bits without a name: one decimal number
		n, err := jx.DecodeStr(s).UInt64()
		*v |= CapSet(n)
		return err
	})
}

func (d *Decoder) addr(v *netip.Addr) error {
	s, err := d.dec.Str()
	if err != nil || s == "" {
		return err
	}
	*v, err = netip.ParseAddr(s)
	return err
}

func (d *Decoder) event(e *Event) error {
	return d.object(func(key []byte) (err error) {
		switch string(key) {
		case "evt":
			return d.evt(e)
		case "date":
			return d.time(&e.Date)
		case "file":
			if d.wants(NeedFile) {
				e.File = &FileEvent{}
				return d.fileEvent(e.File)
			}
		case "exit":
			if d.wants(NeedExit) {
				e.Exit = &ExitEvent{}
				return d.object(func(key []byte) error {
					switch string(key) {
					case "cause":
						return d.str(&e.Exit.Cause)
					case "code":
						return d.u32(&e.Exit.Code)
					}
					return d.dec.Skip()
				})
			}
		case "process":
			if d.need&(NeedProcess|NeedArgs|NeedEnvs|NeedExecutable|NeedCredentials|NeedParent|NeedAncestors) != 0 {
				return d.processContext(&e.Process)
			}
		case "container":
			if d.wants(NeedContainer) {
				e.Container = &ContainerContext{}
				return d.container(e.Container)
			}
		case "network":
			if d.wants(NeedNetwork) {
				e.Network = &NetworkContext{}
				return d.network(e.Network)
			}
		case "bind":
			if d.wants(NeedNetwork) {
				e.Bind = &BindEvent{}
				return d.object(func(key []byte) error {
					if string(key) == "addr" {
						return d.ipPortFamily(&e.Bind.Addr)
					}
					return d.dec.Skip()
				})
			}
		case "connect":
			e.Extended = true
			if d.wants(NeedNetwork) {
				e.Connect = &ConnectEvent{}
				return d.object(func(key []byte) error {
					switch string(key) {
					case "addr":
						return d.ipPortFamily(&e.Connect.Addr)
					case "protocol":
						return d.str(&e.Connect.Protocol)
					}
					return d.dec.Skip()
				})
			}
		case "usr":
			if d.wants(NeedOther) {
				e.Usr = &UserContext{}
				return d.object(func(key []byte) error {
					switch string(key) {
					case "id":
						return d.str(&e.Usr.ID)
					case "group":
						return d.str(&e.Usr.Group)
					}
					return d.dec.Skip()
				})
			}
		default:
			if d.wants(NeedOther) {
				return d.rare(e, string(key))
			}
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) evt(e *Event) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "name":
			s, err := d.dec.Str()
			if err != nil {
				return err
			}
			e.Type, _ = TypeByName(s)
			return nil
		case "outcome":
			s, err := d.dec.Str()
			if err != nil {
				return err
			}
			e.Evt.Outcome, err = ParseOutcome(s)
			return err
		case "async":
			return d.boolean(&e.Evt.Async)
		case "matched_rules":
			return d.array(func() error {
				if len(e.Evt.MatchedRules) == maxStrings {
					return errTooLong
				}
				e.Evt.MatchedRules = append(e.Evt.MatchedRules, MatchedRule{})
				r := &e.Evt.MatchedRules[len(e.Evt.MatchedRules)-1]
				return d.object(func(key []byte) error {
					switch string(key) {
					case "id":
						return d.str(&r.ID)
					case "version":
						return d.str(&r.Version)
					case "tags":
						return d.strs(&r.Tags)
					case "policy_name":
						return d.str(&r.PolicyName)
					case "policy_version":
						return d.str(&r.PolicyVersion)
					}
					return d.dec.Skip()
				})
			})
		}
		return d.dec.Skip()
	})
}

// fileMember reads one member of a File; false if it has none of that name.
func (d *Decoder) fileMember(f *File, key []byte) (bool, error) {
	switch string(key) {
	case "path":
		return true, d.str(&f.Path)
	case "name":
		return true, d.str(&f.Name)
	case "path_resolution_error":
		return true, d.str(&f.PathResolutionError)
	case "inode":
		f.Has |= HasInode
		return true, d.u64(&f.Inode)
	case "mode":
		f.Has |= HasMode
		return true, d.u32(&f.Mode)
	case "in_upper_layer":
		f.Has |= HasUpperLayer
		return true, d.boolean(&f.InUpperLayer)
	case "mount_id":
		f.Has |= HasMountID
		return true, d.u32(&f.MountID)
	case "filesystem":
		return true, d.str(&f.Filesystem)
	case "uid":
		v, err := d.dec.Int64()
		f.UID = v
		return true, err
	case "gid":
		v, err := d.dec.Int64()
		f.GID = v
		return true, err
	case "user":
		return true, d.str(&f.User)
	case "group":
		return true, d.str(&f.Group)
	case "attribute_name":
		return true, d.str(&f.AttributeName)
	case "attribute_namespace":
		return true, d.str(&f.AttributeNamespace)
	case "flags":
		return true, d.strs(&f.Flags)
	case "access_time":
		return true, d.time(&f.AccessTime)
	case "modification_time":
		return true, d.time(&f.ModificationTime)
	case "change_time":
		return true, d.time(&f.ChangeTime)
	case "package_name":
		return true, d.str(&f.PackageName)
	case "package_version":
		return true, d.str(&f.PackageVersion)
	case "hashes":
		return true, d.strs(&f.Hashes)
	case "hash_state":
		return true, d.str(&f.HashState)
	}
	return false, nil
}

// owned marks the owner of a file as known. The schema requires uid and gid, so they say 0 also where nothing is known: then
// there is no inode, nor another owner than root.
func (f *File) owned() {
	if f.Has&HasInode != 0 || f.UID != 0 || f.GID != 0 || f.User != "" || f.Group != "" {
		f.Has |= HasOwner
	}
}

func (d *Decoder) file(f *File) error {
	defer f.owned()
	return d.object(func(key []byte) error {
		if known, err := d.fileMember(f, key); known {
			return err
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) fileEvent(f *FileEvent) error {
	defer f.owned()
	return d.object(func(key []byte) error {
		if known, err := d.fileMember(&f.File, key); known {
			return err
		}
		switch string(key) {
		case "destination":
			f.Destination = &File{}
			return d.file(f.Destination)
		case "new_mount_id":
			f.Has |= HasNewMountID
			return d.u32(&f.NewMountID)
		case "device":
			f.Has |= HasDevice
			return d.u32(&f.Device)
		case "fstype":
			return d.str(&f.FSType)
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) container(c *ContainerContext) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "id":
			return d.str(&c.ID)
		case "created_at":
			return d.time(&c.CreatedAt)
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) credentials(c *ProcessCredentials) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "uid":
			return d.u32(&c.UID)
		case "user":
			return d.str(&c.User)
		case "gid":
			return d.u32(&c.GID)
		case "group":
			return d.str(&c.Group)
		case "euid":
			return d.u32(&c.EUID)
		case "euser":
			return d.str(&c.EUser)
		case "egid":
			return d.u32(&c.EGID)
		case "egroup":
			return d.str(&c.EGroup)
		case "fsuid":
			return d.u32(&c.FSUID)
		case "fsuser":
			return d.str(&c.FSUser)
		case "fsgid":
			return d.u32(&c.FSGID)
		case "fsgroup":
			return d.str(&c.FSGroup)
		case "cap_effective":
			return d.caps(&c.CapEffective)
		case "cap_permitted":
			return d.caps(&c.CapPermitted)
		case "destination":
			c.Destination = &CredentialsDestination{}
			return d.credentialsDestination(c.Destination)
		}
		return d.dec.Skip()
	})
}

// credentialsDestination finds the kind by the members that are there.
func (d *Decoder) credentialsDestination(c *CredentialsDestination) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "uid":
			c.Kind = CredentialsSetUID
			return d.u32(&c.UID)
		case "euid":
			return d.u32(&c.EUID)
		case "fsuid":
			return d.u32(&c.FSUID)
		case "user":
			return d.str(&c.User)
		case "euser":
			return d.str(&c.EUser)
		case "fsuser":
			return d.str(&c.FSUser)
		case "gid":
			c.Kind = CredentialsSetGID
			return d.u32(&c.UID)
		case "egid":
			return d.u32(&c.EUID)
		case "fsgid":
			return d.u32(&c.FSUID)
		case "group":
			return d.str(&c.User)
		case "egroup":
			return d.str(&c.EUser)
		case "fsgroup":
			return d.str(&c.FSUser)
		case "cap_effective":
			c.Kind = CredentialsCapset
			return d.caps(&c.CapEffective)
		case "cap_permitted":
			return d.caps(&c.CapPermitted)
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) userSession(u *UserSessionContext) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "id":
			return d.str(&u.ID)
		case "session_type":
			return d.str(&u.SessionType)
		case "k8s_username":
			return d.str(&u.K8SUsername)
		case "k8s_uid":
			return d.str(&u.K8SUID)
		case "k8s_groups":
			return d.strs(&u.K8SGroups)
		case "k8s_extra":
			u.K8SExtra = map[string][]string{}
			return d.object(func(key []byte) error {
				if len(u.K8SExtra) == maxStrings {
					return errTooLong
				}
				name := Unescape(string(key))
				var v []string
				err := d.strs(&v)
				u.K8SExtra[name] = v
				return err
			})
		}
		return d.dec.Skip()
	})
}

// processMember reads one member of a Process; false if it has none of that name.
func (d *Decoder) processMember(p *Process, key []byte) (bool, error) {
	skip := func(n Need, read func() error) (bool, error) {
		if d.wants(n) {
			return true, read()
		}
		return true, d.dec.Skip()
	}
	switch string(key) {
	case "pid":
		return true, d.u32(&p.PID)
	case "ppid":
		return true, d.u32(&p.PPID)
	case "tid":
		return true, d.u32(&p.TID)
	case "uid":
		return true, d.u32(&p.UID)
	case "gid":
		return true, d.u32(&p.GID)
	case "user":
		return true, d.str(&p.User)
	case "group":
		return true, d.str(&p.Group)
	case "path_resolution_error":
		return true, d.str(&p.PathResolutionError)
	case "comm":
		return true, d.str(&p.Comm)
	case "tty":
		return true, d.str(&p.TTY)
	case "fork_time":
		return true, d.time(&p.ForkTime)
	case "exec_time":
		return true, d.time(&p.ExecTime)
	case "exit_time":
		return true, d.time(&p.ExitTime)
	case "credentials":
		return skip(NeedCredentials, func() error {
			p.Credentials = &ProcessCredentials{}
			return d.credentials(p.Credentials)
		})
	case "user_session":
		return skip(NeedProcess, func() error {
			p.UserSession = &UserSessionContext{}
			return d.userSession(p.UserSession)
		})
	case "executable":
		return skip(NeedExecutable, func() error {
			p.Executable = &File{}
			return d.file(p.Executable)
		})
	case "interpreter":
		return skip(NeedExecutable, func() error {
			p.Interpreter = &File{}
			return d.file(p.Interpreter)
		})
	case "container":
		return skip(NeedContainer|NeedProcess, func() error {
			p.Container = &ContainerContext{}
			return d.container(p.Container)
		})
	case "argv0":
		return skip(NeedArgs, func() error { return d.str(&p.Argv0) })
	case "args":
		return skip(NeedArgs, func() error { return d.strs(&p.Args) })
	case "args_truncated":
		return true, d.boolean(&p.ArgsTruncated)
	case "envs":
		return skip(NeedEnvs, func() error { return d.strs(&p.Envs) })
	case "envs_truncated":
		return true, d.boolean(&p.EnvsTruncated)
	case "is_thread":
		return true, d.boolean(&p.IsThread)
	case "is_kworker":
		return true, d.boolean(&p.IsKworker)
	case "is_exec_child":
		return true, d.boolean(&p.IsExecChild)
	case "source":
		return true, d.str(&p.Source)
	}
	return false, nil
}

func (d *Decoder) process(p *Process) error {
	return d.object(func(key []byte) error {
		if known, err := d.processMember(p, key); known {
			return err
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) processContext(c *ProcessContext) error {
	c.Process = &Process{}
	// A forked child may have left its arguments to an ancestor.
	lineage := d.wants(NeedAncestors | NeedArgs | NeedEnvs)
	err := d.object(func(key []byte) error {
		if known, err := d.processMember(c.Process, key); known {
			return err
		}
		switch {
		case string(key) == "parent" && d.wants(NeedParent):
			c.Parent = &Process{}
			return d.process(c.Parent)
		case string(key) == "ancestors" && lineage:
			return d.array(func() error {
				if len(c.Ancestors) == maxAncestors {
					return errTooLong
				}
				p := &Process{}
				c.Ancestors = append(c.Ancestors, p)
				return d.process(p)
			})
		}
		return d.dec.Skip()
	})
	c.ActorTID = c.Process.TID
	return err
}

func (d *Decoder) ipPort(p *IPPort) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "ip":
			return d.addr(&p.IP)
		case "port":
			return d.u16(&p.Port)
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) ipPortFamily(p *IPPortFamily) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "family":
			return d.str(&p.Family)
		case "ip":
			return d.addr(&p.IP)
		case "port":
			return d.u16(&p.Port)
		}
		return d.dec.Skip()
	})
}

func (d *Decoder) network(n *NetworkContext) error {
	return d.object(func(key []byte) error {
		switch string(key) {
		case "device":
			n.Device = &NetworkDevice{}
			return d.object(func(key []byte) error {
				switch string(key) {
				case "netns":
					return d.u32(&n.Device.NetNS)
				case "ifindex":
					return d.u32(&n.Device.IfIndex)
				case "ifname":
					return d.str(&n.Device.IfName)
				}
				return d.dec.Skip()
			})
		case "l3_protocol":
			return d.str(&n.L3Protocol)
		case "l4_protocol":
			return d.str(&n.L4Protocol)
		case "source":
			return d.ipPort(&n.Source)
		case "destination":
			return d.ipPort(&n.Destination)
		case "size":
			return d.u32(&n.Size)
		}
		return d.dec.Skip()
	})
}

// members reads an object whose members are given by name; others are skipped.
func (d *Decoder) members(table map[string]func() error) error {
	return d.object(func(key []byte) error {
		if read, ok := table[string(key)]; ok {
			return read()
		}
		return d.dec.Skip()
	})
}

// rare reads the members that only few types of events have, and no rule of today does.
func (d *Decoder) rare(e *Event, key string) error {
	str := func(v *string) func() error { return func() error { return d.str(v) } }
	strs := func(v *[]string) func() error { return func() error { return d.strs(v) } }
	boolean := func(v *bool) func() error { return func() error { return d.boolean(v) } }
	u16 := func(v *uint16) func() error { return func() error { return d.u16(v) } }
	u32 := func(v *uint32) func() error { return func() error { return d.u32(v) } }
	u64 := func(v *uint64) func() error { return func() error { return d.u64(v) } }
	type table = map[string]func() error

	switch key {
	case "dd":
		e.DD = &DDContext{}
		return d.members(table{"span_id": u64(&e.DD.SpanID), "trace_id": u64(&e.DD.TraceID)})
	case "security_profile":
		s := &SecurityProfileContext{}
		e.SecurityProfile = s
		return d.members(table{"name": str(&s.Name), "status": str(&s.Status), "version": str(&s.Version), "tags": strs(&s.Tags)})
	case "selinux":
		s := &SELinuxEvent{}
		e.SELinux = s
		return d.members(table{
			"bool": func() error {
				s.Bool = &SELinuxBoolChange{}
				return d.members(table{"name": str(&s.Bool.Name), "state": str(&s.Bool.State)})
			},
			"enforce": func() error {
				s.Enforce = &SELinuxEnforceStatus{}
				return d.members(table{"status": str(&s.Enforce.Status)})
			},
			"bool_commit": func() error {
				s.BoolCommit = &SELinuxBoolCommit{}
				return d.members(table{"state": boolean(&s.BoolCommit.State)})
			},
		})
	case "bpf":
		b := &BPFEvent{}
		e.BPF = b
		return d.members(table{
			"cmd": str(&b.Cmd),
			"map": func() error {
				b.Map = &BPFMap{}
				return d.members(table{"name": str(&b.Map.Name), "map_type": str(&b.Map.MapType)})
			},
			"program": func() error {
				p := &BPFProgram{}
				b.Program = p
				return d.members(table{
					"name": str(&p.Name), "tag": str(&p.Tag), "program_type": str(&p.ProgramType), "attach_type": str(&p.AttachType), "helpers": strs(&p.Helpers),
				})
			},
		})
	case "mmap":
		m := &MMapEvent{}
		e.MMap = m
		return d.members(table{
			"address": str(&m.Address), "offset": u64(&m.Offset), "length": u64(&m.Length), "protection": str(&m.Protection), "flags": str(&m.Flags),
		})
	case "mprotect":
		m := &MProtectEvent{}
		e.MProtect = m
		return d.members(table{
			"vm_start": str(&m.VMStart), "vm_end": str(&m.VMEnd), "vm_protection": str(&m.VMProtection), "req_protection": str(&m.ReqProtection),
		})
	case "ptrace":
		p := &PTraceEvent{}
		e.PTrace = p
		return d.members(table{"request": str(&p.Request), "address": str(&p.Address), "tracee": func() error {
			p.Tracee = &ProcessContext{}
			return d.processContext(p.Tracee)
		}})
	case "module":
		m := &ModuleEvent{}
		e.Module = m
		return d.members(table{
			"name": str(&m.Name), "loaded_from_memory": boolean(&m.LoadedFromMemory), "argv": strs(&m.Argv), "args_truncated": boolean(&m.ArgsTruncated),
		})
	case "signal":
		s := &SignalEvent{}
		e.Signal = s
		return d.members(table{"type": str(&s.Type), "pid": u32(&s.PID), "target": func() error {
			s.Target = &ProcessContext{}
			return d.processContext(s.Target)
		}})
	case "splice":
		s := &SpliceEvent{}
		e.Splice = s
		return d.members(table{"pipe_entry_flag": str(&s.PipeEntryFlag), "pipe_exit_flag": str(&s.PipeExitFlag)})
	case "dns":
		n := &DNSEvent{}
		e.DNS = n
		q := &n.Question
		return d.members(table{"id": u16(&n.ID), "question": func() error {
			return d.members(table{"class": str(&q.Class), "type": str(&q.Type), "name": str(&q.Name), "size": u16(&q.Size), "count": u16(&q.Count)})
		}})
	case "mount":
		m := &MountEvent{}
		e.Mount = m
		file := func(f **File) func() error {
			return func() error {
				*f = &File{}
				return d.file(*f)
			}
		}
		return d.members(table{
			"mp": file(&m.MountPoint), "root": file(&m.Root), "mount_id": u32(&m.MountID), "parent_mount_id": u32(&m.ParentMountID),
			"bind_src_mount_id": u32(&m.BindSrcMountID), "device": u32(&m.Device), "fs_type": str(&m.FSType),
			"mountpoint.path": str(&m.MountPointPath), "source.path": str(&m.SourcePath),
			"mountpoint.path_error": str(&m.MountPointPathError), "source.path_error": str(&m.SourcePathError),
		})
	case "anomaly_detection_syscall":
		e.AnomalySyscall = &AnomalyDetectionSyscallEvent{}
		return d.members(table{"syscall": str(&e.AnomalySyscall.Syscall)})
	}
	return d.dec.Skip()
}
