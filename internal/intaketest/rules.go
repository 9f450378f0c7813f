// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package intaketest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// The limits of the intake.
const (
	MaxEntries      = 1000
	MaxPayloadBytes = 5_000_000 // of JSON, before compression
)

// maxSentBytes bounds what is read of a request. Data that cannot be compressed becomes a little larger.
const maxSentBytes = MaxPayloadBytes + MaxPayloadBytes/10

// minTime is a time in ms that a time in seconds is smaller than.
const minTime = 1_000_000_000_000

// refusedError is a request that the intake refuses.
type refusedError struct {
	status  int
	problem string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.problem) }

func refuse(status int, format string, args ...any) error {
	return &refusedError{status: status, problem: fmt.Sprintf(format, args...)}
}

// check reads the body of a request and fills in what it holds, or returns a *refusedError.
func (s *Server) check(r *http.Request, sent []byte, request *Request) error {
	if r.URL.Path != s.path {
		return refuse(http.StatusNotFound, "path %s is not %s", r.URL.Path, s.path)
	}
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "method %s is not POST", r.Method)
	}
	if err := s.checkHeader(r.Header); err != nil {
		return err
	}
	body, err := decompress(bytes.NewReader(sent), request.Encoding)
	if err != nil {
		return err
	}
	request.Body = body
	logs, err := parse(body)
	if err != nil {
		return err
	}
	request.Entries, request.Logs = len(logs), logs
	return checkTimestamps(r.Header, logs)
}

func (s *Server) checkHeader(h http.Header) error {
	switch key := h.Values("DD-API-KEY"); {
	case len(key) != 1 || key[0] == "":
		return refuse(http.StatusUnauthorized, "there are %d DD-API-KEY headers", len(key))
	case key[0] != s.apiKey:
		return refuse(http.StatusForbidden, "the API key is not known")
	}
	for _, name := range []string{
		"Content-Type", "User-Agent", "DD-EVP-ORIGIN", "DD-EVP-ORIGIN-VERSION", "dd-message-timestamp", "dd-current-timestamp",
	} {
		if n := len(h.Values(name)); n != 1 {
			return refuse(http.StatusBadRequest, "there are %d %s headers", n, name)
		}
	}
	if len(h.Values("Content-Encoding")) > 1 {
		return refuse(http.StatusBadRequest, "there are several Content-Encoding headers")
	}
	if v := h.Get("Content-Type"); v != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "Content-Type is %q", v)
	}
	if v := h.Get("DD-EVP-ORIGIN"); v != "cloud-workload-security" {
		return refuse(http.StatusBadRequest, "DD-EVP-ORIGIN is %q", v)
	}
	if h.Get("DD-EVP-ORIGIN-VERSION") == "" {
		return refuse(http.StatusBadRequest, "DD-EVP-ORIGIN-VERSION is missing")
	}
	if h.Get("User-Agent") == "" {
		return refuse(http.StatusBadRequest, "User-Agent is missing")
	}
	return nil
}

// checkTimestamps compares the headers with the logs: dd-message-timestamp is the time of the last one.
func checkTimestamps(h http.Header, logs []Log) error {
	last, err := strconv.ParseInt(h.Get("dd-message-timestamp"), 10, 64)
	if err != nil {
		return refuse(http.StatusBadRequest, "dd-message-timestamp is %q", h.Get("dd-message-timestamp"))
	}
	if want := logs[len(logs)-1].Timestamp; last != want {
		return refuse(http.StatusBadRequest, "dd-message-timestamp is %d, the last log has %d", last, want)
	}
	now, err := strconv.ParseInt(h.Get("dd-current-timestamp"), 10, 64)
	if err != nil || now < minTime {
		return refuse(http.StatusBadRequest, "dd-current-timestamp is %q", h.Get("dd-current-timestamp"))
	}
	return nil
}

// decompress reads the whole body, up to the limit of the intake.
func decompress(body io.Reader, encoding string) ([]byte, error) {
	switch encoding {
	case "":
	case "gzip":
		zr, err := gzip.NewReader(body)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "gzip: %v", err)
		}
		body = zr
	case "zstd":
		zr, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "zstd: %v", err)
		}
		defer zr.Close()
		body = zr
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding is %q", encoding)
	}
	plain, err := io.ReadAll(io.LimitReader(body, MaxPayloadBytes+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	if len(plain) > MaxPayloadBytes {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the payload is larger than %d bytes", MaxPayloadBytes)
	}
	return plain, nil
}

// member is a member of an entry.
type member struct {
	name string
	set  func(l *Log, value json.RawMessage) error
}

// members has the members of an entry and where their values go. An entry has each of them once, and no others.
var members = []member{
	{"message", func(l *Log, v json.RawMessage) error { return text(v, &l.Message) }},
	{"status", func(l *Log, v json.RawMessage) error { return text(v, &l.Status) }},
	{"timestamp", func(l *Log, v json.RawMessage) (err error) {
		l.Timestamp, err = strconv.ParseInt(string(v), 10, 64)
		return err
	}},
	{"hostname", func(l *Log, v json.RawMessage) error { return text(v, &l.Hostname) }},
	{"service", func(l *Log, v json.RawMessage) error { return text(v, &l.Service) }},
	{"ddsource", func(l *Log, v json.RawMessage) error { return text(v, &l.DDSource) }},
	{"ddtags", func(l *Log, v json.RawMessage) error { return text(v, &l.DDTags) }},
}

func text(value json.RawMessage, to *string) error {
	if value[0] != '"' { // null would be taken, too
		return errors.New("it is no string")
	}
	return json.Unmarshal(value, to)
}

// parse reads a payload: a JSON array of 1 to MaxEntries entries.
func parse(body []byte) ([]Log, error) {
	if !utf8.Valid(body) {
		return nil, refuse(http.StatusBadRequest, "the body is not UTF-8")
	}
	var entries []json.RawMessage
	switch err := json.Unmarshal(body, &entries); {
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body is no array of log entries: %v", err)
	case entries == nil:
		return nil, refuse(http.StatusBadRequest, "the body is no array of log entries")
	}
	switch n := len(entries); {
	case n == 0:
		return nil, refuse(http.StatusBadRequest, "the array is empty")
	case n > MaxEntries:
		return nil, refuse(http.StatusRequestEntityTooLarge, "%d entries are more than %d", n, MaxEntries)
	}
	logs := make([]Log, len(entries))
	for i, e := range entries {
		err := parseEntry(e, &logs[i])
		if err == nil {
			err = checkLog(&logs[i])
		}
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "entry %d: %v", i, err)
		}
	}
	return logs, nil
}

// parseEntry reads one entry. Unlike json.Unmarshal it minds the case of the names, and names that occur twice.
func parseEntry(entry json.RawMessage, l *Log) error {
	decoder := json.NewDecoder(bytes.NewReader(entry))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return errors.New("it is no object")
	}
	seen := make([]bool, len(members))
	for decoder.More() {
		t, err := decoder.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // of a member it is one
		i := slices.IndexFunc(members, func(m member) bool { return m.name == name })
		if i < 0 {
			return fmt.Errorf("unknown member %q", name)
		}
		if seen[i] {
			return fmt.Errorf("%s occurs twice", name)
		}
		seen[i] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		if err := members[i].set(l, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if i := slices.Index(seen, false); i >= 0 {
		return fmt.Errorf("%s is missing", members[i].name)
	}
	return nil
}

func checkLog(l *Log) error {
	switch {
	case !strings.HasPrefix(l.Message, "{") || !json.Valid([]byte(l.Message)):
		return errors.New("message is no JSON object")
	case l.Status != "info":
		return fmt.Errorf("status is %q", l.Status)
	case l.Timestamp < minTime:
		return fmt.Errorf("timestamp %d is no time in ms", l.Timestamp)
	case l.DDSource != "runtime-security-agent":
		return fmt.Errorf("ddsource is %q", l.DDSource)
	}
	return checkTags(l.Tags())
}

// containerTags has the keys of the tags of container and pod, in their order. Keys that begin with kube_ follow pod_name in
// any order.
var containerTags = []string{"image_name", "image_tag", "short_image", "container_id", "container_name", "pod_name", "kube_"}

// checkTags checks the form of tags and their order: rule_id, source_rule_id (not of older agents), the rule's own tags, type,
// the tags of container and pod, then others.
func checkTags(tags []string) error {
	keys := make([]string, len(tags))
	for i, tag := range tags {
		k, v, ok := strings.Cut(tag, ":")
		if !ok || k == "" || v == "" {
			return fmt.Errorf("tag %q is not key:value", tag)
		}
		keys[i] = k
	}
	if len(keys) == 0 || keys[0] != "rule_id" {
		return errors.New("ddtags do not begin with rule_id")
	}
	if i := slices.Index(keys, "source_rule_id"); i > 1 {
		return errors.New("source_rule_id does not follow rule_id")
	}
	i := slices.Index(keys, "type")
	if i < 0 {
		return errors.New("ddtags have no type")
	}
	last, other := 0, ""
	for _, k := range keys[i+1:] {
		at := slices.IndexFunc(containerTags, func(c string) bool {
			return k == c || (strings.HasSuffix(c, "_") && strings.HasPrefix(k, c))
		})
		switch {
		case at < 0:
			other = k
		case other != "":
			return fmt.Errorf("tag %s follows %s", k, other)
		case at < last:
			return fmt.Errorf("tag %s follows %s", k, containerTags[last])
		default:
			last = at
		}
	}
	return nil
}
