// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"
)

// keyCheckTimeout bounds the check of the API key, also where the HTTP client has no time-out.
const keyCheckTimeout = 10 * time.Second

// keyCheck asks Datadog once, in the background, whether the API key is valid. All it does is to log.
type keyCheck struct {
	url     *url.URL // nil: there is nothing to ask
	logger  *zap.Logger
	cancel  context.CancelFunc // nil until start
	running sync.WaitGroup
}

// start asks with a client of its own. It must not compress, because confighttp would compress the body that a GET does not
// have, and not keep its connection.
func (k *keyCheck) start(client *http.Client, s *sender) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.running.Go(func() { k.run(ctx, client, s) })
}

// stop ends a check that is under way. It may be called without start.
func (k *keyCheck) stop() {
	if k.cancel != nil {
		k.cancel()
		k.running.Wait()
	}
}

func (k *keyCheck) run(stopped context.Context, client *http.Client, s *sender) {
	ctx, cancel := context.WithTimeout(stopped, keyCheckTimeout)
	defer cancel()
	where := zap.String("url", k.url.Redacted())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url.String(), http.NoBody)
	if err != nil {
		k.logger.Info("The API key could not be checked.", where, zap.Error(err))
		return
	}
	req.Header.Set(keyHeader, s.apiKey)
	req.Header.Set("User-Agent", s.header.Get("User-Agent"))
	resp, err := client.Do(req)
	if err != nil {
		if stopped.Err() == nil {
			k.logger.Info("The API key could not be checked.", where, zap.Error(withoutURL(err)))
		}
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Valid *bool `json:"valid"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxResponseBytes)).Decode(&answer)
	status := zap.Int("status", resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusUnauthorized,
		resp.StatusCode == http.StatusOK && answer.Valid != nil && !*answer.Valid:
		k.logger.Warn("The API key is not valid: the intake will refuse the logs, which are dropped then. "+
			"Check api_key, and that it belongs to this site.", where, status)
	case resp.StatusCode == http.StatusOK && answer.Valid != nil:
		k.logger.Debug("The API key is valid.", where)
	case stopped.Err() == nil:
		k.logger.Info("The API key could not be checked: the answer says nothing of it.", where, status, zap.NamedError("body", err))
	}
}
