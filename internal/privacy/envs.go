// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"
	"slices"
)

// DefaultEnvsWithValue are the environment variables whose values are recorded, unless configured otherwise: those that
// change how programs are loaded or logged, or that correlate.
var DefaultEnvsWithValue = []string{
	"LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "HISTSIZE", "HISTFILESIZE", "GLIBC_TUNABLES", "SSH_CLIENT", "DD_SERVICE", "OTEL_SERVICE_NAME",
}

// EnvFilter reduces an environment to names, and to NAME=value for names on its list. nil has an empty list.
type EnvFilter struct {
	names map[string]struct{}
}

// NewEnvFilter makes a filter that lets the values of names through.
func NewEnvFilter(names []string) *EnvFilter {
	f := &EnvFilter{names: make(map[string]struct{}, len(names))}
	for _, n := range names {
		f.names[n] = struct{}{}
	}
	return f
}

// Parse splits an environment as the kernel has it: each variable ends with a NUL. truncated says that data is not all of
// it. At most MaxArgs variables are kept, each of MaxArgLen bytes at most, cut as ParseArgs does. What has no "=" is no
// variable: a process can put anything there, also a secret, so of that nothing is kept.
func (f *EnvFilter) Parse(data []byte, truncated bool) (envs []string, envsTruncated bool) {
	envsTruncated = truncated
	for len(data) > 0 {
		entry, rest, ended := bytes.Cut(data, []byte{0})
		data = rest
		// Names begin at the second byte: an empty one is no name.
		i := bytes.IndexByte(entry[min(1, len(entry)):], '=') + 1
		if i == 0 {
			continue
		}
		if len(envs) == MaxArgs {
			return envs, true
		}
		if envs == nil {
			envs = make([]string, 0, min(bytes.Count(data, []byte{0})+1, MaxArgs))
		}
		keep, unfinished := entry[:i], false
		if f != nil {
			if _, ok := f.names[string(keep)]; ok {
				keep, unfinished = entry, truncated && !ended
			}
		}
		s, cut := clip(keep, unfinished)
		envsTruncated = envsTruncated || cut
		envs = append(envs, s)
	}
	return slices.Clip(envs), envsTruncated
}
