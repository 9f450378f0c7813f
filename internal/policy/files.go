// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// Extension is that of the policy files of a directory. A file that is named itself may have any name.
	Extension = ".policy"
	// DefaultName is the policy that is loaded first, so that all others can change its rules.
	DefaultName = "default" + Extension

	maxFiles = 1000
	// maxOperands is how many operands all macros and expressions have together, a second form of each rule for the receiver's filter
	// included. They take some 40 bytes each, so this is about 400 MB. Datadog's 165 rules have 9,000.
	maxOperands = 10_000_000
)

// source is a policy file to read, or the reason why there is none.
type source struct {
	path string
	err  error
	dir  bool // path is a directory that could not be listed
}

// list finds the policy files of paths, each a file or a directory: default.policy first, then by name, then in the order of
// paths. A path that is given twice is read once.
func list(paths []string) []source {
	var out []source
	seen := map[string]bool{}
	add := func(s source) {
		if !seen[s.path] {
			seen[s.path] = true
			out = append(out, s)
		}
	}
	for _, p := range paths {
		p = filepath.Clean(p)
		info, err := os.Stat(p)
		switch {
		case err != nil:
			add(source{path: p, err: plainPathError(err), dir: isDirName(p)})
		case !info.IsDir():
			add(source{path: p})
		default:
			names, err := listDirectory(p)
			if err != nil {
				// That a directory was emptied is somebody's will; that it cannot be listed is not.
				add(source{path: p, err: err, dir: !errors.Is(err, errNoFiles)})
			}
			for _, name := range names {
				add(source{path: filepath.Join(p, name)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b source) int {
		an, bn := filepath.Base(a.path), filepath.Base(b.path)
		switch {
		case an == bn:
			return 0
		case an == DefaultName:
			return -1
		case bn == DefaultName:
			return 1
		}
		return strings.Compare(an, bn)
	})
	return out
}

// isDirName guesses whether a path that does not exist was a directory.
func isDirName(path string) bool { return filepath.Ext(path) != Extension }

var errNoFiles = errors.New("the directory has no *" + Extension + " file")

func listDirectory(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, plainPathError(err)
	}
	var names []string
	for _, e := range entries {
		// Names with a dot in front are of editors, and of the symlinks behind a mounted ConfigMap.
		if name := e.Name(); filepath.Ext(name) == Extension && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0:
		return nil, errNoFiles
	case len(names) > maxFiles:
		return nil, fmt.Errorf("the directory has more than %d *%s files", maxFiles, Extension)
	}
	return names, nil
}

// Files finds the policy files of paths, each a file of any name or a directory of *.policy files, as Load does. The error is of
// a path that is not there, or a directory without policies.
func Files(paths []string) ([]string, error) {
	var out []string
	for _, s := range list(paths) {
		if s.err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, s.err)
		}
		out = append(out, s.path)
	}
	return out, nil
}

// ReadFile reads a policy file as it is. It must be a regular file that is not too large to be loaded.
func ReadFile(path string) ([]byte, error) {
	s := source{path: path}
	return s.readRaw()
}

// Read reads a policy that is not too large to be loaded.
func Read(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, plainPathError(err)
	}
	if len(b) > maxFileSize {
		return nil, fmt.Errorf("the file has more than %d bytes", maxFileSize)
	}
	return b, nil
}

// read reads a file with \n at the ends of lines.
func (s *source) read() ([]byte, error) {
	b, err := s.readRaw()
	if err != nil {
		return nil, err
	}
	return normalizeLineEnds(b), nil
}

// normalizeLineEnds makes \n of all that ends a line in YAML. With one form a place means the same to everybody.
func normalizeLineEnds(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
}

// readRaw reads a regular file of at most maxFileSize bytes. It does not wait for the writer of a named pipe.
func (s *source) readRaw() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	f, err := os.OpenFile(s.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, plainPathError(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, plainPathError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return Read(f)
}

// plainPathError drops the path, which the report has in a place of its own.
func plainPathError(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("cannot %s: %w", pe.Op, pe.Err)
	}
	return err
}
