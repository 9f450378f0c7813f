// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import "unicode/utf8"

// needsEscape marks the bytes that cannot stand in a JSON string as they are (RFC 8259, section 7).
var needsEscape = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// shortEscape has the second byte of the two-byte escapes.
var shortEscape = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

const hexDigits = "0123456789abcdef"

// appendEscaped appends s as the inside of a JSON string: the quotes are the caller's. What is not UTF-8 becomes U+FFFD;
// the Body of Picket's records never holds such bytes.
func appendEscaped(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		return appendEscapedInvalid(dst, s)
	}
	start := 0
	for i := 0; i < len(s); i++ {
		if !needsEscape[s[i]] {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscapedByte(dst, s[i])
		start = i + 1
	}
	return append(dst, s[start:]...)
}

func appendEscapedInvalid(dst []byte, s string) []byte {
	for _, r := range s { // an invalid byte reads as U+FFFD
		if r < utf8.RuneSelf && needsEscape[r] {
			dst = appendEscapedByte(dst, byte(r))
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func appendEscapedByte(dst []byte, c byte) []byte {
	if e := shortEscape[c]; e != 0 {
		return append(dst, '\\', e)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
