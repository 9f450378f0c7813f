// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
)

// reportView is what a block shows of a report beside time, name, process and host. Its text may hold what others chose.
type reportView struct {
	title    string // empty: the report's own
	alarming bool   // what the title says is bad news
	lines    []labelled
}

// reportViews makes the view of the body of each report that Picket writes; false says that the body is none. A heartbeat that
// could be read never comes here.
var reportViews = map[string]func(p *printer, body []byte) (reportView, bool){
	event.RecordRulesetLoaded: (*printer).rulesetLoaded,
	event.RecordEventsLost:    (*printer).eventsLost,
	event.RecordIOUringUsed:   func(*printer, []byte) (reportView, bool) { return reportView{}, true }, // title and process say it all
}

func (p *printer) report(name, body string) reportView {
	if view := reportViews[name]; view != nil {
		if v, ok := view(p, []byte(body)); ok {
			return v
		}
	}
	return reportView{lines: []labelled{{"report", rawReport(body)}}}
}

// shownPolicy is a policy in a report on loaded rules, or in a heartbeat.
type shownPolicy struct{ policy.PolicyReport }

func (p *shownPolicy) String() string { return strings.TrimSpace(p.Name + " " + p.Version) }

// rulesetLoaded shows a line for each policy with the number of rules by status, and one for each policy, macro and rule with
// an error.
func (*printer) rulesetLoaded(body []byte) (v reportView, ok bool) {
	var set struct {
		Policies     []shownPolicy `json:"policies"`
		KeptPrevious bool          `json:"kept_previous"`
		Reason       string        `json:"reason"`
	}
	if json.Unmarshal(body, &set) != nil {
		return v, false
	}
	var policies, macros, rules int // that failed
	failed := func(count *int, kind, name, message string) {
		*count++
		v.lines = append(v.lines, labelled{"failed", fmt.Sprintf("%s %s: %s", kind, name, message)})
	}
	for i := range set.Policies {
		p := &set.Policies[i]
		if p.Status == policy.PolicyError {
			failed(&policies, "policy", p.String(), p.Message)
			continue
		}
		counts := map[string]int{}
		for _, r := range p.Rules {
			counts[string(r.Status)]++
		}
		v.lines = append(v.lines, labelled{"rules", strings.TrimSpace(p.String() + ": " + cmp.Or(countText(counts), "none") + " " + inBrackets(p.Message))})
		for _, m := range p.Macros {
			if m.Status == policy.StatusError {
				failed(&macros, "macro", m.ID, m.Message)
			}
		}
		for _, r := range p.Rules {
			if r.Status == policy.StatusError {
				failed(&rules, "rule", r.ID, r.Message)
			}
		}
	}
	var parts []string
	for _, x := range []struct {
		n         int
		one, many string
	}{{policies, "policy", "policies"}, {macros, "macro", "macros"}, {rules, "rule", "rules"}} {
		if x.n > 0 {
			parts = append(parts, plural(x.n, x.one, x.many))
		}
	}
	switch {
	case set.KeptPrevious:
		v.title, v.alarming = "New ruleset not used, the rules before stay in use: "+set.Reason, true
	case parts != nil:
		v.title, v.alarming = "New ruleset loaded, without what failed: "+strings.Join(parts, ", "), true
	}
	return v, true
}

// countText says how many have each status, as "40 loaded, 2 filtered".
func countText(counts map[string]int) string {
	statuses := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, s := range statuses {
		parts = append(parts, fmt.Sprintf("%d %s", counts[s], statusText(s)))
	}
	return strings.Join(parts, ", ")
}

func statusText(s string) string { return strings.ReplaceAll(s, "_", " ") }

// eventsLost shows the time that the report is about, what was lost in it by reason, and how the run before ended.
func (p *printer) eventsLost(body []byte) (v reportView, ok bool) {
	var loss struct {
		From     string        `json:"from"`
		To       string        `json:"to"`
		Duration time.Duration `json:"duration_ns"`
		Lost     []struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
			Count  uint64 `json:"count"`
		} `json:"lost_events"`
		Restart *struct {
			LastSequence uint64 `json:"last_sequence"`
			Clean        bool   `json:"clean"`
		} `json:"restart"`
	}
	if json.Unmarshal(body, &loss) != nil {
		return v, false
	}
	v.alarming = true
	if loss.From != "" || loss.To != "" {
		text := p.timeText(loss.From) + " → " + p.timeText(loss.To)
		if loss.Duration > 0 {
			text += " (" + loss.Duration.Round(time.Millisecond).String() + ")"
		}
		v.lines = append(v.lines, labelled{"between", text})
	}
	var reasons []string // in the order of the report
	byReason := map[string][]string{}
	for _, l := range loss.Lost {
		if byReason[l.Reason] == nil {
			reasons = append(reasons, l.Reason)
		}
		byReason[l.Reason] = append(byReason[l.Reason], fmt.Sprintf("%d %s", l.Count, l.Type))
	}
	for _, reason := range reasons {
		v.lines = append(v.lines, labelled{"lost", strings.Join(byReason[reason], ", ") + ": " + reason})
	}
	if r := loss.Restart; r != nil {
		how := "was cut short (no orderly shutdown)"
		if r.Clean {
			how = "ended in order"
		}
		v.lines = append(v.lines, labelled{"restart", fmt.Sprintf("the run before %s; its last record has picket.sequence %d", how, r.LastSequence)})
	}
	return v, true
}

// timeText shows a time of a report as that of a block; what is none as it is.
func (p *printer) timeText(s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return cmp.Or(s, "?")
	}
	return t.In(p.zone).Format(timeFormat)
}

// beats are heartbeats of one moment, which wait to be shown in one line: there is one for each policy.
type beats struct {
	host     string
	when     time.Time
	policies []shownPolicy
}

const (
	// beatSpan is more than there is between the heartbeats of a moment, and less than there is between moments.
	beatSpan = time.Second
	maxBeats = 1000
)

// beat takes a heartbeat; false says that the body is none.
func (p *printer) beat(host string, when time.Time, body string) bool {
	var b struct {
		Policy *shownPolicy `json:"policy"`
	}
	if json.Unmarshal([]byte(body), &b) != nil || b.Policy == nil {
		return false
	}
	w := &p.beats
	if w.host != host || when.Sub(w.when).Abs() > beatSpan || len(w.policies) == maxBeats {
		p.endBeat()
	}
	if len(w.policies) == 0 {
		w.host, w.when = host, when
	}
	w.policies = append(w.policies, *b.Policy)
	return true
}

// endBeat prints the heartbeats that wait.
func (p *printer) endBeat() {
	w := &p.beats
	if len(w.policies) == 0 {
		return
	}
	counts := map[string]int{}
	var names []string
	for i := range w.policies {
		x := &w.policies[i]
		counts[x.Status]++
		name := x.String()
		if x.Status != policy.PolicyLoaded {
			name += " " + inBrackets(strings.Join(slices.DeleteFunc([]string{statusText(x.Status), x.Message}, isEmpty), ": "))
		}
		names = append(names, strings.TrimSpace(name))
	}
	text := countText(counts) + ": " + strings.Join(names, ", ")
	if w.host != "" {
		text = "host " + w.host + ", policies " + text
	}
	p.line(p.head(w.when, levelOf(event.KindReport, 0), event.RecordHeartbeat, show(text)))
	p.beats, p.compact = beats{}, true
}

// rawReport returns the members of an unknown report that are its own, as compact JSON. The process that it is about is shown apart.
func rawReport(body string) string {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &members) != nil {
		return body
	}
	for _, envelope := range []string{"title", "agent", "evt", "date", "service", "process", "container", "usr"} {
		delete(members, envelope)
	}
	if len(members) == 0 {
		return ""
	}
	text, err := json.Marshal(members)
	if err != nil {
		return body
	}
	return string(text)
}
