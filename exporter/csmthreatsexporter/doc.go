// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package csmthreatsexporter delivers detections and reports to the intake of Datadog's CSM Threats (Workload Protection).
// It wraps the Body of each log record, which is a CSM Threats log already, into the envelope of that intake.
package csmthreatsexporter
