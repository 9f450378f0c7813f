// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"encoding/json"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/picketsec/picket/internal/event"
)

// state is what the receiver remembers across a restart: up to where it has come. It is written at the start, every second, and
// at shutdown, so after a crash the last second is not in it.
type state struct {
	BootID   string     `json:"boot_id"`
	Sequence uint64     `json:"sequence"` // of the last record that the pipeline has
	Time     event.Time `json:"time"`     // until when all that happened is with the pipeline, or in a report that is
	Clean    bool       `json:"clean"`    // written by an orderly shutdown: Sequence is the last number given
}

// progress is how far the pipeline is.
type progress struct {
	sequence uint64
	time     event.Time
}

const stateKey = "state"

// stateStore keeps the state in a storage extension. Its zero value keeps nothing.
type stateStore struct{ client storage.Client }

func openStateStore(ctx context.Context, host component.Host, id *component.ID, receiver component.ID) (stateStore, error) {
	if id == nil {
		return stateStore{}, nil
	}
	ext, ok := host.GetExtensions()[*id]
	if !ok {
		return stateStore{}, fmt.Errorf("storage: there is no extension %s in service.extensions", id)
	}
	s, ok := ext.(storage.Extension)
	if !ok {
		return stateStore{}, fmt.Errorf("storage: extension %s is no storage extension", id)
	}
	client, err := s.GetClient(ctx, component.KindReceiver, receiver, "")
	if err != nil {
		return stateStore{}, fmt.Errorf("storage: %w", err)
	}
	return stateStore{client}, nil
}

// load returns the state of the receiver before this one; ok is false if there was none, or it was of another boot.
func (s stateStore) load(ctx context.Context, bootID string) (st state, ok bool, err error) {
	if s.client == nil {
		return st, false, nil
	}
	data, err := s.client.Get(ctx, stateKey)
	if err != nil || data == nil {
		return st, false, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return state{}, false, fmt.Errorf("stored state: %w", err)
	}
	return st, st.BootID == bootID, nil
}

func (s stateStore) save(ctx context.Context, st state) error {
	if s.client == nil {
		return nil
	}
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return s.client.Set(ctx, stateKey, data)
}

func (s stateStore) close(ctx context.Context) error {
	if s.client == nil {
		return nil
	}
	return s.client.Close(ctx)
}
