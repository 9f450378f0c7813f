// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import "container/list"

// lru is a map of a bounded size that forgets what was not used for longest.
type lru[K comparable, V any] struct {
	size  int
	items map[K]*list.Element
	order *list.List // most recently used first
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](size int) *lru[K, V] {
	return &lru[K, V]{size: size, items: map[K]*list.Element{}, order: list.New()}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := l.items[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

func (l *lru[K, V]) put(k K, v V) {
	if e, ok := l.items[k]; ok {
		e.Value.(*lruItem[K, V]).value = v
		l.order.MoveToFront(e)
		return
	}
	if len(l.items) >= l.size {
		last := l.order.Back()
		delete(l.items, last.Value.(*lruItem[K, V]).key)
		l.order.Remove(last)
	}
	l.items[k] = l.order.PushFront(&lruItem[K, V]{key: k, value: v})
}
