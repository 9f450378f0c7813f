// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

const (
	maxDomainBytes = 255  // the longest name that DNS allows
	maxRootDomains = 1024 // names whose root domain is remembered
)

// rootDomains remembers root domains: to find one allocates, and to read a field must not.
var rootDomains = struct {
	sync.RWMutex
	of map[string]string
}{of: map[string]string{}}

// rootDomain is the part of a name that someone registered, such as example.co.uk of www.example.co.uk: a public suffix and
// one label before it. It is empty for what is no more than a suffix, and for what is no name.
func rootDomain(name string) string {
	if name == "" || len(name) > maxDomainBytes {
		return ""
	}
	rootDomains.RLock()
	root, ok := rootDomains.of[name]
	rootDomains.RUnlock()
	if ok {
		return root
	}
	name = strings.Clone(name) // it may be a view of a buffer
	root = findRootDomain(strings.TrimSuffix(name, "."))
	rootDomains.Lock()
	defer rootDomains.Unlock()
	if len(rootDomains.of) >= maxRootDomains {
		clear(rootDomains.of)
	}
	rootDomains.of[name] = root
	return root
}

func findRootDomain(name string) string {
	suffix, _ := publicsuffix.PublicSuffix(strings.ToLower(name)) // the list is in small letters
	dot := len(name) - len(suffix) - 1
	if dot <= 0 || name[dot] != '.' {
		return ""
	}
	start := strings.LastIndexByte(name[:dot], '.') + 1
	if start == dot {
		return "" // two dots
	}
	return name[start:]
}
