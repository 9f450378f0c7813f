// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ParseEvent reads an event of either form: CSM Threats JSON, the body of an event record or a detection, which is an object
// with the member evt, or else a flat event as ParseFlatEvent does. now is the time that relative timestamps count from.
// The event has a type.
func ParseEvent(data []byte, now Time) (*Event, error) {
	e, err := parseEither(data, now)
	if err == nil && e.Type == TypeAny {
		err = errors.New("the event has no type")
		if e.Evt.Name != "" {
			err = fmt.Errorf("unknown event type %q", e.Evt.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func parseEither(data []byte, now Time) (*Event, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || data[0] != '{' {
		return nil, errors.New("the event is no JSON object")
	}
	var form struct {
		Evt json.RawMessage `json:"evt"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, fmt.Errorf("the event is no JSON object: %w", err)
	}
	if form.Evt == nil {
		return ParseFlatEventAt(data, now)
	}
	e := &Event{}
	if err := new(Decoder).Decode(bytes.Clone(data), NeedAll, e); err != nil {
		return nil, err
	}
	e.factsOfBody()
	e.completeSocket()
	return e, nil
}

// errnoUnknown is the return value of a call that failed otherwise than by EACCES or EPERM: no error has this number, which is
// the highest that a system call can return (the kernel's MAX_ERRNO).
const errnoUnknown = 4095

// bodyFacts are what the body of an event tells of its facts.
type bodyFacts uint8

const (
	bodyAlone bodyFacts = 1 << iota // there are no attributes
	bodyFlags
	bodyFamily
	bodyProtocol
)

// bodyRows are the rows of attributes that a body may tell too.
var bodyRows = map[string]bodyFacts{"flags": bodyFlags, "addr.family": bodyFamily, "protocol": bodyProtocol}

// factsOfBody takes from the members of an event what its record has in attributes, as far as they tell. Of the return value
// that is whether the call succeeded, and whether it was refused.
func (e *Event) factsOfBody() {
	f := &e.Facts
	f.AUID = AUIDUnset
	e.body = bodyAlone
	switch e.Evt.Outcome {
	case OutcomeRefused:
		f.Retval = -eACCES
	case OutcomeError:
		f.Retval = -errnoUnknown
	}
	if e.File != nil && (e.Type == TypeUnlink || e.Type == TypeOpen && len(e.File.Flags) > 0) {
		for _, flag := range e.File.Flags {
			f.Flags |= uint32(numberOf(flag))
		}
		e.body |= bodyFlags
	}
	var family, protocol string
	switch {
	case e.Bind != nil:
		family = e.Bind.Addr.Family
	case e.Accept != nil:
		family = e.Accept.Addr.Family
	case e.Connect != nil:
		family, protocol = e.Connect.Addr.Family, e.Connect.Protocol
	}
	if ip := peer(e).Addr(); family == "" && ip.IsValid() {
		if family = "AF_INET"; ip.Is6() {
			family = "AF_INET6"
		}
	}
	if protocol == "" && e.Network != nil {
		protocol = e.Network.L4Protocol
	}
	if family != "" {
		f.SocketFamily = uint16(numberOf(family))
		e.body |= bodyFamily
	}
	if protocol != "" {
		f.SocketProtocol = uint16(numberOf(protocol))
		e.body |= bodyProtocol
	}
}
