// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// benchLogs makes n detections whose Body is 8 KB of JSON, and which have 30 attributes.
func benchLogs(n int) plog.Logs {
	process := `{"pid":4242,"ppid":4201,"comm":"sh","executable":{"path":"/usr/bin/dash","name":"dash"},"args":["-c","id \"x\""]},`
	body := `{"title":"t","process":{"ancestors":[` + strings.TrimSuffix(strings.Repeat(process, 70), ",") + `]}}`
	ld := plog.NewLogs()
	for i := range n {
		lr := addRecord(ld, event.KindDetection, i)
		lr.Body().SetStr(body)
		for i := range 25 {
			lr.Attributes().PutInt("process.other_"+string(rune('a'+i)), 1)
		}
		tags := lr.Attributes().PutEmptySlice(event.AttrRuleTags)
		tags.AppendEmpty().SetStr("tactic:TA0002-execution")
		lr.Attributes().PutStr("container.id", strings.Repeat("ab", 32))
	}
	return ld
}

// BenchmarkPayload builds payloads of 500 logs of 8 KB. The baseline does the same with encoding/json.
func BenchmarkPayload(b *testing.B) {
	ld := benchLogs(500)
	b.Run("append", func(b *testing.B) {
		o := &entryOptions{now: time.Now}
		p := new(payload)
		l := limits{entries: maxPayloadEntries, bytes: 50 << 20}
		b.ReportAllocs()
		for b.Loop() {
			p.reset(l)
			for _, r := range records(ld) {
				if r.facts.classify(r.record) == keep {
					p.add(o, r)
				}
			}
			b.SetBytes(int64(len(p.bytes())))
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/record")
	})
	b.Run("encoding_json", func(b *testing.B) {
		type entry struct {
			Message   string `json:"message"`
			Status    string `json:"status"`
			Timestamp int64  `json:"timestamp"`
			Hostname  string `json:"hostname"`
			Service   string `json:"service"`
			DDSource  string `json:"ddsource"`
			DDTags    string `json:"ddtags"`
		}
		b.ReportAllocs()
		for b.Loop() {
			var entries []entry
			for _, r := range records(ld) {
				entries = append(entries, entry{
					Message: r.record.Body().Str(), Status: "info", Timestamp: r.record.Timestamp().AsTime().UnixMilli(),
					Hostname: r.facts.str(slotHostName), DDSource: ddSource,
					DDTags: strings.Join([]string{"rule_id:" + r.facts.str(slotRuleID), "container_id:" + r.facts.str(slotContainerID)}, ","),
				})
			}
			out, err := json.Marshal(entries)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(out)))
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/record")
	})
}
