// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securitypoliciesextension

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/picketsec/picket/internal/policy"
)

// maxWait bounds, in debounce periods, how long a reload waits for files that do not come to rest.
const maxWait = 10

// watcher calls reload after something changed at one of paths. Directories are watched and never files, because editors
// and ConfigMap volumes put a new file, or a new directory behind a symlink, in the place of the old one.
type watcher struct {
	paths    []string // absolute
	debounce time.Duration
	logger   *zap.Logger
	reload   func()
	fs       *fsnotify.Watcher
	watched  map[string]bool
	targets  []string        // directories that symlinks lead to, as of the last sync
	failed   map[string]bool // reported once
	done     sync.WaitGroup
}

func newWatcher(paths []string, debounce time.Duration, logger *zap.Logger, reload func()) (*watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching policy files: %w", err)
	}
	w := &watcher{debounce: debounce, logger: logger, reload: reload, fs: fs, watched: map[string]bool{}, failed: map[string]bool{}}
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("watching policy files: %w", err), fs.Close())
		}
		w.paths = append(w.paths, abs)
	}
	w.sync()
	w.done.Add(1)
	go w.run()
	return w, nil
}

// close stops watching and waits for a reload that is under way.
func (w *watcher) close() {
	if err := w.fs.Close(); err != nil {
		w.logger.Warn("closing the watch of policy files", zap.Error(err))
	}
	w.done.Wait()
}

func (w *watcher) run() {
	defer w.done.Done()
	var fire <-chan time.Time
	var deadline time.Time
	for {
		select {
		case ev, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if ev.Op == fsnotify.Chmod || !w.concerns(ev.Name) {
				continue
			}
			now := time.Now()
			if fire == nil {
				deadline = now.Add(maxWait * w.debounce)
			}
			fire = time.After(min(w.debounce, deadline.Sub(now)))
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			// Most likely an overflow of the kernel's queue: something has changed that is not known.
			w.logger.Warn("watching policy files", zap.Error(err))
			fire = time.After(w.debounce)
		case <-fire:
			fire = nil
			// First the watches, so that what changes while the files are read makes a next event.
			w.sync()
			w.reload()
		}
	}
}

// concerns says whether a change of name can be one of the policies: a policy path, an entry of it or a directory above it,
// or an entry of a directory that symlinks lead to. An entry beside a policy file is one only if it may be the symlink
// that a ConfigMap volume swaps (..data).
func (w *watcher) concerns(name string) bool {
	for _, p := range w.paths {
		if name == p || filepath.Dir(name) == p || strings.HasPrefix(p, name+string(filepath.Separator)) {
			return true
		}
		if filepath.Dir(name) == filepath.Dir(p) && strings.HasPrefix(filepath.Base(name), "..") {
			return true
		}
	}
	for _, t := range w.targets {
		if name == t || filepath.Dir(name) == t {
			return true
		}
	}
	return false
}

// linked are the directories behind those paths that are symlinks, or go through one, or have symlinks to policies in them.
func (w *watcher) linked() []string {
	const maxLinked = 100
	var out []string
	for _, p := range w.paths {
		candidates, _ := filepath.Glob(filepath.Join(escapeGlob(p), "*"+policy.Extension)) // no directory: none
		for _, c := range append(candidates, p) {
			target, err := filepath.EvalSymlinks(c)
			if err != nil || target == c {
				continue
			}
			if info, err := os.Stat(target); err == nil && !info.IsDir() {
				target = filepath.Dir(target)
			}
			if len(out) < maxLinked && target != p && !slices.Contains(out, target) {
				out = append(out, target)
			}
		}
	}
	return out
}

var globEscapes = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)

func escapeGlob(path string) string { return globEscapes.Replace(path) }

// sync makes the watches those that the paths need as the file system is now.
func (w *watcher) sync() {
	wanted := map[string]bool{}
	for _, p := range w.paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			wanted[p] = true
		}
		wanted[existingParent(p)] = true
	}
	w.targets = w.linked()
	for _, t := range w.targets {
		wanted[t] = true
		wanted[existingParent(t)] = true
	}
	for dir := range w.watched {
		if !wanted[dir] {
			delete(w.watched, dir)
			_ = w.fs.Remove(dir) // fails if the directory is gone, and its watch with it
		}
	}
	for dir := range wanted {
		// Adding again what is watched renews the watch of a directory that was replaced by one of the same name.
		if err := w.fs.Add(dir); err != nil {
			if !w.failed[dir] && !errors.Is(err, fsnotify.ErrClosed) {
				w.failed[dir] = true
				w.logger.Warn("a directory of policies cannot be watched: its changes are not seen", zap.String("directory", dir), zap.Error(err))
			}
			continue
		}
		delete(w.failed, dir)
		w.watched[dir] = true
	}
}

// existingParent is the nearest directory above path that exists.
func existingParent(path string) string {
	for {
		parent := filepath.Dir(path)
		if info, err := os.Stat(parent); (err == nil && info.IsDir()) || parent == path {
			return parent
		}
		path = parent
	}
}
