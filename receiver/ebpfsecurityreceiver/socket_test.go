// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// sockaddrIn and the others are the structs of those names, as a process gives them to the kernel.
func sockaddrIn(ip string, port uint16) string {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	b = binary.BigEndian.AppendUint16(b, port)
	b = append(b, netip.MustParseAddr(ip).AsSlice()...)
	return string(append(b, make([]byte, 8)...))
}

func sockaddrIn6(ip string, port uint16) string {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	b = binary.BigEndian.AppendUint16(b, port)
	b = append(b, 0, 0, 0, 0) // flow
	b = append(b, netip.MustParseAddr(ip).AsSlice()...)
	return string(append(b, 0, 0, 0, 0)) // scope id
}

func sockaddrUn(path string) string {
	return string(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)) + path
}

func sockaddrOf(family uint16) string {
	return string(binary.NativeEndian.AppendUint16(nil, family)) + "\x00\x00\x00\x00"
}

// sockIP is an address as struct pk_net has it.
func sockIP(ip string) (a [16]uint8) {
	copy(a[:], netip.MustParseAddr(ip).AsSlice())
	return a
}

func ipPort(ip string, port uint16) event.IPPort {
	return event.IPPort{IP: netip.MustParseAddr(ip), Port: port}
}

func TestConvertConnect(t *testing.T) {
	eacces := -int64(unix.EACCES)
	for name, tt := range map[string]struct {
		retval  int64
		net     bpf.Net
		given   string
		addr    event.IPPortFamily
		proto   string
		network *event.NetworkContext
		path    string
		outcome event.Outcome
	}{
		"IPv4": {
			net:   bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Sport: htons(40000), Dport: htons(443), Saddr: sockIP("10.0.0.2"), Daddr: sockIP("93.184.216.34")},
			given: sockaddrIn("93.184.216.34", 443),
			addr:  event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("93.184.216.34"), Port: 443}, proto: "IP_PROTO_TCP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("10.0.0.2", 40000), Destination: ipPort("93.184.216.34", 443)},
			outcome: event.OutcomeSuccess,
		},
		"IPv4 in progress": {
			retval:  -int64(unix.EINPROGRESS),
			net:     bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Sport: htons(40000), Dport: htons(80), Saddr: sockIP("10.0.0.2"), Daddr: sockIP("10.0.0.3")},
			addr:    event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("10.0.0.3"), Port: 80},
			proto:   "IP_PROTO_TCP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("10.0.0.2", 40000), Destination: ipPort("10.0.0.3", 80)},
			outcome: event.OutcomeSuccess,
		},
		// What the socket holds may be of an earlier connection: refused is what the process asked for.
		"IPv4 refused": {
			retval: eacces, net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_UDP, Dport: htons(53), Daddr: sockIP("9.9.9.9")},
			given: sockaddrIn("255.255.255.255", 67),
			addr:  event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("255.255.255.255"), Port: 67}, proto: "IP_PROTO_UDP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_UDP", Source: ipPort("0.0.0.0", 0), Destination: ipPort("255.255.255.255", 67)},
			outcome: event.OutcomeRefused,
		},
		"IPv6": {
			net:   bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, Sport: htons(40000), Dport: htons(443), Saddr: sockIP("2001:db8::2"), Daddr: sockIP("2001:db8::1")},
			given: sockaddrIn6("2001:db8::1", 443),
			addr:  event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("2001:db8::1"), Port: 443}, proto: "IP_PROTO_TCP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IPV6", L4Protocol: "IP_PROTO_TCP", Source: ipPort("2001:db8::2", 40000), Destination: ipPort("2001:db8::1", 443)},
			outcome: event.OutcomeSuccess,
		},
		"IPv6 refused": {
			retval: eacces, net: bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP}, given: sockaddrIn6("2001:db8::1", 22),
			addr: event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("2001:db8::1"), Port: 22}, proto: "IP_PROTO_TCP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IPV6", L4Protocol: "IP_PROTO_TCP", Source: ipPort("::", 0), Destination: ipPort("2001:db8::1", 22)},
			outcome: event.OutcomeRefused,
		},
		"IPv4 in IPv6": {
			net:  bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, Sport: htons(40000), Dport: htons(443), Saddr: sockIP("::ffff:10.0.0.2"), Daddr: sockIP("::ffff:10.0.0.1")},
			addr: event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("10.0.0.1"), Port: 443}, proto: "IP_PROTO_TCP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("10.0.0.2", 40000), Destination: ipPort("10.0.0.1", 443)},
			outcome: event.OutcomeSuccess,
		},
		"UNIX": {
			net: bpf.Net{Family: unix.AF_UNIX}, given: sockaddrUn("/run/docker.sock\x00\x00garbage"), path: "/run/docker.sock",
			addr: event.IPPortFamily{Family: "AF_UNIX"}, proto: "IP_PROTO_IP", outcome: event.OutcomeSuccess,
		},
		"UNIX without an end": {
			net: bpf.Net{Family: unix.AF_UNIX}, given: sockaddrUn("/run/a"), path: "/run/a",
			addr: event.IPPortFamily{Family: "AF_UNIX"}, proto: "IP_PROTO_IP", outcome: event.OutcomeSuccess,
		},
		"UNIX abstract": {
			net: bpf.Net{Family: unix.AF_UNIX}, given: sockaddrUn("\x00bus\x00\xff"), path: "@bus\x00\xff",
			addr: event.IPPortFamily{Family: "AF_UNIX"}, proto: "IP_PROTO_IP", outcome: event.OutcomeSuccess,
		},
		"UNIX without a name": {
			net: bpf.Net{Family: unix.AF_UNIX}, given: sockaddrUn(""),
			addr: event.IPPortFamily{Family: "AF_UNIX"}, proto: "IP_PROTO_IP", outcome: event.OutcomeSuccess,
		},
		"socket not readable": {
			retval: eacces, given: sockaddrIn("10.0.0.1", 1),
			addr: event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("10.0.0.1"), Port: 1}, proto: "IP_PROTO_IP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_IP", Source: ipPort("0.0.0.0", 0), Destination: ipPort("10.0.0.1", 1)},
			outcome: event.OutcomeRefused,
		},
		"other family": {
			net: bpf.Net{Family: unix.AF_NETLINK}, given: sockaddrOf(unix.AF_NETLINK),
			addr: event.IPPortFamily{Family: "AF_NETLINK"}, proto: "IP_PROTO_IP", outcome: event.OutcomeSuccess,
		},
		"address cut short": {
			retval: eacces, net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP}, given: sockaddrIn("10.0.0.1", 1)[:5],
			addr: event.IPPortFamily{Family: "AF_INET"}, proto: "IP_PROTO_TCP",
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("0.0.0.0", 0)},
			outcome: event.OutcomeRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h := selfHeader(t)
			h.Retval = tt.retval
			var segs []seg
			if tt.given != "" {
				segs = append(segs, seg{bpf.SegSockaddr, 0, tt.given})
			}
			ev := c.mustConvert(t, wire(event.TypeConnect, h, tt.net, segs...))
			assert.Equal(t, tt.outcome, ev.Evt.Outcome)
			require.NotNil(t, ev.Connect)
			assert.Equal(t, event.ConnectEvent{Addr: tt.addr, Protocol: tt.proto}, *ev.Connect)
			assert.Equal(t, tt.network, ev.Network)
			assert.Equal(t, tt.path, ev.Facts.SocketPath)
			assert.Equal(t, tt.addr.Family, event.FamilyName(ev.Facts.SocketFamily))
			assert.Equal(t, tt.net.Protocol, ev.Facts.SocketProtocol)
			assert.Nil(t, ev.Bind)
			assert.Nil(t, ev.File)
		})
	}
}

func TestConvertBind(t *testing.T) {
	for name, tt := range map[string]struct {
		retval int64
		net    bpf.Net
		given  string
		want   event.IPPortFamily
		path   string
	}{
		"IPv4": {
			net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Sport: htons(8080), Saddr: sockIP("127.0.0.1")}, given: sockaddrIn("127.0.0.1", 8080),
			want: event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("127.0.0.1"), Port: 8080},
		},
		"port chosen by the kernel": {
			net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_UDP, Sport: htons(45678), Saddr: sockIP("0.0.0.0")}, given: sockaddrIn("0.0.0.0", 0),
			want: event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("0.0.0.0"), Port: 45678},
		},
		"IPv6": {
			net: bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, Sport: htons(22), Saddr: sockIP("::")}, given: sockaddrIn6("::", 22),
			want: event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("::"), Port: 22},
		},
		"IPv4 in IPv6": {
			net:  bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, Sport: htons(22), Saddr: sockIP("::ffff:127.0.0.1")},
			want: event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("127.0.0.1"), Port: 22},
		},
		"refused": {
			retval: -int64(unix.EACCES), net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP}, given: sockaddrIn("0.0.0.0", 80),
			want: event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("0.0.0.0"), Port: 80},
		},
		// Of AF_INET, AF_UNSPEC is the wildcard address: the kernel takes it for AF_INET.
		"AF_UNSPEC": {
			net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Sport: htons(99)}, given: sockaddrOf(unix.AF_UNSPEC),
			want: event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("0.0.0.0"), Port: 99},
		},
		"UNIX": {
			net: bpf.Net{Family: unix.AF_UNIX}, given: sockaddrUn("/run/a.sock"), path: "/run/a.sock",
			want: event.IPPortFamily{Family: "AF_UNIX"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h := selfHeader(t)
			h.Retval = tt.retval
			ev := c.mustConvert(t, wire(event.TypeBind, h, tt.net, seg{bpf.SegSockaddr, 0, tt.given}))
			require.NotNil(t, ev.Bind)
			assert.Equal(t, tt.want, ev.Bind.Addr)
			assert.Equal(t, tt.path, ev.Facts.SocketPath)
			assert.Equal(t, tt.net.Family, ev.Facts.SocketFamily)
			assert.Nil(t, ev.Network)
			assert.Nil(t, ev.Connect)
		})
	}
}

// A connection to AF_UNSPEC ends one: it is no event.
func TestConvertDisconnect(t *testing.T) {
	c := newTestConverter(t)
	for _, net := range []bpf.Net{
		{Family: unix.AF_INET, Protocol: unix.IPPROTO_UDP}, {Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP}, {Family: unix.AF_UNIX}, {},
	} {
		assert.Nil(t, c.convert(decode(t, wire(event.TypeConnect, selfHeader(t), net, seg{bpf.SegSockaddr, 0, sockaddrOf(unix.AF_UNSPEC)}))), "family %d", net.Family)
	}
	assert.Nil(t, c.convert(decode(t, wire(event.TypeBind, selfHeader(t), bpf.Net{Family: unix.AF_INET6}, seg{bpf.SegSockaddr, 0, sockaddrOf(unix.AF_UNSPEC)}))), "bind of IPv6")
}

// FuzzSockaddr reads what a process may give to the kernel as an address.
func FuzzSockaddr(f *testing.F) {
	for _, s := range []string{"", "\x01", sockaddrIn("1.2.3.4", 5), sockaddrIn6("::1", 5), sockaddrUn("/a\x00"), sockaddrUn("\x00a"), sockaddrUn(""), sockaddrOf(unix.AF_UNSPEC)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, path := sockaddr(b)
		assert.Equal(t, len(b) >= 2, g.known)
		assert.LessOrEqual(t, len(path), len(b)) // the @ takes the place of a NUL
		if g.addr.IP.IsValid() {
			assert.Contains(t, []uint16{unix.AF_INET, unix.AF_INET6}, g.family)
			assert.False(t, g.addr.IP.Is4In6())
		}
	})
}
