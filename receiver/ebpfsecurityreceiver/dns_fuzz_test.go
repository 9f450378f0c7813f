// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/picketsec/picket/internal/event"
)

// dnsHeader is the head of a message: id 0x1234, the flags, the number of questions and of answers.
func dnsHeader(flags [2]byte, questions, answers byte) string {
	return "\x12\x34" + string(flags[:]) + "\x00" + string([]byte{questions}) + "\x00" + string([]byte{answers}) + "\x00\x00\x00\x00"
}

var asks = [2]byte{1, 0}

// labels writes labels of a length until there are so many bytes, the root not counted.
func labels(length, bytes int) string {
	return strings.Repeat(string([]byte{byte(length)})+strings.Repeat("a", length), bytes/(length+1))
}

const inA = "\x00\x01\x00\x01"

var dnsMessages = map[string]struct {
	msg  string
	want event.DNSQuestion
	not  bool   // an answer
	err  string // why it is none
}{
	"plain":                 {msg: dnsHeader(asks, 1, 0) + "\x03www\x07example\x00" + inA, want: event.DNSQuestion{Name: "www.example", Type: "A", Class: "CLASS_INET", Count: 1}},
	"root":                  {msg: dnsHeader(asks, 1, 0) + "\x00\x00\x02\x00\x01", want: event.DNSQuestion{Name: "", Type: "NS", Class: "CLASS_INET", Count: 1}},
	"two questions":         {msg: dnsHeader(asks, 2, 0) + "\x01a\x00" + inA + "\x01b\x00" + inA, want: event.DNSQuestion{Name: "a", Type: "A", Class: "CLASS_INET", Count: 2}},
	"more than there are":   {msg: dnsHeader(asks, 255, 255) + "\x01a\x00" + inA, want: event.DNSQuestion{Name: "a", Type: "A", Class: "CLASS_INET", Count: 255}},
	"cut behind":            {msg: dnsHeader(asks, 1, 1) + "\x01a\x00" + inA + "\xc0", want: event.DNSQuestion{Name: "a", Type: "A", Class: "CLASS_INET", Count: 1}},
	"no UTF-8, control":     {msg: dnsHeader(asks, 1, 0) + "\x04\xff\x00\"\n\x00" + inA, want: event.DNSQuestion{Name: "\xff\x00\"\n", Type: "A", Class: "CLASS_INET", Count: 1}},
	"longest label":         {msg: dnsHeader(asks, 1, 0) + labels(63, 64) + "\x00" + inA, want: event.DNSQuestion{Name: strings.Repeat("a", 63), Type: "A", Class: "CLASS_INET", Count: 1}},
	"longest name":          {msg: dnsHeader(asks, 1, 0) + labels(1, 254) + "\x00" + inA, want: event.DNSQuestion{Name: strings.TrimSuffix(strings.Repeat("a.", 127), "."), Type: "A", Class: "CLASS_INET", Count: 1}},
	"numbers without names": {msg: dnsHeader(asks, 1, 0) + "\x01a\x00\xff\xfe\x12\x34", want: event.DNSQuestion{Name: "a", Type: "qtype(65534)", Class: "qclass(4660)", Count: 1}},

	"answer":                {msg: dnsHeader([2]byte{0x81, 0x80}, 1, 1) + "\x01a\x00" + inA, not: true},
	"answer without a name": {msg: dnsHeader([2]byte{0x80, 0}, 1, 0), not: true},

	"nothing":                {msg: "", err: "unpacking header"},
	"part of a header":       {msg: dnsHeader(asks, 1, 0)[:11], err: "unpacking header"},
	"no question":            {msg: dnsHeader(asks, 0, 0), err: errNoQuestion.Error()},
	"no room for a question": {msg: dnsHeader(asks, 1, 0), err: "unpacking Question.Name"},
	"name without an end":    {msg: dnsHeader(asks, 1, 0) + "\x01a", err: "unpacking Question.Name"},
	"label beyond the end":   {msg: dnsHeader(asks, 1, 0) + "\x3fa\x00" + inA, err: "unpacking Question.Name"},
	"type cut":               {msg: dnsHeader(asks, 1, 0) + "\x01a\x00\x00", err: "unpacking Question.Type"},
	"class cut":              {msg: dnsHeader(asks, 1, 0) + "\x01a\x00\x00\x01\x00", err: "unpacking Question.Class"},
	"name too long":          {msg: dnsHeader(asks, 1, 0) + labels(1, 256) + "\x00" + inA, err: "unpacking Question.Name"},
	"reserved label":         {msg: dnsHeader(asks, 1, 0) + "\x41a\x00" + inA, err: "unpacking Question.Name"},
	"pointer to itself":      {msg: dnsHeader(asks, 1, 0) + "\xc0\x0c" + inA, err: "unpacking Question.Name"},
	"pointers in a circle":   {msg: dnsHeader(asks, 1, 0) + "\x01a\xc0\x10\xc0\x0c" + inA, err: "unpacking Question.Name"},
	"pointer beyond the end": {msg: dnsHeader(asks, 1, 0) + "\xff\xff" + inA, err: "unpacking Question.Name"},
	"half a pointer":         {msg: dnsHeader(asks, 1, 0) + "\xc0", err: "unpacking Question.Name"},
	"a dot in a label":       {msg: dnsHeader(asks, 1, 0) + "\x03a.b\x00" + inA, err: "unpacking Question.Name"},
}

func TestParseDNS(t *testing.T) {
	for name, tt := range dnsMessages {
		t.Run(name, func(t *testing.T) {
			var p dnsmessage.Parser
			was := event.DNSEvent{ID: 7, Question: event.DNSQuestion{Name: "before"}}
			got := was
			ok, err := parseDNS(&p, []byte(tt.msg), &got)
			if tt.err != "" || tt.not {
				assert.False(t, ok)
				assert.Equal(t, was, got, "nothing was written")
				if tt.not {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, tt.err)
				}
				return
			}
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, event.DNSEvent{ID: 0x1234, Question: tt.want}, got)
		})
	}
}

// FuzzParseDNS reads what a process may send to a name server. What is understood can be written.
func FuzzParseDNS(f *testing.F) {
	for _, tt := range dnsMessages {
		f.Add([]byte(tt.msg))
	}
	for _, typ := range []dnsmessage.Type{1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 65, 251, 252, 255, 0, 65535} {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 1, RecursionDesired: true}, Questions: []dnsmessage.Question{
			{Name: dnsmessage.MustNewName("host.example."), Type: typ, Class: dnsmessage.ClassINET}, {Name: dnsmessage.MustNewName("host.example."), Type: typ, Class: dnsmessage.ClassANY},
		}}
		b, err := m.Pack()
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p dnsmessage.Parser
		before := string(msg)
		ev := event.Event{Type: event.TypeDNS, DNS: &event.DNSEvent{}}
		ok, err := parseDNS(&p, msg, ev.DNS)
		require.Equal(t, before, string(msg), "the packet is not changed")
		if err != nil || !ok {
			require.False(t, ok && err != nil)
			require.Equal(t, event.DNSEvent{}, *ev.DNS)
			return
		}
		q := &ev.DNS.Question
		require.LessOrEqual(t, len(q.Name), 254)
		require.False(t, strings.HasSuffix(q.Name, "."))
		require.NotZero(t, q.Count)
		require.NotEmpty(t, q.Type)
		require.NotEmpty(t, q.Class)
		for label := range strings.SplitSeq(q.Name, ".") {
			require.LessOrEqual(t, len(label), 63)
			require.True(t, q.Name == "" || label != "", "an empty label in %q", q.Name)
		}
		body := ev.AppendJSON(nil)
		require.True(t, utf8.Valid(body))
		var read struct {
			DNS struct {
				Question struct{ Name string }
			}
		}
		require.NoError(t, json.Unmarshal(body, &read), "%s", body)
		require.Equal(t, q.Name, event.Unescape(read.DNS.Question.Name))
	})
}
