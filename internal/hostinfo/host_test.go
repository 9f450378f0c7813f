// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package hostinfo

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

const (
	testUUID      = "4c4c4544-0042-3510-8052-b4c04f564432"
	testMachineID = "0123456789abcdef0123456789abcdef"
)

func testOptions(t *testing.T, files, env map[string]string) Options {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return Options{
		Root: root, Getenv: func(name string) string { return env[name] },
		Uname: func(buf *unix.Utsname) error {
			copy(buf.Nodename[:], "box")
			copy(buf.Release[:], "6.1.0-18-amd64")
			return nil
		},
	}
}

func TestDetect(t *testing.T) {
	o := testOptions(t, map[string]string{
		"sys/class/dmi/id/product_uuid":  testUUID + "\n",
		"etc/os-release":                 "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n# VERSION_ID=1\nVERSION_ID=\"12\"\n",
		"proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
	}, nil)
	h, err := DetectWith("", o)
	require.NoError(t, err)
	assert.Equal(t, event.Host{
		ID: testUUID, IDSource: "dmi", Name: "box", Arch: runtime.GOARCH, OSType: "linux", OSName: "debian", OSVersion: "12",
		KernelRelease: "6.1.0-18-amd64", BootID: "11111111-2222-3333-4444-555555555555",
	}, h)
}

func TestHostID(t *testing.T) {
	const (
		dmi     = "sys/class/dmi/id/product_uuid"
		machine = "etc/machine-id"
	)
	all := map[string]string{dmi: testUUID, machine: testMachineID}
	nodes := map[string]string{"K8S_NODE_NAME": "node-a", "NODE_NAME": "node-b"}
	for _, tc := range []struct {
		name       string
		configured string
		files, env map[string]string
		id, source string
	}{
		{"configured", " i-1 ", all, nodes, "i-1", "config"},
		{"firmware", "", all, nodes, testUUID, "dmi"},
		{"upper case", "", map[string]string{dmi: "4C4C4544-0042-3510-8052-B4C04F564432\n"}, nil, testUUID, "dmi"},
		{"no UUID", "", map[string]string{dmi: "Not Settable", machine: testMachineID}, nodes, testMachineID, "machine-id"},
		{"zeros", "", map[string]string{dmi: "00000000-0000-0000-0000-000000000000", machine: testMachineID}, nodes, testMachineID, "machine-id"},
		{"ones", "", map[string]string{dmi: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", machine: testMachineID}, nodes, testMachineID, "machine-id"},
		{"vendor set none", "", map[string]string{dmi: "03000200-0400-0500-0006-000700080009", machine: testMachineID}, nodes, testMachineID, "machine-id"},
		{"dashes at other places", "", map[string]string{dmi: "4c4c45440-042-3510-8052-b4c04f564432"}, nodes, "node-a", "kubernetes"},
		{"machine-id", "", map[string]string{machine: testMachineID + "\n"}, nodes, testMachineID, "machine-id"},
		{"machine-id of D-Bus", "", map[string]string{machine: "uninitialized\n", "var/lib/dbus/machine-id": testMachineID}, nodes, testMachineID, "machine-id"},
		{"bad machine-ids", "", map[string]string{machine: "0", "var/lib/dbus/machine-id": "z" + testMachineID[1:]}, nodes, "node-a", "kubernetes"},
		{"node name", "", nil, nodes, "node-a", "kubernetes"},
		{"other node name", "", nil, map[string]string{"NODE_NAME": "node-b"}, "node-b", "kubernetes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := DetectWith(tc.configured, testOptions(t, tc.files, tc.env))
			require.NoError(t, err)
			assert.Equal(t, tc.id, h.ID)
			assert.Equal(t, tc.source, h.IDSource)
		})
	}
}

func TestDetectErrors(t *testing.T) {
	o := testOptions(t, nil, nil)
	h, err := DetectWith("", o)
	require.EqualError(t, err, "no host.id: neither DMI product_uuid nor /etc/machine-id can be read, and neither K8S_NODE_NAME nor NODE_NAME is set; set host_id in the configuration")
	assert.Equal(t, "box", h.Name)

	o.Uname = func(*unix.Utsname) error { return unix.ENOSYS }
	h, err = DetectWith("x", o)
	require.ErrorIs(t, err, unix.ENOSYS)
	assert.Equal(t, "x", h.ID)
}

func TestDetectHere(t *testing.T) {
	h, err := Detect("here")
	require.NoError(t, err)
	assert.Equal(t, "here", h.ID)
	assert.NotEmpty(t, h.Name)
	assert.NotEmpty(t, h.KernelRelease)
	assert.Len(t, h.BootID, 36)
}

func TestParseOSRelease(t *testing.T) {
	for _, tc := range []struct{ text, name, version string }{
		{"", "", ""},
		{"ID=arch", "arch", ""},
		{"ID='alpine'\r\nVERSION_ID=3.20.1", "alpine", "3.20.1"},
		{`ID="a\"b\\c\$d"`, `a"b\c$d`, ""},
		{"ID=\nVERSION_ID=\"\"", "", ""},
		{"IDX=1\nXID=2\nID\n=3", "", ""},
		{`ID="`, `"`, ""},
		{`ID=a\`, `a\`, ""},
	} {
		name, version := parseOSRelease([]byte(tc.text))
		assert.Equal(t, tc.name, name, "%q", tc.text)
		assert.Equal(t, tc.version, version, "%q", tc.text)
	}
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\n"))
	f.Add([]byte(`ID="\`))
	f.Add([]byte("ID='\nID=\"\"\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, version := parseOSRelease(data)
		assert.LessOrEqual(t, len(name)+len(version), len(data)*3) // invalid bytes are never made longer than a rune
	})
}
