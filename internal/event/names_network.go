// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import "strconv"

var (
	dnsTypeNames  = namesByNumber(dnsTypes, nil)
	dnsClassNames = namesByNumber(dnsClasses, nil)
)

// DNSTypeName returns the name of a type of DNS records, or qtype(N) if it has none.
func DNSTypeName(typ uint16) string {
	if name, ok := dnsTypeNames[int64(typ)]; ok {
		return name
	}
	return "qtype(" + strconv.Itoa(int(typ)) + ")"
}

// DNSClassName returns the CLASS_ name of a class of DNS records, or qclass(N) if it has none.
func DNSClassName(class uint16) string {
	if name, ok := dnsClassNames[int64(class)]; ok {
		return name
	}
	return "qclass(" + strconv.Itoa(int(class)) + ")"
}
