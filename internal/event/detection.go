// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strings"
	"unsafe"

	"go.opentelemetry.io/collector/pdata/plog"
)

// RuleInfo is what a detection says about its rule.
type RuleInfo struct {
	ID, Version, Description  string
	GroupID                   string
	PolicyName, PolicyVersion string
	Tags                      []string // "key:value"
	Severity                  Severity
	SuppressedCount           int64    // matches that the rate limit held back since the last detection
	Unavailable               []string // fields that the rule read and the event could not know
	Actions                   []ActionReport
	Hashes                    []FileHashes
}

// ruleAttributes is how many attributes EncodeDetection adds.
const ruleAttributes = 11

// ofDetection says whether EncodeDetection writes the attribute itself, whatever the source has.
func ofDetection(key string) bool {
	switch key {
	case AttrRecordKind, AttrRecordUID, AttrRuleName, AttrRuleVersion, AttrRuleDescription, AttrRuleset, AttrRulePolicyVersion,
		AttrRuleGroupID, AttrRuleSuppressed, AttrRuleTags, AttrRuleUnavailable, AttrRuleActions:
		return true
	}
	return false
}

// EncodeDetection writes a detection into the empty record dst: the event record src of the host h, matched by the rule r.
// agentVersion is the compatibility level that agent.version shows. src is not changed.
func EncodeDetection(dst, src plog.LogRecord, h *Host, r *RuleInfo, agentVersion string) {
	var seq uint64
	var a attributes
	a.EnsureCapacity(src.Attributes().Len() + ruleAttributes)
	for k, v := range src.Attributes().All() {
		switch {
		case ofDetection(k):
			continue
		case k == AttrSequence:
			seq = uint64(v.Int())
		}
		v.CopyTo(a.AppendEmpty(k))
	}
	a.str(AttrRecordKind, KindDetection)
	a.str(AttrRecordUID, RecordUID(h.ID, h.BootID, seq, r.ID))
	a.str(AttrRuleName, r.ID)
	a.optStr(AttrRuleVersion, r.Version)
	a.optStr(AttrRuleDescription, r.Description)
	a.optStr(AttrRuleset, r.PolicyName)
	a.optStr(AttrRulePolicyVersion, r.PolicyVersion)
	a.optStr(AttrRuleGroupID, r.GroupID)
	a.optInt(AttrRuleSuppressed, r.SuppressedCount)
	a.optStrs(AttrRuleTags, r.Tags)
	a.optStrs(AttrRuleUnavailable, r.Unavailable)
	a.optStrs(AttrRuleActions, actionSummaries(r.Actions))
	a.UnsafeIntoMap(dst.Attributes())

	dst.SetEventName(src.EventName())
	dst.SetTimestamp(src.Timestamp())
	dst.SetObservedTimestamp(src.ObservedTimestamp())
	dst.SetTraceID(src.TraceID())
	dst.SetSpanID(src.SpanID())
	dst.SetFlags(src.Flags())
	dst.SetSeverityNumber(r.Severity.Number())
	dst.SetSeverityText(r.Severity.String())

	agent := h.Agent(agentVersion)
	agent.RuleID, agent.RuleVersion, agent.PolicyName, agent.PolicyVersion = r.ID, r.Version, r.PolicyName, r.PolicyVersion
	if r.GroupID != "" {
		agent.RuleID, agent.OriginalRuleID = r.GroupID, r.ID
	}
	agent.Actions = r.Actions
	title := r.Description
	if title == "" {
		title = r.ID
	}
	body := strings.TrimLeft(src.Body().Str(), " \t\r\n")
	if len(r.Hashes) > 0 {
		body = withHashes(body, r.Hashes)
	}
	buf := buffers.Get().(*[]byte)
	*buf = appendDetection((*buf)[:0], body, title, &agent)
	dst.Body().SetStr(string(*buf))
	putBuffer(buf)
}

// originEBPF is agent.origin of every log.
const originEBPF = "ebpf"

// Agent is the object that a detection's log has beside the event: who detected it, by which rule. An empty member is left out if it
// is not required.
type Agent struct {
	RuleID         string // the group's id if the rule is in a group
	OriginalRuleID string
	RuleVersion    string
	PolicyName     string
	PolicyVersion  string
	Version        string // of the agent that the rules are compatible with
	OS             string
	Arch           string // x64, arm64
	Origin         string
	KernelVersion  string
	Distribution   string
	Actions        []ActionReport
}

// AppendDetection appends the full log: title and agent, then the members of body, which is a JSON object without white
// space around it, as AppendJSON writes it.
func AppendDetection(dst, body []byte, title string, a *Agent) []byte {
	return appendDetection(dst, unsafe.String(unsafe.SliceData(body), len(body)), title, a)
}

func appendDetection(dst []byte, body, title string, a *Agent) []byte {
	dst = str(append(dst, '{'), "title", title)
	dst = append(key(dst, "agent"), '{')
	// Those that are written always are what Datadog's own schema of the object requires.
	dst = str(dst, "rule_id", a.RuleID)
	dst = optStr(dst, "original_rule_id", a.OriginalRuleID)
	dst = optStr(dst, "rule_version", a.RuleVersion)
	dst = str(dst, "policy_name", a.PolicyName)
	dst = str(dst, "policy_version", a.PolicyVersion)
	dst = str(dst, "version", a.Version)
	dst = str(dst, "os", a.OS)
	dst = str(dst, "arch", a.Arch)
	dst = str(dst, "origin", a.Origin)
	dst = optStr(dst, "kernel_version", a.KernelVersion)
	dst = optStr(dst, "distribution", a.Distribution)
	if len(a.Actions) > 0 {
		dst = append(key(dst, "rule_actions"), '[')
		for i := range a.Actions {
			dst = append(a.Actions[i].append(dst), ',')
		}
		dst = append(dst[:len(dst)-1], ']', ',')
	}
	dst = append(endObject(dst), ',')
	members, ok := strings.CutPrefix(body, "{")
	if ok && members != "}" {
		return append(dst, members...)
	}
	return endObject(dst)
}
