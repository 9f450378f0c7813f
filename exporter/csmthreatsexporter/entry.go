// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// ddSource is the ddsource by which Datadog's log pipelines know CSM Threats logs.
const ddSource = "runtime-security-agent"

// ruleOfReport returns the rule id of a report: the one in the agent member of its Body, which nobody reads here.
func ruleOfReport(eventName string) string {
	if eventName == event.RecordEventsLost {
		return "lost_events" // as Datadog's agent names its report
	}
	return strings.TrimPrefix(eventName, "picket.")
}

// slot is a place in facts: one of the values of attributes that an entry is made from.
type slot uint8

const (
	slotContractVersion slot = iota
	slotKind
	slotRuleID
	slotGroupID
	slotRuleTags
	slotHostName
	slotHostID
	slotCloudProvider
	slotCloudAccount
	// The slots from here on are tags; tagKeys has their keys and gives their order.
	slotImageName
	slotImageTag
	slotContainerID
	slotContainerName
	slotPodName
	slotNamespace
	slotKubeContainer
	slotDeployment
	slotDaemonSet
	slotStatefulSet
	slotJob
	slotCronJob
	slotReplicaSet
	slotNode
	slotCluster
	slotService
	slotEnv
	slotVersion
	numSlots
)

// slotOf has the attributes, of the record or its resource, that are read. A record's attribute wins over its resource's.
var slotOf = map[string]slot{
	event.AttrContractVersion: slotContractVersion,
	event.AttrRecordKind:      slotKind,
	event.AttrRuleName:        slotRuleID,
	event.AttrRuleGroupID:     slotGroupID,
	event.AttrRuleTags:        slotRuleTags,
	event.AttrContainerID:     slotContainerID,

	"host.name":                   slotHostName,
	"host.id":                     slotHostID,
	"cloud.provider":              slotCloudProvider,
	"cloud.account.id":            slotCloudAccount,
	"container.image.name":        slotImageName,
	"container.image.tags":        slotImageTag,
	"container.name":              slotContainerName,
	"k8s.pod.name":                slotPodName,
	"k8s.namespace.name":          slotNamespace,
	"k8s.container.name":          slotKubeContainer,
	"k8s.deployment.name":         slotDeployment,
	"k8s.daemonset.name":          slotDaemonSet,
	"k8s.statefulset.name":        slotStatefulSet,
	"k8s.job.name":                slotJob,
	"k8s.cronjob.name":            slotCronJob,
	"k8s.replicaset.name":         slotReplicaSet,
	"k8s.node.name":               slotNode,
	"k8s.cluster.name":            slotCluster,
	"service.name":                slotService,
	"deployment.environment.name": slotEnv,
	"service.version":             slotVersion,
}

// tagKeys has Datadog's tag keys of the slots that are tags.
var tagKeys = [numSlots]string{
	slotImageName:     "image_name",
	slotImageTag:      "image_tag",
	slotContainerID:   "container_id",
	slotContainerName: "container_name",
	slotPodName:       "pod_name",
	slotNamespace:     "kube_namespace",
	slotKubeContainer: "kube_container_name",
	slotDeployment:    "kube_deployment",
	slotDaemonSet:     "kube_daemon_set",
	slotStatefulSet:   "kube_stateful_set",
	slotJob:           "kube_job",
	slotCronJob:       "kube_cronjob",
	slotReplicaSet:    "kube_replica_set",
	slotNode:          "kube_node",
	slotCluster:       "kube_cluster_name",
	slotService:       "service",
	slotEnv:           "env",
	slotVersion:       "version",
}

// cloudTagKeys has the key of the account tag by cloud.provider.
var cloudTagKeys = map[string]string{
	"aws":   "aws_account",
	"azure": "subscription_id",
	"gcp":   "project_id",
}

// typeOfRecord has the SECL event type by the EventName of a record.
var typeOfRecord = func() map[string]string {
	m := make(map[string]string, event.NumTypes)
	for _, ti := range event.Types {
		if ti.Record != "" {
			m[ti.Record] = ti.Name
		}
	}
	return m
}()

// facts are the attributes of a record, over those of its resource, that an entry is made from.
type facts [numSlots]pcommon.Value

func (f *facts) read(attrs pcommon.Map) {
	for name, v := range attrs.All() {
		if s, ok := slotOf[name]; ok {
			f[s] = v
		}
	}
}

// str returns the string in a slot. A list gives its first string; anything else gives "".
func (f *facts) str(s slot) string { return firstString(f[s]) }

func firstString(v pcommon.Value) string {
	if v == (pcommon.Value{}) {
		return ""
	}
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return v.Str()
	case pcommon.ValueTypeSlice:
		if s := v.Slice(); s.Len() > 0 && s.At(0).Type() == pcommon.ValueTypeStr {
			return s.At(0).Str()
		}
	}
	return ""
}

// ruleTags returns the tags of the rule, as a list of strings.
func (f *facts) ruleTags() pcommon.Slice {
	if v := f[slotRuleTags]; v != (pcommon.Value{}) && v.Type() == pcommon.ValueTypeSlice {
		return v.Slice()
	}
	return emptySlice
}

var emptySlice = pcommon.NewSlice()

// dropReason says why a record is not sent. Its text is the value of the metric's attribute reason.
type dropReason uint8

const (
	keep         dropReason = iota
	dropEvent               // a plain event: no rule matched it
	dropForeign             // not a record in Picket's form
	dropContract            // a record in a version of that form which is not known here
	dropTooLarge
	dropRejected
	numReasons
)

// ofRecord says whether the reason is what the record is, wherever it is sent.
func (r dropReason) ofRecord() bool { return r == dropEvent || r == dropForeign || r == dropContract }

// classify decides by the record's kind whether it is sent.
func (f *facts) classify(lr plog.LogRecord) dropReason {
	version := f[slotContractVersion]
	if version == (pcommon.Value{}) || version.Type() != pcommon.ValueTypeInt {
		return dropForeign
	}
	if version.Int() != event.ContractVersion {
		return dropContract
	}
	switch f.str(slotKind) {
	case event.KindDetection, event.KindReport:
	case event.KindEvent:
		return dropEvent
	default:
		return dropForeign
	}
	if lr.Body().Type() != pcommon.ValueTypeStr || lr.Body().Str() == "" {
		return dropForeign
	}
	return keep
}

// entryOptions are the parts of an entry that the configuration gives.
type entryOptions struct {
	hostname string
	tags     []string // "key:value"
	now      func() time.Time
}

func (cfg *Config) entryOptions() entryOptions {
	return entryOptions{hostname: cfg.Hostname, tags: cfg.Tags, now: time.Now}
}

// appendEntry appends the log entry of a record that classify kept, a JSON object, and returns its timestamp in ms too.
func (o *entryOptions) appendEntry(dst []byte, f *facts, lr plog.LogRecord) (entry []byte, timestamp int64) {
	timestamp = o.timestamp(lr)
	if f.str(slotKind) == event.KindReport {
		// A report is of Picket, not of a workload: its service is the one in the Body, as in custom events of Datadog's agent.
		f[slotService] = pcommon.Value{}
	}
	dst = append(dst, `{"message":"`...)
	dst = appendEscaped(dst, lr.Body().Str())
	dst = append(dst, `","status":"info","timestamp":`...)
	dst = strconv.AppendInt(dst, timestamp, 10)
	dst = append(dst, `,"hostname":"`...)
	dst = appendEscaped(dst, o.host(f))
	dst = append(dst, `","service":"`...)
	dst = appendEscaped(dst, o.service(f))
	dst = append(dst, `","ddsource":"`+ddSource+`","ddtags":"`...)
	dst = o.appendTags(dst, f, lr)
	return append(dst, `"}`...), timestamp
}

// timestamp returns the time of the event in ms since the Unix epoch.
func (o *entryOptions) timestamp(lr plog.LogRecord) int64 {
	if t := lr.Timestamp(); t != 0 {
		return t.AsTime().UnixMilli()
	}
	if t := lr.ObservedTimestamp(); t != 0 {
		return t.AsTime().UnixMilli()
	}
	return o.now().UnixMilli()
}

func (o *entryOptions) host(f *facts) string {
	if o.hostname != "" {
		return o.hostname
	}
	if name := f.str(slotHostName); name != "" {
		return name
	}
	return f.str(slotHostID)
}

// service returns the service of the event, else what the first service: tag says, else "".
func (o *entryOptions) service(f *facts) string {
	if s := f.str(slotService); s != "" {
		return s
	}
	for _, tag := range f.ruleTags().All() {
		if s, ok := strings.CutPrefix(firstString(tag), "service:"); ok {
			return s
		}
	}
	for _, tag := range o.tags {
		if s, ok := strings.CutPrefix(tag, "service:"); ok {
			return s
		}
	}
	return ""
}

// appendTags appends the value of ddtags: the rule's tags, the event's, the container's, then those of the configuration.
func (o *entryOptions) appendTags(dst []byte, f *facts, lr plog.LogRecord) []byte {
	id, typ := f.str(slotRuleID), typeOfRecord[lr.EventName()]
	if f.str(slotKind) == event.KindReport {
		typ = event.CustomEvent
		if id == "" {
			id = ruleOfReport(lr.EventName())
		}
	}
	group := f.str(slotGroupID)
	if group == "" {
		group = id
	}
	start := len(dst)
	dst = appendTag(dst, start, "rule_id", group)
	dst = appendTag(dst, start, "source_rule_id", id)
	for _, tag := range f.ruleTags().All() {
		dst = appendTag(dst, start, "", firstString(tag))
	}
	dst = appendTag(dst, start, "type", typ)
	for s := slotImageName; s < numSlots; s++ {
		dst = appendTag(dst, start, tagKeys[s], f.str(s))
		if s == slotImageTag {
			image := f.str(slotImageName)
			dst = appendTag(dst, start, "short_image", image[strings.LastIndexByte(image, '/')+1:])
		}
	}
	if key := cloudTagKeys[f.str(slotCloudProvider)]; key != "" {
		dst = appendTag(dst, start, key, f.str(slotCloudAccount))
	}
	for _, tag := range o.tags {
		dst = appendTag(dst, start, "", tag)
	}
	return dst
}

// appendTag appends key:value to the list of tags that begins at start, or value alone if key is empty; nothing if value
// is. The list has no escape for the comma that separates tags: one inside a value becomes an underscore, so that a value
// cannot pass for further tags.
func appendTag(dst []byte, start int, key, value string) []byte {
	if value == "" {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ',')
	}
	if key != "" {
		dst = append(dst, key...)
		dst = append(dst, ':')
	}
	mark := len(dst)
	dst = appendEscaped(dst, value)
	for i, c := range dst[mark:] {
		if c == ',' {
			dst[mark+i] = '_'
		}
	}
	return dst
}
