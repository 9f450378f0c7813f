// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// loopback gives the actor a network of its own, in which only loopback is.
func loopback() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	return up("lo")
}

func up(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}

func socket(family, typ int) (int, error) { return unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0) }

var (
	local4 = [4]byte{127, 0, 0, 1}
	local6 = [16]byte{15: 1}
)

// connected makes a connection over loopback: accepted by call, by a socket of the same process.
func connected(family int, addr, to unix.Sockaddr, accept func(fd int) (int, unix.Sockaddr, error)) error {
	l, err1 := socket(family, unix.SOCK_STREAM)
	err2 := unix.Bind(l, addr)
	err3 := unix.Listen(l, 1)
	c, err4 := socket(family, unix.SOCK_STREAM)
	err5 := unix.Connect(c, to)
	a, _, err6 := accept(l)
	return errors.Join(err1, err2, err3, err4, err5, err6, unix.Close(l), unix.Close(c), unix.Close(a))
}

func accept4(fd int) (int, unix.Sockaddr, error) { return unix.Accept4(fd, unix.SOCK_CLOEXEC) }

func rawAccept(fd int) (int, unix.Sockaddr, error) {
	n, _, e := unix.RawSyscall(unix.SYS_ACCEPT, uintptr(fd), 0, 0)
	if e != 0 {
		return -1, nil, e
	}
	return int(n), nil, nil
}

const ephemeral = "[1-9][0-9]{3,4}"

// tcp are the members of a TCP event over loopback, except for the ports.
func tcp(l3, ip, category string) map[string]any {
	return map[string]any{
		"evt.outcome": "Success", "evt.category": category, "network.l3_protocol": l3, "network.l4_protocol": "IP_PROTO_TCP",
		"network.source.ip": ip, "network.destination.ip": ip, "network.size": 0, "file": absent,
	}
}

var networkCases = cases("network", []testcase{
	{
		name: "ipv4", do: func(string) error {
			at := &unix.SockaddrInet4{Addr: local4, Port: 4001}
			return errors.Join(loopback(), connected(unix.AF_INET, at, at, accept4), connected(unix.AF_INET, &unix.SockaddrInet4{Addr: local4, Port: 4002}, &unix.SockaddrInet4{Addr: local4, Port: 4002}, rawAccept))
		},
		want: []want{
			{typ: "bind", members: map[string]any{"evt.outcome": "Success", "bind.addr.family": "AF_INET", "bind.addr.ip": "127.0.0.1", "bind.addr.port": 4001}},
			{
				typ:     "connect",
				members: with(tcp("ETH_P_IP", "127.0.0.1", "Kernel Activity"), map[string]any{"network.source.port": matches(ephemeral), "network.destination.port": 4001}),
				attrs:   map[string]any{"network.peer.port": 4001, "network.transport": "tcp", "network.type": "ipv4", "picket.socket.family": unix.AF_INET},
			},
			{
				typ:     "accept",
				members: with(tcp("ETH_P_IP", "127.0.0.1", "Kernel Activity"), map[string]any{"network.source.port": matches(ephemeral), "network.destination.port": 4001}),
				attrs:   map[string]any{"network.local.port": 4001, "network.peer.port": matches(ephemeral), "network.transport": "tcp"},
			},
			{typ: "accept", members: map[string]any{"network.destination.port": 4002}},
		},
	},
	{
		name: "ipv6", do: func(string) error {
			at := &unix.SockaddrInet6{Addr: local6, Port: 4003}
			return errors.Join(loopback(), connected(unix.AF_INET6, at, at, accept4))
		},
		want: []want{
			{typ: "bind", members: map[string]any{"bind.addr.family": "AF_INET6", "bind.addr.ip": "::1", "bind.addr.port": 4003}},
			{typ: "connect", members: with(tcp("ETH_P_IPV6", "::1", "Kernel Activity"), map[string]any{"network.destination.port": 4003})},
			{typ: "accept", members: with(tcp("ETH_P_IPV6", "::1", "Kernel Activity"), map[string]any{"network.destination.port": 4003})},
		},
	},
	{
		name: "ipv4 in ipv6", do: func(string) error {
			mapped := [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
			return errors.Join(loopback(), connected(unix.AF_INET6, &unix.SockaddrInet6{Port: 4004}, &unix.SockaddrInet6{Addr: mapped, Port: 4004}, accept4))
		},
		want: []want{
			{typ: "connect", members: with(tcp("ETH_P_IP", "127.0.0.1", "Kernel Activity"), map[string]any{"network.destination.port": 4004})},
			{typ: "accept", members: with(tcp("ETH_P_IP", "127.0.0.1", "Kernel Activity"), map[string]any{"network.destination.port": 4004})},
		},
	},
	{
		name: "unix", do: func(dir string) error {
			path, abstract := &unix.SockaddrUnix{Name: dir + "/sock"}, &unix.SockaddrUnix{Name: fmt.Sprintf("@picket-%d", os.Getpid())}
			return errors.Join(connected(unix.AF_UNIX, path, path, accept4), connected(unix.AF_UNIX, abstract, abstract, accept4))
		},
		want: []want{
			{typ: "bind", members: map[string]any{"bind.addr.family": "AF_UNIX", "bind.addr.ip": "", "bind.addr.port": 0}, attrs: map[string]any{"picket.socket.path": "$DIR/sock", "network.transport": "unix"}},
			{typ: "connect", members: map[string]any{"network": absent, "evt.outcome": "Success"}, attrs: map[string]any{"picket.socket.path": "$DIR/sock"}},
			{typ: "accept", members: map[string]any{"network": absent, "evt.outcome": "Success"}, attrs: map[string]any{"picket.socket.path": "$DIR/sock"}},
			{typ: "bind", attrs: map[string]any{"picket.socket.path": "@picket-$PID"}},
			{typ: "connect", attrs: map[string]any{"picket.socket.path": "@picket-$PID"}},
			{typ: "accept", attrs: map[string]any{"picket.socket.path": "@picket-$PID"}},
		},
	},
	{
		name: "refused", do: func(dir string) error {
			l, err1 := socket(unix.AF_UNIX, unix.SOCK_STREAM)
			err2 := errors.Join(unix.Bind(l, &unix.SockaddrUnix{Name: dir + "/sock"}), unix.Chmod(dir+"/sock", 0o700), nobody())
			s, err3 := socket(unix.AF_INET, unix.SOCK_STREAM)
			u, err4 := socket(unix.AF_UNIX, unix.SOCK_STREAM)
			return errors.Join(err1, err2, err3, err4, fails(unix.Bind(s, &unix.SockaddrInet4{Addr: local4, Port: 81}), unix.EACCES),
				fails(unix.Connect(u, &unix.SockaddrUnix{Name: dir + "/sock"}), unix.EACCES))
		},
		want: []want{
			{typ: "bind", members: map[string]any{"evt.outcome": "Refused", "bind.addr.ip": "127.0.0.1", "bind.addr.port": 81}, attrs: map[string]any{"picket.event.retval": -int(unix.EACCES)}},
			{typ: "connect", members: map[string]any{"evt.outcome": "Refused"}, attrs: map[string]any{"picket.socket.path": "$DIR/sock"}},
		},
		skip: func() string {
			if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil && string(b) == "0\n" {
				return "every port is free for all here (ip_unprivileged_port_start is 0)"
			}
			return ""
		},
	},
	{
		name: "in progress and disconnected", do: func(string) error {
			if err := loopback(); err != nil {
				return err
			}
			s, err1 := socket(unix.AF_INET, unix.SOCK_DGRAM)
			err2 := unix.Connect(s, &unix.SockaddrInet4{Addr: local4, Port: 4005})
			var none [16]byte // AF_UNSPEC
			err3 := sys(unix.SYS_CONNECT, uintptr(s), addressOf(&none), 16)
			t, err4 := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
			err5 := fails(unix.Connect(t, &unix.SockaddrInet4{Addr: local4, Port: 4006}), unix.EINPROGRESS)
			return errors.Join(err1, err2, err3, err4, err5)
		},
		want: []want{
			{typ: "connect", members: map[string]any{"network.l4_protocol": "IP_PROTO_UDP", "network.destination.port": 4005}},
			{typ: "connect", members: map[string]any{"evt.outcome": "Success", "network.destination.port": 4006}, attrs: map[string]any{"picket.event.retval": -int(unix.EINPROGRESS)}},
		},
		not: []want{{typ: "connect", members: map[string]any{"network": absent}}, {typ: "connect", members: map[string]any{"network.destination.port": 0}}},
	},
})

func TestNetwork(t *testing.T) { run(t, networkCases, nil) }

// query is a message to a name server.
func query(id uint16, name string, typ dnsmessage.Type, class dnsmessage.Class, more ...dnsmessage.Question) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: append([]dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: class}}, more...),
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// question are the members of a DNS event on loopback.
func question(l3, l4, ip string, id, size int, name, typ, class string) map[string]any {
	return map[string]any{
		"evt.category": "Network Activity", "evt.outcome": "Success", "dns.id": id, "dns.question.name": name, "dns.question.type": typ, "dns.question.class": class,
		"dns.question.size": size, "dns.question.count": 1, "network.l3_protocol": l3, "network.l4_protocol": l4, "network.destination.ip": ip,
		"network.destination.port": 53, "network.source.ip": ip, "network.source.port": matches(ephemeral), "network.device.ifname": "lo", "network.device.ifindex": 1,
		"network.device.netns": present, "network.size": present, "file": absent,
	}
}

// sendUDP sends from a socket that is not connected.
func sendUDP(family int, to unix.Sockaddr, messages ...[]byte) error {
	s, err := socket(family, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := unix.Sendto(s, m, 0, to); err != nil {
			return err
		}
	}
	return unix.Close(s)
}

// serveTCP sends a query over a connection, to port 53, that it takes itself.
func serveTCP() error {
	l, err := net.Listen("tcp", "127.0.0.1:53")
	if err != nil {
		return err
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Read(make([]byte, 512))
		}
		done <- err
	}()
	s, err := socket(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	m := query(77, "tcp.example.", dnsmessage.TypeMX, dnsmessage.ClassINET)
	if err = unix.Connect(s, &unix.SockaddrInet4{Addr: local4, Port: 53}); err != nil {
		return err
	}
	if _, err := unix.Write(s, append([]byte{0, byte(len(m))}, m...)); err != nil {
		return err
	}
	select {
	case err = <-done:
	case <-time.After(deadline):
		err = errors.New("nothing came")
	}
	return err
}

var dnsCases = cases("dns", []testcase{
	{
		name: "udp", do: func(string) error {
			return errors.Join(loopback(), sendUDP(unix.AF_INET, &unix.SockaddrInet4{Addr: local4, Port: 53},
				query(4660, "www.Example.com.", dnsmessage.TypeAAAA, dnsmessage.ClassINET), query(2, "a_b.\xc3\xa9.", 65, dnsmessage.ClassCHAOS), query(3, ".", 9999, 77)))
		},
		want: []want{
			{
				typ: "dns", members: with(question("ETH_P_IP", "IP_PROTO_UDP", "127.0.0.1", 4660, 33, "www.Example.com", "AAAA", "CLASS_INET"), map[string]any{"network.size": 33 + 28}),
				attrs: map[string]any{"network.transport": "udp", "network.peer.port": 53, "network.interface.name": "lo", "dns.question.name": "www.Example.com"},
			},
			{typ: "dns", members: question("ETH_P_IP", "IP_PROTO_UDP", "127.0.0.1", 2, 24, "a_b.é", "HTTPS", "CLASS_CHAOS")},
			{typ: "dns", members: question("ETH_P_IP", "IP_PROTO_UDP", "127.0.0.1", 3, 17, "", "qtype(9999)", "qclass(77)")},
		},
	},
	{
		name: "udp over ipv6, connected", do: func(string) error {
			if err := loopback(); err != nil {
				return err
			}
			s, err1 := socket(unix.AF_INET6, unix.SOCK_DGRAM)
			err2 := unix.Connect(s, &unix.SockaddrInet6{Addr: local6, Port: 53})
			_, err3 := unix.Write(s, query(5, "six.example.", dnsmessage.TypeTXT, dnsmessage.ClassINET))
			return errors.Join(err1, err2, err3)
		},
		want: []want{{typ: "dns", members: question("ETH_P_IPV6", "IP_PROTO_UDP", "::1", 5, 29, "six.example", "TXT", "CLASS_INET")}},
	},
	{
		name: "tcp", do: func(string) error { return errors.Join(loopback(), serveTCP()) },
		want: []want{{typ: "dns", members: question("ETH_P_IP", "IP_PROTO_TCP", "127.0.0.1", 77, 29, "tcp.example", "MX", "CLASS_INET")}},
		skip: func() string {
			var u unix.Utsname
			var major, minor int
			if unix.Uname(&u) == nil {
				_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
			}
			if major < 6 || major == 6 && minor < 12 {
				return "before 6.12 a tracepoint cannot read what TCP sends"
			}
			return ""
		},
	},
	{
		name: "no queries", do: func(string) error {
			answer := query(6, "answer.example.", dnsmessage.TypeA, dnsmessage.ClassINET)
			answer[2] |= 0x80
			at := &unix.SockaddrInet4{Addr: local4, Port: 53}
			return errors.Join(loopback(), sendUDP(unix.AF_INET, at, answer, []byte("x"), nil, make([]byte, 12), make([]byte, 600)),
				sendUDP(unix.AF_INET, &unix.SockaddrInet4{Addr: local4, Port: 54}, query(7, "other.port.", dnsmessage.TypeA, dnsmessage.ClassINET)))
		},
		not: []want{{typ: "dns"}},
	},
	{
		name: "large", do: func(string) error { // only the beginning is read, and the question is there
			return errors.Join(loopback(), sendUDP(unix.AF_INET, &unix.SockaddrInet4{Addr: local4, Port: 53},
				append(query(8, "large.example.", dnsmessage.TypeA, dnsmessage.ClassINET), make([]byte, 3000)...)))
		},
		want: []want{{typ: "dns", members: map[string]any{"dns.id": 8, "dns.question.name": "large.example", "dns.question.size": 3031, "network.size": 3031 + 28}}},
	},
	{
		name: "devices on each other", do: func(string) error { // one query, though two devices see it
			if err := loopback(); err != nil {
				return err
			}
			out, err := exec.Command("/bin/sh", "-ec", `
				ip link add v0 type veth peer name v1
				ip link add b0 type bridge
				ip link set v0 master b0
				ip address add 192.0.2.1/24 dev b0
				ip link set v0 up; ip link set v1 up; ip link set b0 up
				ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:01 dev b0`).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s: %w", out, err)
			}
			return sendUDP(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 2}, Port: 53}, query(9, "bridge.example.", dnsmessage.TypeA, dnsmessage.ClassINET))
		},
		want: []want{{typ: "dns", members: map[string]any{"dns.id": 9, "network.device.ifname": "b0", "network.destination.ip": "192.0.2.2"}}},
		not:  []want{{typ: "dns", members: map[string]any{"network.device.ifname": "v0"}}, {typ: "dns", members: map[string]any{"network.device.ifname": "v1"}}},
		skip: needIP,
	},
	{
		name: "after the neighbour answered", do: func(string) error { // the packet leaves in a softirq, whoever runs
			if err := loopback(); err != nil {
				return err
			}
			out, err := exec.Command("/bin/sh", "-ec", `
				ip link add v0 type veth peer name v1
				ip address add 192.0.2.1/24 dev v0
				ip link set v0 up; ip link set v1 up`).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s: %w", out, err)
			}
			s, err := socket(unix.AF_INET, unix.SOCK_DGRAM)
			if err != nil {
				return err
			}
			err1 := unix.Connect(s, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 2}, Port: 53})
			_, err2 := unix.Write(s, query(10, "late.example.", dnsmessage.TypeA, dnsmessage.ClassINET))
			out, err3 := exec.Command("/bin/sh", "-ec", `ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:01 dev v0`).CombinedOutput()
			if err3 != nil {
				err3 = fmt.Errorf("%s: %w", out, err3)
			}
			return errors.Join(err1, err2, err3)
		},
		want: []want{{typ: "dns", members: map[string]any{"dns.id": 10, "network.device.ifname": "v0"}}},
		skip: needIP,
	},
})

func needIP() string {
	if _, err := exec.LookPath("ip"); err != nil {
		return "there is no ip command (iproute2) to make devices with"
	}
	return ""
}

func TestDNS(t *testing.T) { run(t, dnsCases, nil) }
