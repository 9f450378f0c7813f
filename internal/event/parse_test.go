// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a record has in attributes is known of a body alone as far as its members tell, and is unavailable otherwise.
func TestFactsOfBody(t *testing.T) {
	read := func(e *Event, name string) any {
		f, ok := LookupField(name)
		require.True(t, ok, name)
		if f.Available != nil && !f.Available(e) {
			return "unavailable"
		}
		return f.Int(e)
	}
	for name, tt := range map[string]struct {
		body string
		want map[string]any
	}{
		"flags of open": {
			`{"evt":{"name":"open","outcome":"Success"},"file":{"path":"/a","flags":["O_WRONLY","O_CREAT","268435456"]}}`,
			map[string]any{"open.flags": int64(0o101 | 1<<28), "open.retval": "unavailable", "open.syscall.mode": "unavailable", "open.syscall.flags": int64(0o101 | 1<<28)},
		},
		"flags of open, which are never empty": {`{"evt":{"name":"open"},"file":{"path":"/a"}}`, map[string]any{"open.flags": "unavailable"}},
		"flags of unlink":                      {`{"evt":{"name":"unlink"},"file":{"path":"/a","flags":["AT_REMOVEDIR"]}}`, map[string]any{"unlink.flags": int64(0x200)}},
		"flags of unlink, none":                {`{"evt":{"name":"unlink"},"file":{"path":"/a"}}`, map[string]any{"unlink.flags": int64(0)}},
		"bind":                                 {`{"evt":{"name":"bind"},"bind":{"addr":{"family":"AF_INET","ip":"0.0.0.0","port":80}}}`, map[string]any{"bind.addr.family": int64(2), "bind.addr.port": int64(80)}},
		"bind of a family without a name":      {`{"evt":{"name":"bind"},"bind":{"addr":{"family":"99","ip":"","port":0}}}`, map[string]any{"bind.addr.family": int64(99)}},
		"connect": {
			`{"evt":{"name":"connect"},"network":{"l4_protocol":"IP_PROTO_UDP","destination":{"ip":"::1","port":53}}}`,
			map[string]any{"connect.addr.family": int64(10), "connect.protocol": int64(17), "connect.addr.port": int64(53)},
		},
		"connect in the extended form": {
			`{"evt":{"name":"connect"},"connect":{"addr":{"family":"AF_UNIX","ip":"","port":0},"protocol":"IP_PROTO_IP"}}`,
			map[string]any{"connect.addr.family": int64(1), "connect.protocol": int64(0)},
		},
		"connect of which nothing is known": {`{"evt":{"name":"connect"}}`, map[string]any{"connect.addr.family": "unavailable", "connect.protocol": "unavailable"}},
		"accept":                            {`{"evt":{"name":"accept"},"network":{"source":{"ip":"192.0.2.1","port":9}}}`, map[string]any{"accept.addr.family": int64(2)}},
		"of a process":                      {`{"evt":{"name":"exec"},"process":{"pid":1}}`, map[string]any{"process.auid": "unavailable", "process.pid": int64(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := ParseEvent([]byte(tt.body), 0)
			require.NoError(t, err)
			for field, want := range tt.want {
				assert.Equal(t, want, read(e, field), field)
			}
		})
	}
	for outcome, want := range map[string]int64{"Success": 0, "Refused": -13, "Error": -4095} {
		e, err := ParseEvent([]byte(`{"evt":{"name":"open","outcome":"`+outcome+`"},"file":{"path":"/a"}}`), 0)
		require.NoError(t, err)
		assert.Equal(t, want, e.Facts.Retval, outcome)
	}
	e, err := ParseEvent([]byte(`{"type":"open","open.file.path":"/a"}`), 0)
	require.NoError(t, err)
	assert.Equal(t, int64(0), read(e, "open.flags"), "what a flat event does not have is zero")
}
