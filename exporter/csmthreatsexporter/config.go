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
	"go.opentelemetry.io/collector/config/configauth"
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
	v := Track(text)
	if err := v.validate(); err != nil {
		return err
	}
	*t = v
	return nil
}

func (t Track) validate() error {
	switch t {
	case TrackSecRuntime, TrackLogs:
		return nil
	default:
		return fmt.Errorf("track %q is not known: use %q or %q", string(t), TrackSecRuntime, TrackLogs)
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

	// ValidateAPIKey asks Datadog at the start whether the API key is valid, and warns if it is not. Nothing waits for the answer.
	ValidateAPIKey bool `mapstructure:"validate_api_key"`

	// APIEndpoint is the base URL of the API that is asked, to which /api/v1/validate is added. The default is
	// https://api.<site>, or none if there is an Endpoint: then the key is not checked.
	APIEndpoint string `mapstructure:"api_endpoint"`

	// AdditionalEndpoints are further intakes to which everything is sent too. Each has a queue of its own.
	AdditionalEndpoints []EndpointConfig `mapstructure:"additional_endpoints"`

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

// EndpointConfig is an additional intake.
type EndpointConfig struct {
	// Name becomes a part of the component id under which the endpoint has its queue and metrics. The default is the site, or
	// host and path of the endpoint.
	Name string `mapstructure:"name"`

	// Site and Endpoint say where it is, as in Config. One of the two is required.
	Site     string `mapstructure:"site"`
	Endpoint string `mapstructure:"endpoint"`

	// Track is the intake track, by default the same as Config has.
	Track Track `mapstructure:"track"`

	// APIKey is the API key there.
	APIKey configopaque.String `mapstructure:"api_key"`

	// APIEndpoint is as in Config.
	APIEndpoint string `mapstructure:"api_endpoint"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var (
	siteSyntax         = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	agentVersionSyntax = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)
	tagSyntax          = regexp.MustCompile(`^[^\s,:]+:[^,\x00-\x1f\x7f]+$`)
	nameSyntax         = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,200}$`)
	notInName          = regexp.MustCompile(`[^A-Za-z0-9._:-]+`)
)

// Validate reports all mistakes at once, one plain sentence each. The nested configurations validate themselves.
func (cfg *Config) Validate() error {
	errs := validateAPIKey(cfg.APIKey)
	if cfg.ClientConfig.Endpoint != "" {
		errs = append(errs, validateEndpoint(cfg.ClientConfig.Endpoint)...)
	} else {
		errs = append(errs, validateSite(cfg.Site))
	}
	if cfg.APIEndpoint != "" {
		errs = append(errs, validateURL("api_endpoint", cfg.APIEndpoint)...)
	}
	errs = append(errs, cfg.Track.validate())
	switch cfg.ClientConfig.Compression {
	case configcompression.TypeZstd, configcompression.TypeGzip, "none", "":
	default:
		errs = append(errs, fmt.Errorf("compression %q is not one that the intake reads: use zstd, gzip or none", cfg.ClientConfig.Compression))
	}
	if cfg.ClientConfig.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %v must not be negative", cfg.ClientConfig.Timeout))
	}
	for name := range cfg.ClientConfig.Headers.Iter {
		if strings.EqualFold(name, keyHeader) {
			errs = append(errs, errors.New("headers must not hold "+keyHeader+": use api_key"))
		}
	}
	for _, tag := range cfg.Tags {
		if !tagSyntax.MatchString(tag) {
			errs = append(errs, fmt.Errorf("tags: %q must have the form key:value and hold no comma", tag))
		}
	}
	if !agentVersionSyntax.MatchString(cfg.AgentVersion) {
		errs = append(errs, fmt.Errorf("agent_version %q must be a version such as %s", cfg.AgentVersion, defaultAgentVersion))
	}
	return errors.Join(append(errs, cfg.validateAdditional()...)...)
}

// validateAdditional checks what the endpoints cannot check themselves.
func (cfg *Config) validateAdditional() []error {
	var errs []error
	if len(cfg.AdditionalEndpoints) > 0 && !cfg.QueueConfig.HasValue() {
		errs = append(errs, errors.New("additional_endpoints need sending_queue: without it one endpoint would wait for another"))
	}
	if len(cfg.AdditionalEndpoints) > 0 && cfg.QueueConfig.HasValue() && cfg.QueueConfig.Get().WaitForResult {
		errs = append(errs, errors.New("additional_endpoints do not go together with sending_queue::wait_for_result: "+
			"there is one result for each endpoint"))
	}
	seen := make(map[string]bool)
	for i := range cfg.AdditionalEndpoints {
		name := cfg.AdditionalEndpoints[i].name()
		if name != "" && seen[name] {
			errs = append(errs, fmt.Errorf("additional_endpoints: two are called %q: give each a name of its own, "+
				"and keep it, because a queue on disk is found by it", name))
		}
		seen[name] = true
	}
	return errs
}

// Validate reports all mistakes of one endpoint at once.
func (e *EndpointConfig) Validate() error {
	errs := validateAPIKey(e.APIKey)
	switch {
	case (e.Site == "") == (e.Endpoint == ""):
		errs = append(errs, errors.New("either site or endpoint must be set"))
	case e.Site != "":
		errs = append(errs, validateSite(e.Site))
	default:
		errs = append(errs, validateEndpoint(e.Endpoint)...)
	}
	if e.APIEndpoint != "" {
		errs = append(errs, validateURL("api_endpoint", e.APIEndpoint)...)
	}
	if e.Track != "" {
		errs = append(errs, e.Track.validate())
	}
	if e.Name != "" && !nameSyntax.MatchString(e.Name) {
		errs = append(errs, fmt.Errorf("name %q must hold letters, digits and . _ : - only, at most 200", e.Name))
	}
	return errors.Join(errs...)
}

// name returns Name, or what is made from the address. It says nothing of the key, so that the queue on disk is found again
// when the key has been changed.
func (e *EndpointConfig) name() string {
	name := e.Name
	if name == "" {
		name = e.Site
	}
	if name == "" {
		if u, err := url.Parse(e.Endpoint); err == nil {
			name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(u.Host)+u.Path, "_"), "_")
		}
	}
	return name
}

// forAdditional returns the configuration with which an additional endpoint is served: that of the main one, but for the address,
// and without what may be meant for the main one's host only.
func (cfg *Config) forAdditional(e *EndpointConfig) *Config {
	c := *cfg
	c.AdditionalEndpoints = nil
	c.ClientConfig.Endpoint, c.Site, c.APIKey, c.APIEndpoint = e.Endpoint, e.Site, e.APIKey, e.APIEndpoint
	if e.Track != "" {
		c.Track = e.Track
	}
	c.ClientConfig = forOtherHost(c.ClientConfig)
	// QueueConfig is a value: the main endpoint's stays as it is.
	if c.QueueConfig.HasValue() {
		queue := c.QueueConfig.Get()
		queue.BlockOnOverflow = false // only the main endpoint may hold the pipeline up
	}
	return &c
}

// forOtherHost returns the settings of the HTTP client without those that are meant for one host, and may hold its secrets.
func forOtherHost(c confighttp.ClientConfig) confighttp.ClientConfig {
	c.Headers, c.Auth = nil, configoptional.None[configauth.Config]()
	c.TLS.ServerName = ""
	return c
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

func validateSite(site string) error {
	if siteSyntax.MatchString(site) {
		return nil
	}
	return fmt.Errorf("site %q must be the name of a Datadog site, such as datadoghq.com or datadoghq.eu; set endpoint for anything else", site)
}

func validateEndpoint(endpoint string) []error {
	errs := validateURL("endpoint", endpoint)
	if u, err := url.Parse(endpoint); err == nil && strings.Contains(u.Path+"/", apiPath) {
		errs = append(errs, fmt.Errorf("endpoint must be the base URL only: %s<track> is added to it", apiPath))
	}
	return errs
}

// validateURL checks the base URL that a field has.
func validateURL(field, value string) []error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		// The text of err repeats the URL, which may hold a password.
		return []error{errors.New(field + " must be a URL such as https://intake.example.com")}
	}
	var errs []error
	if u.User != nil {
		errs = append(errs, errors.New(field+" must not hold a user or a password: use auth"))
	}
	if u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, errors.New(field+" must not hold a query or a fragment"))
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

// checkURL returns the URL that is asked whether the API key is valid; nil if it is not to be checked. Behind an endpoint of
// one's own the key may be one that Datadog does not know, and Datadog may be out of reach: nothing is asked unasked.
func (cfg *Config) checkURL() (*url.URL, error) {
	base := cfg.APIEndpoint
	switch {
	case !cfg.ValidateAPIKey:
		return nil, nil
	case base != "":
	case cfg.ClientConfig.Endpoint != "":
		return nil, nil
	default:
		base = "https://api." + cfg.Site
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("api_endpoint must be a URL such as https://api.datadoghq.com")
	}
	return u.JoinPath("/api/v1/validate"), nil
}
