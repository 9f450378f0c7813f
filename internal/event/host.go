// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"cmp"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// SchemaURL is that of the semantic conventions that the records follow.
const SchemaURL = semconv.SchemaURL

// Host is what the records of one machine and boot have in common: the Resource.
type Host struct {
	ID            string // host.id
	IDSource      string // where ID is from: config, dmi, machine-id or kubernetes
	Name          string
	Arch          string // amd64, arm64
	OSType        string // linux
	OSName        string // as os-release has it in ID: debian
	OSVersion     string // VERSION_ID: 12
	KernelRelease string
	BootID        string
}

// fields pairs the attributes of the Resource with the members of h.
func (h *Host) fields() [9]struct {
	key   string
	value *string
} {
	return [9]struct {
		key   string
		value *string
	}{
		{AttrHostID, &h.ID},
		{AttrHostIDSource, &h.IDSource},
		{AttrHostName, &h.Name},
		{AttrHostArch, &h.Arch},
		{AttrOSType, &h.OSType},
		{AttrOSName, &h.OSName},
		{AttrOSVersion, &h.OSVersion},
		{AttrKernelRelease, &h.KernelRelease},
		{AttrBootID, &h.BootID},
	}
}

// ToResource sets the attributes of a Resource; what is not known is left out.
func (h *Host) ToResource(r pcommon.Resource) {
	attrs := r.Attributes()
	f := h.fields()
	attrs.EnsureCapacity(len(f))
	for i := range f {
		if *f[i].value != "" {
			attrs.PutStr(f[i].key, *f[i].value)
		}
	}
}

// HostFromResource is the inverse of ToResource.
func HostFromResource(r pcommon.Resource) (h Host) {
	for _, f := range h.fields() {
		if v, ok := r.Attributes().Get(f.key); ok {
			*f.value = strings.Clone(v.AsString())
		}
	}
	return h
}

// Agent returns what the agent object of every log from this host has; version is the compatibility level of the rules.
func (h *Host) Agent(version string) Agent {
	return Agent{
		Version: version, OS: cmp.Or(h.OSType, "linux"), Arch: h.agentArch(), Origin: originEBPF, KernelVersion: h.KernelRelease, Distribution: h.distribution(),
	}
}

// agentArch translates GOARCH to what agent.arch has.
func (h *Host) agentArch() string {
	if h.Arch == "amd64" {
		return "x64"
	}
	return h.Arch
}

// distribution is agent.distribution: "debian - 12".
func (h *Host) distribution() string {
	if h.OSVersion == "" {
		return h.OSName
	}
	return h.OSName + " - " + h.OSVersion
}
