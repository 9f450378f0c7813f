// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// networkScratch is what events about the network point to, reused from one event to the next.
type networkScratch struct {
	accept event.AcceptEvent
	dns    event.DNSEvent
	device event.NetworkDevice
	parser dnsmessage.Parser
}

// networkOf puts both ends into the event.
func (c *converter) networkOf(ev *event.Event, protocol uint16, source, destination event.IPPort) {
	l3 := "ETH_P_IP"
	if source.IP.Is6() || destination.IP.Is6() {
		l3 = "ETH_P_IPV6"
	}
	c.network = event.NetworkContext{L3Protocol: l3, L4Protocol: event.L4ProtocolName(protocol), Source: source, Destination: destination}
	ev.Network = &c.network
}

// accepted makes an accept event: who connected is the source. A refused call has only the socket that listens. path is
// the address of an AF_UNIX socket; that of who connects, which usually has none, is not told.
func (c *converter) accepted(ev *event.Event, n *bpf.Net, path string) bool {
	local, peer := endpoint(n.Family, n.Saddr, n.Sport), endpoint(n.Family, n.Daddr, n.Dport)
	ev.Facts.SocketFamily, ev.Facts.SocketProtocol = n.Family, n.Protocol
	if n.Family == unix.AF_UNIX {
		ev.Facts.SocketPath = path
	}
	c.accept = event.AcceptEvent{Addr: event.IPPortFamily{Family: event.FamilyName(n.Family), IP: peer.IP, Port: peer.Port}}
	ev.Accept = &c.accept
	if n.Family == unix.AF_INET || n.Family == unix.AF_INET6 {
		c.networkOf(ev, n.Protocol, peer, local)
	}
	return true
}

// dnsQuery makes the event of a packet to a name server. Of a TCP stream only a segment with which a message begins is
// understood, and not one without a message.
func (c *converter) dnsQuery(ev *event.Event, r *sensor.Record) bool {
	k, msg := r.DNS(), r.Segments[bpf.SegData].Data
	size := int(k.Len)
	if k.Protocol == unix.IPPROTO_TCP {
		if len(msg) < 2 {
			return false // the length may be a segment of its own
		}
		size, msg = int(binary.BigEndian.Uint16(msg)), msg[2:]
		if len(msg) == 0 {
			return false
		}
	}
	ok, err := parseDNS(&c.parser, msg, &c.dns)
	if err != nil {
		c.malformed = true
		return false
	}
	if !ok {
		return false
	}
	c.dns.Question.Size = uint16(min(size, 0xffff))
	ev.DNS = &c.dns
	c.networkOf(ev, k.Protocol, endpoint(k.Family, k.Saddr, k.Sport), endpoint(k.Family, k.Daddr, k.Dport))
	c.device = event.NetworkDevice{NetNS: k.Netns, IfIndex: k.Ifindex, IfName: cString(k.Ifname[:])}
	c.network.Device, c.network.Size = &c.device, k.Size
	ev.Facts.SocketFamily, ev.Facts.SocketProtocol = k.Family, k.Protocol
	return true
}

var errNoQuestion = errors.New("a query without a question")

// parseDNS reads the header and the first question of a DNS message; false for an answer. Every name that the packet can
// hold is possible, so nothing here is a string of the network's until the event escapes it.
func parseDNS(p *dnsmessage.Parser, msg []byte, dst *event.DNSEvent) (bool, error) {
	h, err := p.Start(msg)
	if err != nil {
		return false, err
	}
	if h.Response {
		return false, nil
	}
	q, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) {
		err = errNoQuestion
	}
	if err != nil {
		return false, err
	}
	*dst = event.DNSEvent{ID: h.ID, Question: event.DNSQuestion{
		Name: strings.TrimSuffix(string(q.Name.Data[:q.Name.Length]), "."), Type: event.DNSTypeName(uint16(q.Type)),
		Class: event.DNSClassName(uint16(q.Class)), Count: binary.BigEndian.Uint16(msg[4:]),
	}}
	return true, nil
}
