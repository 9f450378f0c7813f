// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package suite does, by the system calls themselves, what Picket is to see, and looks at every member of what it saw.
//
// A case runs in a process of its own, in a directory of its own. Only the processes that the test starts are in scope.
package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// testcase is something that a process does, and the events that it must make. Others may be there too.
type testcase struct {
	name string
	do   func(dir string) error // in the actor: a process of its own, with dir as its working directory
	want []want
	not  []want        // no event may be like this
	skip func() string // why it cannot run here; empty if it can

	then  func(dir string) error // what the actor does when its events were seen
	after []want                 // what that makes
	stays bool                   // the actor is there until its events were seen, because they are looked up through it
}

// want describes an event. Members are named by their path in the body; $DIR and $PID in strings stand for the case's
// directory and the actor's pid. A value is compared as text; absent must not be there; a func(any) error looks itself.
type want struct {
	typ     string
	members map[string]any
	attrs   map[string]any // attributes of the record
	other   bool           // of another process than the actor itself
}

type absentValue struct{}

// absent as a value says that there is no such member.
var absent absentValue

// present as a value says that there is such a member, and it is not empty.
func present(v any) error {
	if v == nil || v == "" {
		return errors.New("empty")
	}
	return nil
}

// matches as a value is a regular expression for the whole of what there is.
type matches string

// recent as a value says that there is such a time, not long ago.
func recent(v any) error {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err == nil && time.Since(t).Abs() > time.Minute {
		err = errors.New("not recent")
	}
	return err
}

const (
	actorEnv = "PICKET_SUITE_ACTOR" // name of the case
	dirEnv   = "PICKET_SUITE_DIR"
	deadline = 30 * time.Second

	awaitDeadline = 5 * time.Second
)

// actors are the cases by name: the test binary is also the process that is watched.
var (
	actors  = map[string]func(dir string) error{}
	andThen = map[string]func(dir string) error{}
)

// cases makes the cases of a family known to the actor.
func cases(family string, all []testcase) []testcase {
	for i := range all {
		all[i].name = family + "/" + all[i].name
		if _, ok := actors[all[i].name]; ok {
			panic("two cases " + all[i].name)
		}
		actors[all[i].name], andThen[all[i].name] = all[i].do, all[i].then
	}
	return all
}

// An actor acts in its first thread: credentials, namespaces and root are those of a thread.
func init() {
	if os.Getenv(actorEnv) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if name := os.Getenv(actorEnv); name != "" {
		do := actors[name]
		if do == nil {
			fmt.Fprintln(os.Stderr, "no case", name)
			os.Exit(1)
		}
		if err := errors.Join(os.Chdir(os.Getenv(dirEnv)), do(os.Getenv(dirEnv))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if n, _ := os.Stdin.Read(make([]byte, 1)); n == 1 {
			if err := andThen[name](os.Getenv(dirEnv)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			_, _ = os.Stdin.Read(make([]byte, 1)) // until nobody needs it any more
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// seen is a record as the suite reads it.
type seen struct {
	typ   string
	pid   string
	body  map[string]any
	attrs map[string]any
	text  string
}

// watch collects what a receiver sees.
type watch struct {
	mu     sync.Mutex
	events []seen
	errs   []error
	schema *jsonschema.Schema
}

func (*watch) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (w *watch) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				w.add(lr)
			}
		}
	}
	return nil
}

func (w *watch) add(lr plog.LogRecord) {
	text := lr.Body().Str()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	e := seen{attrs: lr.Attributes().AsRaw(), text: text, typ: lr.EventName()}
	if err := d.Decode(&e.body); err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", text, err))
		return
	}
	if e.attrs[event.AttrRecordKind] == event.KindEvent {
		e.typ = fmt.Sprint(lookup(e.body, "evt.name"))
		e.pid = fmt.Sprint(lookup(e.body, "process.pid"))
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = w.schema.Validate(doc)
		}
		if err != nil {
			w.errs = append(w.errs, fmt.Errorf("%s: %w", text, err))
		}
	}
	w.events = append(w.events, e)
}

// lookup finds a member by its path. Names with dots in them are found, too; "0" is the first element of an array.
func lookup(v any, path string) any {
	switch v := v.(type) {
	case map[string]any:
		if m, ok := v[path]; ok {
			return m
		}
		for i := range path {
			if path[i] == '.' {
				if m, ok := v[path[:i]]; ok {
					return lookup(m, path[i+1:])
				}
			}
		}
	case []any:
		first, rest, more := strings.Cut(path, ".")
		if i, err := strconv.Atoi(first); err == nil && i < len(v) {
			if !more {
				return v[i]
			}
			return lookup(v[i], rest)
		}
	}
	return nil
}

// differs says in what an event is not the wanted one; empty if it is.
func (e *seen) differs(w *want, dir, pid string) (why []string) {
	if e.typ != w.typ || (e.pid == pid) == w.other {
		return []string{"another event"}
	}
	compare := func(name string, got, want any) {
		switch want := want.(type) {
		case absentValue:
			if got != nil {
				why = append(why, fmt.Sprintf("%s is %v, want none", name, got))
			}
		case func(any) error:
			if err := want(got); err != nil {
				why = append(why, fmt.Sprintf("%s is %v: %v", name, got, err))
			}
		case matches:
			re := regexp.MustCompile("^(?:" + strings.ReplaceAll(string(want), "$DIR", regexp.QuoteMeta(dir)) + ")$")
			if got == nil || !re.MatchString(fmt.Sprint(got)) {
				why = append(why, fmt.Sprintf("%s is %v, want what matches %s", name, got, re))
			}
		default:
			text := strings.NewReplacer("$DIR", dir, "$PID", pid).Replace(fmt.Sprint(want))
			if got == nil || fmt.Sprint(got) != text {
				why = append(why, fmt.Sprintf("%s is %v, want %s", name, got, text))
			}
		}
	}
	for name, v := range w.members {
		compare(name, lookup(e.body, name), v)
	}
	for name, v := range w.attrs {
		compare("attribute "+name, e.attrs[name], v)
	}
	slices.Sort(why)
	return why
}

// start runs a receiver that sees only what this process starts.
func start(t *testing.T, change func(*ebpfsecurityreceiver.Config)) *watch {
	t.Helper()
	w := &watch{schema: compileSchema(t)}
	stop := receive(t, w, change)
	t.Cleanup(func() {
		stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		require.NoError(t, errors.Join(w.errs...), "every body is a JSON of the schema")
	})
	return w
}

// receive is start with a consumer of one's own. The receiver runs until stop is called.
func receive(t *testing.T, next consumer.Logs, change func(*ebpfsecurityreceiver.Config)) (stop func()) {
	t.Helper()
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	f := ebpfsecurityreceiver.NewFactory()
	cfg := f.CreateDefaultConfig().(*ebpfsecurityreceiver.Config)
	cfg.Scope.ProcessTrees = []int{os.Getpid()}
	cfg.Batch.Timeout = 10 * time.Millisecond
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	r, err := f.CreateLogs(t.Context(), receivertest.NewNopSettings(f.Type()), cfg, next)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	return func() { require.NoError(t, r.Shutdown(context.WithoutCancel(t.Context()))) }
}

// run runs the cases of a family. What was seen is returned for what no case can say.
func run(t *testing.T, all []testcase, change func(*ebpfsecurityreceiver.Config)) *watch {
	t.Helper()
	w := start(t, change)
	for _, c := range all {
		t.Run(c.name[strings.IndexByte(c.name, '/')+1:], func(t *testing.T) {
			if c.skip != nil {
				if why := c.skip(); why != "" {
					t.Skip(why)
				}
			}
			dir := collectortest.OpenDir(t) // cases act as other users, too
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{actorEnv + "=" + c.name, dirEnv + "=" + dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			pid := strconv.Itoa(cmd.Process.Pid)
			if c.stays || c.then != nil {
				w.await(c.want, dir, pid)
			}
			if c.then != nil {
				_, err := stdin.Write([]byte{0})
				require.NoError(t, err)
				w.await(c.after, dir, pid)
			}
			require.NoError(t, stdin.Close())
			require.NoError(t, cmd.Wait(), "%s", &out)
			w.expect(t, slices.Concat(c.want, c.after), c.not, dir, pid)
		})
	}
	return w
}

// await waits until there is an event for each that is wanted; expect says what is missing.
func (w *watch) await(wants []want, dir, pid string) {
	for end := time.Now().Add(awaitDeadline); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		events := slices.Clone(w.events)
		w.mu.Unlock()
		if !slices.ContainsFunc(wants, func(want want) bool {
			return !slices.ContainsFunc(events, func(e seen) bool { return len(e.differs(&want, dir, pid)) == 0 })
		}) {
			return
		}
	}
}

// expect waits until each wanted event was seen. An event stands for one of them only. The exit of the actor is the last
// of its events, so that with it everything is there.
func (w *watch) expect(t *testing.T, wants, not []want, dir, pid string) {
	t.Helper()
	var events []seen
	for end := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		events = slices.Clone(w.events)
		w.mu.Unlock()
		if slices.ContainsFunc(events, func(e seen) bool { return e.typ == "exit" && e.pid == pid }) {
			break
		}
		require.True(t, time.Now().Before(end), "the actor's exit was not seen")
	}
	used := make([]bool, len(events))
	for i := range wants {
		found := false
		for j := range events {
			if !used[j] && len(events[j].differs(&wants[i], dir, pid)) == 0 {
				used[j], found = true, true
				break
			}
		}
		if !found {
			t.Errorf("no event like %+v", wants[i])
			var nearest *seen
			var why []string
			for j := range events {
				if e := &events[j]; e.typ == wants[i].typ && (e.pid == pid) != wants[i].other && strings.Contains(e.text, pid) {
					if w := e.differs(&wants[i], dir, pid); nearest == nil || len(w) < len(why) {
						nearest, why = e, w
					}
				}
			}
			if nearest != nil {
				t.Logf("the nearest differs (%s): %.3000s", strings.Join(why, "; "), nearest.text)
			}
		}
	}
	for i := range not {
		for j := range events {
			if len(events[j].differs(&not[i], dir, pid)) == 0 {
				t.Errorf("an event like %+v: %.3000s", not[i], events[j].text)
			}
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("../../internal/event/testdata/csm_threats.schema.json")
	require.NoError(t, err)
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}

// nobody makes the actor's thread that of an ordinary user without groups and capabilities.
func nobody() error {
	const id = 65534
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, e := unix.RawSyscall(call, id, id, id); e != 0 {
			return e
		}
	}
	return nil
}

// fails turns the error that a call must have into nil, and everything else into an error.
func fails(err error, with unix.Errno) error {
	if errors.Is(err, with) {
		return nil
	}
	return fmt.Errorf("want %w, got %q", with, fmt.Sprint(err))
}
