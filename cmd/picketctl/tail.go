// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	// maxLineBytes bounds one line. The collector writes one batch per line; a thousand logs of 10 KB are 10 MB.
	maxLineBytes = 64 << 20
	readBytes    = 64 << 10
)

// lines cuts a stream into lines, over any number of writes, and holds an incomplete last line.
type lines struct {
	limit   int
	handle  func(number int, line []byte) // without the line break; not empty; valid during the call
	tooLong func(number int)

	partial []byte
	skip    bool // the rest of the line is being skipped
	number  int  // of complete lines
}

func (l *lines) write(data []byte) {
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			l.hold(data)
			return
		}
		l.hold(data[:i])
		l.end()
		data = data[i+1:]
	}
}

func (l *lines) hold(data []byte) {
	switch {
	case l.skip:
	case len(l.partial)+len(data) > l.limit:
		l.tooLong(l.number + 1)
		l.partial, l.skip = nil, true
	default:
		l.partial = append(l.partial, data...)
	}
}

// end ends the line that is being held, as a line break does.
func (l *lines) end() {
	l.number++
	if line := bytes.TrimSpace(l.partial); len(line) > 0 {
		l.handle(l.number, line)
	}
	l.restart()
}

// restart forgets an incomplete line.
func (l *lines) restart() {
	l.partial, l.skip = l.partial[:0], false
}

// finish ends an incomplete last line, if there is one.
func (l *lines) finish() {
	if len(l.partial) > 0 || l.skip {
		l.end()
	}
}

// tail reads a file to its end and, if follow is set, what is appended to it later. It goes on with the new file when the
// file is replaced (rotation), and at the beginning when it is truncated.
type tail struct {
	path     string
	follow   bool
	interval time.Duration // between two looks at a file that does not grow
	lines    *lines
	// idle is called when everything there is has been read.
	idle func()
	// missing is called once if the file does not exist yet and is waited for.
	missing func()
}

// run returns nil at the end of the file, or when ctx ends if it follows.
func (t *tail) run(ctx context.Context) error {
	f, err := t.open(ctx)
	if err != nil || f == nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s is a directory", t.path)
		}
		return readStream(ctx, f, t.lines, t.idle)
	}
	var (
		buf      = make([]byte, readBytes)
		offset   int64
		replaced *os.File // the file that has taken the path, while the old one is read to its end
	)
	defer func() {
		if replaced != nil {
			_ = replaced.Close()
		}
	}()
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		offset += int64(n)
		t.lines.write(buf[:n])
		switch {
		case n > 0:
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case !t.follow:
			t.lines.finish()
			t.idle()
			return nil
		case replaced != nil:
			t.lines.finish()
			_ = f.Close()
			f, replaced, offset = replaced, nil, 0
			t.lines.number = 0
			continue
		}
		t.idle()
		if !sleep(ctx, t.interval) {
			break
		}
		truncated, next, err := t.look(f, offset)
		if err != nil {
			return err
		}
		replaced = next
		if truncated {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			offset = 0
			t.lines.restart()
			t.lines.number = 0
		}
	}
	return nil
}

// look compares the open file with what the path names now. next is the file that has replaced it, opened, or nil. A path
// that names nothing is a rotation under way.
func (t *tail) look(f *os.File, offset int64) (truncated bool, next *os.File, err error) {
	open, err := f.Stat()
	if err != nil {
		return false, nil, err
	}
	named, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	if os.SameFile(open, named) {
		return open.Size() < offset, nil, nil
	}
	next, err = os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	return false, next, err
}

// open opens the file, and waits for it if it is to be followed. It returns nil, nil when ctx ended first.
func (t *tail) open(ctx context.Context) (*os.File, error) {
	for waited := false; ; {
		f, err := os.Open(t.path)
		if err == nil || !t.follow || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if !waited {
			waited = true
			t.missing()
		}
		if !sleep(ctx, t.interval) {
			return nil, nil
		}
	}
}

// sleep waits; it returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// readStream reads a pipe or a terminal to its end, or until ctx ends. A read that blocks then stays behind: it ends with
// the process.
func readStream(ctx context.Context, r io.Reader, l *lines, idle func()) error {
	type chunk struct {
		data []byte
		err  error
	}
	chunks := make(chan chunk)
	go func() {
		for {
			buf := make([]byte, readBytes)
			n, err := r.Read(buf)
			select {
			case chunks <- chunk{buf[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-chunks:
			l.write(c.data)
			if c.err != nil {
				l.finish()
				idle()
				if errors.Is(c.err, io.EOF) {
					return nil
				}
				return c.err
			}
			idle()
		}
	}
}
