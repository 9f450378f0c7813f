// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"encoding"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// Track is the intake track, the last element of the URL's path.
type Track string

// The tracks on which Datadog takes CSM Threats logs.
const (
	TrackSecRuntime Track = "secruntime"
	TrackLogs       Track = "logs" // what agents before 7.5x used
)

var _ encoding.TextUnmarshaler = (*Track)(nil)

// UnmarshalText accepts the name of a track.
func (t *Track) UnmarshalText(text []byte) error {
	switch v := Track(text); v {
	case TrackSecRuntime, TrackLogs:
		*t = v
		return nil
	default:
		return fmt.Errorf("track %q is not known: use %q or %q", text, TrackSecRuntime, TrackLogs)
	}
}

// Config is what a user may set of the exporter.
type Config struct {
	// ClientConfig holds the settings of the HTTP client. Its endpoint, if set, takes the place of the address that Site gives:
	// the base URL to which /api/v2/<track> is added.
	ClientConfig confighttp.ClientConfig `mapstructure:",squash"`

	// Site is the Datadog site, for instance datadoghq.eu.
	Site string `mapstructure:"site"`

	// Track is the intake track: secruntime or logs.
	Track Track `mapstructure:"track"`

	// APIKey is the Datadog API key, without which the intake takes nothing.
	APIKey configopaque.String `mapstructure:"api_key"`

	// Hostname overrides the host name of each record (resource attribute host.name, else host.id).
	Hostname string `mapstructure:"hostname"`

	// Tags are added to the ddtags of every log, each as key:value.
	Tags []string `mapstructure:"tags"`

	// AgentVersion is the version of the Datadog agent that DD-EVP-ORIGIN-VERSION names. It should equal the agent_version of
	// the security_policies extension, which goes into the logs themselves.
	AgentVersion string `mapstructure:"agent_version"`

	// QueueConfig is the sending queue, and how it makes batches.
	QueueConfig configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`

	// RetryConfig says how payloads that the intake did not take are tried again.
	RetryConfig configretry.BackOffConfig `mapstructure:"retry_on_failure"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

var (
	siteSyntax         = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	agentVersionSyntax = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)
	tagSyntax          = regexp.MustCompile(`^[^\s,:]+:[^,\x00-\x1f\x7f]+$`)
)

// Validate reports all mistakes at once, one plain sentence each. The nested configurations validate themselves.
func (cfg *Config) Validate() error {
	var errs []error
	errs = append(errs, validateAPIKey(cfg.APIKey)...)
	if cfg.ClientConfig.Endpoint != "" {
		errs = append(errs, validateEndpoint(cfg.ClientConfig.Endpoint)...)
	} else if !siteSyntax.MatchString(cfg.Site) {
		errs = append(errs, fmt.Errorf("site %q must be the name of a Datadog site, such as datadoghq.com or datadoghq.eu; "+
			"set endpoint for anything else", cfg.Site))
	}
	switch cfg.Track {
	case TrackSecRuntime, TrackLogs:
	default:
		errs = append(errs, fmt.Errorf("track %q is not known: use %q or %q", cfg.Track, TrackSecRuntime, TrackLogs))
	}
	switch cfg.ClientConfig.Compression {
	case configcompression.TypeZstd, configcompression.TypeGzip, "none", "":
	default:
		errs = append(errs, fmt.Errorf("compression %q is not one that the intake reads: use zstd, gzip or none", cfg.ClientConfig.Compression))
	}
	if cfg.ClientConfig.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %v must not be negative", cfg.ClientConfig.Timeout))
	}
	for _, tag := range cfg.Tags {
		if !tagSyntax.MatchString(tag) {
			errs = append(errs, fmt.Errorf("tags: %q must have the form key:value and hold no comma", tag))
		}
	}
	if !agentVersionSyntax.MatchString(cfg.AgentVersion) {
		errs = append(errs, fmt.Errorf("agent_version %q must be a version such as %s", cfg.AgentVersion, defaultAgentVersion))
	}
	return errors.Join(errs...)
}

// validateAPIKey never puts the key into an error.
func validateAPIKey(key configopaque.String) []error {
	k := strings.TrimSpace(string(key))
	if k == "" {
		return []error{errors.New("api_key must be set, for instance to ${env:DD_API_KEY}; the environment variable must not be empty")}
	}
	if strings.ContainsFunc(k, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return []error{errors.New("api_key must hold neither spaces nor characters other than printable ASCII")}
	}
	return nil
}

func validateEndpoint(endpoint string) []error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		// The text of err repeats the URL, which may hold a password.
		return []error{errors.New("endpoint must be a URL such as https://intake.example.com")}
	}
	var errs []error
	if u.User != nil {
		errs = append(errs, errors.New("endpoint must not hold a user or a password: use auth"))
	}
	if u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, errors.New("endpoint must not hold a query or a fragment"))
	}
	if strings.Contains(u.Path+"/", apiPath) {
		errs = append(errs, fmt.Errorf("endpoint must be the base URL only: %s<track> is added to it", apiPath))
	}
	return errs
}

// apiPath is the path of the intake API; the track follows.
const apiPath = "/api/v2/"

// intakeURL returns the URL to which payloads go.
func (cfg *Config) intakeURL() (*url.URL, error) {
	base := cfg.ClientConfig.Endpoint
	if base == "" {
		base = "https://runtime-security-http-intake.logs." + cfg.Site
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("endpoint must be a URL such as https://intake.example.com")
	}
	return u.JoinPath(apiPath, string(cfg.Track)), nil
}
