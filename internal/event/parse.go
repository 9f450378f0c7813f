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
	// What a record has in its attributes is not known here.
	e.Facts.AUID = AUIDUnset
	e.completeSocket()
	return e, nil
}
