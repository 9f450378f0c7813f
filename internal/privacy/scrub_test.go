// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestScrub(t *testing.T) {
	cut := "https://admin:" + strings.Repeat("x", 239) + mark
	for _, tc := range []struct {
		name string
		args []string
		want []string // nil: as it is
	}{
		{name: "nothing"},
		{name: "no secret", args: []string{"-l", "/tmp", "a=b", "--color=auto", "http://host:80/x"}},
		{name: "option=value", args: []string{"--password=x y", "-z"}, want: []string{"--password=********", "-z"}},
		{name: "option value", args: []string{"--password", "x", "y"}, want: []string{"--password", "********", "y"}},
		{name: "option:value", args: []string{"-password:x"}, want: []string{"-password:********"}},
		{name: "variable", args: []string{"PASSWORD=x"}, want: []string{"PASSWORD=********"}},
		{name: "option followed by an option", args: []string{"--password", "--user", "x"}},
		{name: "last option", args: []string{"--password"}},
		{name: "empty value", args: []string{"--password", "", "--secret="}},
		{name: "value that is a name", args: []string{"--password", "--password", "x"}, want: []string{"--password", "--password", "********"}},
		{name: "any case", args: []string{"--PassWord=x", "--DB-PASSWD", "y"}, want: []string{"--PassWord=********", "--DB-PASSWD", "********"}},
		{name: "part of a name", args: []string{"--mysql-password-file=x"}, want: []string{"--mysql-password-file=********"}},
		{
			name: "every word",
			args: []string{"a_passwd=1", "MYSQL_PWD=1", "access_token=1", "auth_token=1", "API_KEY=1", "apikey=1", "client_secret=1", "credentials=1", "stripetoken=1"},
			want: []string{"a_passwd=********", "MYSQL_PWD=********", "access_token=********", "auth_token=********", "API_KEY=********", "apikey=********", "client_secret=********", "credentials=********", "stripetoken=********"},
		},
		{name: "dashes for underscores", args: []string{"--api-key=1", "--access-token", "1"}, want: []string{"--api-key=********", "--access-token", "********"}},
		{name: "Java property", args: []string{"-Dspring.datasource.password=x"}, want: []string{"-Dspring.datasource.password=********"}},
		{name: "option of an option", args: []string{"--set=db.password=x,db.user=y"}, want: []string{"--set=db.password=********,db.user=y"}},
		{name: "index", args: []string{"user[password]=x"}, want: []string{"user[password]=********"}},
		{name: "password in a URL", args: []string{"https://me:pw@host/x"}, want: []string{"https://me:********@host/x"}},
		{name: "at sign in the password", args: []string{"redis://:p@w@host:6379"}, want: []string{"redis://:********@host:6379"}},
		{name: "no password in the URL", args: []string{"ssh://git@host:22/x:y@z"}},
		{name: "two URLs", args: []string{"a://b:c@d,e://f:g@h"}, want: []string{"a://b:********@d,e://f:********@h"}},
		{name: "URL cut short", args: []string{cut}, want: []string{"https://admin:********"}},
		{name: "query", args: []string{"https://h/?a=b&api_key=x&c=d"}, want: []string{"https://h/?a=b&api_key=********&c=d"}},
		{name: "header", args: []string{"-H", "X-Api-Key: abc"}, want: []string{"-H", "X-Api-Key: ********"}},
		{name: "JSON", args: []string{`{"user":"u","password": "a\"b","n":1}`}, want: []string{`{"user":"u","password": "********","n":1}`}},
		{name: "JSON in a string", args: []string{`"{\"secret\":\"x\",\"b\":1}"`}, want: []string{`"{\"secret\":\"********\",\"b\":1}"`}},
		{name: "JSON number", args: []string{`{"password":12,"b":3}`}, want: []string{`{"password":********,"b":3}`}},
		{
			name: "shell text", args: []string{"-c", "PASSWORD=x mysql --password y -u z --secret='a b' db"},
			want: []string{"-c", "PASSWORD=******** mysql --password ******** -u z --secret='********' db"},
		},
		{name: "assignment of nothing", args: []string{"-c", "PASSWORD= true"}},
		{name: "prose", args: []string{"-m", "change the password of x"}},
		{name: "scheme that is a word", args: []string{"secret://vault/x"}},
		{name: "word of the configuration", args: []string{"--pin=1", "--spin=1", "--ticket9=1", "x-key=1"}, want: []string{"--pin=********", "--spin=1", "--ticket9=********", "x-key=********"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := NewScrubber(true, []string{"PIN", "ticket*", "*-key"})
			require.NoError(t, err)
			before := append([]string(nil), tc.args...)
			got := s.Scrub(tc.args)
			assert.Equal(t, before, tc.args, "the arguments themselves have changed")
			if tc.want == nil {
				assert.Equal(t, tc.args, got)
				assert.Zero(t, testing.AllocsPerRun(10, func() { s.Scrub(tc.args) }))
				return
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestScrubberOff(t *testing.T) {
	s, err := NewScrubber(false, []string{"*"})
	require.NoError(t, err)
	assert.Nil(t, s)
	args := []string{"--password=x"}
	assert.Equal(t, args, s.Scrub(args))
}

func TestNewScrubberErrors(t *testing.T) {
	for word, want := range map[string]string{
		"":                       `sensitive word "" has no letter`,
		"**":                     `sensitive word "**" has no letter`,
		"a*b":                    `sensitive word "a*b": * is possible at the beginning and at the end only`,
		strings.Repeat("a", 129): `sensitive word "` + strings.Repeat("a", 128) + `" is longer than 128 bytes`,
	} {
		_, err := NewScrubber(true, []string{word})
		require.EqualError(t, err, want)
	}
	_, err := NewScrubber(true, make([]string, 257))
	require.EqualError(t, err, "257 sensitive words; at most 256 are possible")
}

func FuzzScrub(f *testing.F) {
	for _, s := range []string{
		"", "--password=x", "--password\x00x", "PASSWORD=x cmd", `{"secret":"a\"b"}`, `{\"secret\":\"a\"}`, "a://b:c@d", "-password:x", "x[secret]=1&b",
		"--password x", "secret = y", "a://password=b:c@d", "https://a:" + strings.Repeat("b", 243) + "...",
	} {
		f.Add(s)
	}
	s, err := NewScrubber(true, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		before := append([]string(nil), args...)
		out := s.Scrub(args)
		assert.Equal(t, before, args)
		require.Len(t, out, len(args))
		// What was hidden is hidden for good: a second run finds no more than it may take for a value again.
		again := s.Scrub(out)
		for i := range out {
			if !strings.Contains(out[i], hidden) {
				assert.Equal(t, before[i], out[i])
				assert.Equal(t, out[i], again[i])
			}
		}
	})
}

func BenchmarkScrub(b *testing.B) {
	s, err := NewScrubber(true, nil)
	require.NoError(b, err)
	for name, args := range map[string][]string{
		"none":   {"-s", "--header", "Accept: application/json", "--output=/tmp/x", "https://example.com/v1/items?page=2"},
		"secret": {"-s", "--header", "Accept: application/json", "--password=x", "https://example.com/v1/items?page=2"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Scrub(args)
			}
		})
	}
}
