// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

func TestConvertAccept(t *testing.T) {
	for name, tt := range map[string]struct {
		retval  int64
		net     bpf.Net
		given   string
		addr    event.IPPortFamily
		network *event.NetworkContext
		path    string
		outcome event.Outcome
	}{
		"IPv4": {
			retval: 5, net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Sport: htons(22), Dport: htons(40000), Saddr: sockIP("10.0.0.2"), Daddr: sockIP("10.0.0.9")},
			addr:    event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("10.0.0.9"), Port: 40000},
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("10.0.0.9", 40000), Destination: ipPort("10.0.0.2", 22)},
			outcome: event.OutcomeSuccess,
		},
		"IPv6": {
			retval: 5, net: bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_SCTP, Sport: htons(22), Dport: htons(40000), Saddr: sockIP("2001:db8::2"), Daddr: sockIP("2001:db8::9")},
			addr:    event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("2001:db8::9"), Port: 40000},
			network: &event.NetworkContext{L3Protocol: "ETH_P_IPV6", L4Protocol: "IP_PROTO_SCTP", Source: ipPort("2001:db8::9", 40000), Destination: ipPort("2001:db8::2", 22)},
			outcome: event.OutcomeSuccess,
		},
		"IPv4 in IPv6": {
			retval: 5, net: bpf.Net{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, Sport: htons(22), Dport: htons(1), Saddr: sockIP("::ffff:10.0.0.2"), Daddr: sockIP("::ffff:10.0.0.9")},
			addr:    event.IPPortFamily{Family: "AF_INET6", IP: netip.MustParseAddr("10.0.0.9"), Port: 1},
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("10.0.0.9", 1), Destination: ipPort("10.0.0.2", 22)},
			outcome: event.OutcomeSuccess,
		},
		"refused": { // only who listens is known
			retval: -int64(unix.EPERM), net: bpf.Net{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Sport: htons(22), Saddr: sockIP("10.0.0.2")},
			addr:    event.IPPortFamily{Family: "AF_INET", IP: netip.MustParseAddr("0.0.0.0")},
			network: &event.NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: ipPort("0.0.0.0", 0), Destination: ipPort("10.0.0.2", 22)},
			outcome: event.OutcomeRefused,
		},
		"UNIX":                 {retval: 5, net: bpf.Net{Family: unix.AF_UNIX}, given: sockaddrUn("/run/a.sock\x00"), addr: event.IPPortFamily{Family: "AF_UNIX"}, path: "/run/a.sock", outcome: event.OutcomeSuccess},
		"UNIX without a name":  {retval: 5, net: bpf.Net{Family: unix.AF_UNIX}, addr: event.IPPortFamily{Family: "AF_UNIX"}, outcome: event.OutcomeSuccess},
		"other family":         {retval: 5, net: bpf.Net{Family: unix.AF_VSOCK}, given: sockaddrOf(unix.AF_VSOCK), addr: event.IPPortFamily{Family: "AF_VSOCK"}, outcome: event.OutcomeSuccess},
		"no such family":       {retval: 5, net: bpf.Net{Family: 65535}, addr: event.IPPortFamily{Family: "65535"}, outcome: event.OutcomeSuccess},
		"a path, but not UNIX": {retval: 5, net: bpf.Net{Family: unix.AF_VSOCK}, given: sockaddrUn("/run/a.sock"), addr: event.IPPortFamily{Family: "AF_VSOCK"}, outcome: event.OutcomeSuccess},
		"socket not readable":  {retval: -int64(unix.EPERM), addr: event.IPPortFamily{Family: "AF_UNSPEC"}, outcome: event.OutcomeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h := selfHeader(t)
			h.Retval = tt.retval
			var segs []seg
			if tt.given != "" {
				segs = append(segs, seg{bpf.SegSockaddr, 0, tt.given})
			}
			ev := c.mustConvert(t, wire(event.TypeAccept, h, tt.net, segs...))
			require.NotNil(t, ev.Accept)
			assert.Equal(t, event.AcceptEvent{Addr: tt.addr}, *ev.Accept)
			assert.Equal(t, tt.network, ev.Network)
			assert.Equal(t, tt.outcome, ev.Evt.Outcome)
			assert.Equal(t, []any{tt.net.Family, tt.net.Protocol, tt.path}, []any{ev.Facts.SocketFamily, ev.Facts.SocketProtocol, ev.Facts.SocketPath})
			assert.Nil(t, ev.Connect)
			assert.Nil(t, ev.Bind)
			fileless(t, ev)
		})
	}
}

func TestConvertDNS(t *testing.T) {
	query := dnsHeader(asks, 1, 0) + "\x03www\x07example\x00" + inA
	answer := dnsHeader([2]byte{0x80, 0}, 1, 0) + "\x01a\x00" + inA
	udp := bpf.DNS{
		Family: unix.AF_INET, Protocol: unix.IPPROTO_UDP, Sport: htons(40000), Dport: htons(53), Saddr: sockIP("10.0.0.2"), Daddr: sockIP("9.9.9.9"),
		Netns: 4026531840, Ifindex: 2, Size: 57, Len: 29, Ifname: chars("eth0"),
	}
	with := func(change func(*bpf.DNS)) bpf.DNS {
		k := udp
		change(&k)
		return k
	}
	tcp := with(func(k *bpf.DNS) { k.Protocol = unix.IPPROTO_TCP })
	device := event.NetworkDevice{NetNS: 4026531840, IfIndex: 2, IfName: "eth0"}
	asked := func(size uint16) *event.DNSEvent {
		return &event.DNSEvent{ID: 0x1234, Question: event.DNSQuestion{Name: "www.example", Type: "A", Class: "CLASS_INET", Count: 1, Size: size}}
	}
	over := func(l4 string) event.NetworkContext {
		return event.NetworkContext{Device: &device, L3Protocol: "ETH_P_IP", L4Protocol: l4, Source: ipPort("10.0.0.2", 40000), Destination: ipPort("9.9.9.9", 53), Size: 57}
	}
	for name, tt := range map[string]struct {
		k         bpf.DNS
		data      string
		want      *event.DNSEvent // nil: no event
		network   event.NetworkContext
		malformed bool
	}{
		"UDP": {k: udp, data: query, want: asked(29), network: over("IP_PROTO_UDP")},
		"IPv6": {
			k: with(func(k *bpf.DNS) {
				k.Family, k.Saddr, k.Daddr = unix.AF_INET6, sockIP("2001:db8::2"), sockIP("2001:db8::53")
			}),
			data: query, want: asked(29), network: event.NetworkContext{
				Device: &device, L3Protocol: "ETH_P_IPV6", L4Protocol: "IP_PROTO_UDP", Source: ipPort("2001:db8::2", 40000), Destination: ipPort("2001:db8::53", 53), Size: 57,
			},
		},
		"more than is sent":  {k: with(func(k *bpf.DNS) { k.Len = 3000 }), data: query, want: asked(3000), network: over("IP_PROTO_UDP")},
		"absurd length":      {k: with(func(k *bpf.DNS) { k.Len = ^uint32(0) }), data: query, want: asked(65535), network: over("IP_PROTO_UDP")},
		"length 0":           {k: with(func(k *bpf.DNS) { k.Len = 0 }), data: query, want: asked(0), network: over("IP_PROTO_UDP")},
		"TCP":                {k: tcp, data: "\x00\x1d" + query, want: asked(29), network: over("IP_PROTO_TCP")},
		"TCP, absurd length": {k: tcp, data: "\xff\xff" + query, want: asked(65535), network: over("IP_PROTO_TCP")},
		"TCP, length 0":      {k: tcp, data: "\x00\x00" + query, want: asked(0), network: over("IP_PROTO_TCP")},

		"answer":                   {k: udp, data: answer},
		"TCP, answer":              {k: tcp, data: "\x00\x13" + answer},
		"TCP, no data":             {k: tcp},
		"TCP, half a length":       {k: tcp, data: "\x00"},
		"TCP, length only":         {k: tcp, data: "\x00\x1d"},
		"nothing":                  {k: udp, malformed: true},
		"cut":                      {k: udp, data: query[:20], malformed: true},
		"no question":              {k: udp, data: dnsHeader(asks, 0, 0), malformed: true},
		"TCP, middle of a message": {k: tcp, data: query[4:], malformed: true},
		"pointer into nowhere":     {k: udp, data: dnsHeader(asks, 1, 0) + "\xff\xff" + inA, malformed: true},
		"protocol of another kind": {k: with(func(k *bpf.DNS) { k.Protocol = 200 }), data: query, want: asked(29), network: over("200")},
		"name of a device, no end": {k: with(func(k *bpf.DNS) {
			k.Ifname = [16]int8{'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'}
		}), data: query, want: asked(29)},
		"name of a device, no text": {k: with(func(k *bpf.DNS) { k.Ifname = chars("\xff\"\n") }), data: query, want: asked(29)},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			var segs []seg
			if tt.data != "" {
				segs = append(segs, seg{bpf.SegData, 0, tt.data})
			}
			ev := c.convert(decode(t, wire(event.TypeDNS, selfHeader(t), tt.k, segs...)))
			assert.Equal(t, tt.malformed, c.malformed)
			if tt.want == nil {
				assert.Nil(t, ev)
			} else {
				require.NotNil(t, ev)
				assert.Equal(t, tt.want, ev.DNS)
				if strings.HasPrefix(name, "name of a device") {
					assert.Equal(t, cString(tt.k.Ifname[:]), ev.Network.Device.IfName)
				} else {
					assert.Equal(t, tt.network, *ev.Network)
				}
				assert.Equal(t, []any{tt.k.Family, tt.k.Protocol}, []any{ev.Facts.SocketFamily, ev.Facts.SocketProtocol})
				assert.Equal(t, event.OutcomeSuccess, ev.Evt.Outcome)
				assert.True(t, json.Valid(ev.AppendJSON(nil)))
				fileless(t, ev)
			}
			// Nothing of it is left over.
			connect := c.mustConvert(t, wire(event.TypeConnect, selfHeader(t), bpf.Net{Family: unix.AF_INET, Dport: htons(1)}))
			assert.False(t, c.malformed)
			assert.Nil(t, connect.DNS)
			assert.Nil(t, connect.Network.Device)
			assert.Zero(t, connect.Network.Size)
		})
	}
}
