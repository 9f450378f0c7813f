// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"

	"github.com/picketsec/picket/internal/intaketest"
)

// proxy is an HTTP proxy on loopback. It forwards plain HTTP, and tunnels what is asked for with CONNECT.
type proxy struct {
	*httptest.Server
	mu      sync.Mutex
	seen    []string // method and target of the requests
	tunnels []net.Conn
}

func startProxy(t *testing.T) *proxy {
	t.Helper()
	p := new(proxy)
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: &http.Transport{DisableKeepAlives: true}}
	var copying sync.WaitGroup
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Method+" "+r.RequestURI)
		p.mu.Unlock()
		if r.Method != http.MethodConnect {
			forward.ServeHTTP(w, r)
			return
		}
		target, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		// Taken over before the answer: what the client sends after it could be in the server's buffer already.
		client, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = target.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		p.mu.Lock()
		p.tunnels = append(p.tunnels, client, target)
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{client, target}, {target, client}} {
			copying.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}))
	t.Cleanup(func() {
		p.Close()
		p.mu.Lock()
		for _, c := range p.tunnels {
			_ = c.Close()
		}
		p.mu.Unlock()
		copying.Wait()
	})
	return p
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.seen...)
}

func TestThroughProxy(t *testing.T) {
	intake := intaketest.Start(t)
	p := startProxy(t)
	cfg := newConfig(intake)
	cfg.ClientConfig.ProxyURL = p.URL
	cfg.APIEndpoint = intake.URL()
	e := startPusher(t, cfg, nopTelemetry())
	e.check.running.Wait()
	require.NoError(t, e.push(t.Context(), detections(3)))
	assert.Equal(t, upTo(3), numbers(t, intake.Logs()))
	assert.Empty(t, intake.Problems())
	assert.Equal(t, []string{
		"GET " + intake.URL() + intaketest.ValidatePath,
		"POST " + intake.URL() + intaketest.DefaultPath,
	}, p.requests())
}

func TestProxyAway(t *testing.T) {
	intake := intaketest.Start(t)
	p := startProxy(t)
	cfg := newConfig(intake)
	cfg.ClientConfig.ProxyURL = p.URL
	p.Close()
	e := startPusher(t, cfg, nopTelemetry())
	err := e.push(t.Context(), detections(1))
	require.ErrorContains(t, err, "proxyconnect")
	assert.False(t, consumererror.IsPermanent(err))
	assert.Empty(t, intake.Requests())
}

// authority is a certificate authority of the test's own.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.pool.AddCert(a.cert)
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t *testing.T, name, typ string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600))
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue makes a certificate for 127.0.0.1, as name.pem and name-key.pem.
func (a *authority) issue(t *testing.T, name string, serial int64) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	a.write(t, name+".pem", "CERTIFICATE", der)
	a.write(t, name+"-key.pem", "EC PRIVATE KEY", keyDER)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The server has a certificate of an own authority, and wants one of the client, too.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	server := ca.issue(t, "server", 2)
	ca.issue(t, "client", 3)
	var (
		mu     sync.Mutex
		client string
	)
	intake := intaketest.Start(t, intaketest.WithTLS(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{server},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool,
		VerifyConnection: func(s tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			client = s.PeerCertificates[0].Subject.CommonName
			return nil
		},
	}))
	p := startProxy(t)

	tests := []struct {
		name  string
		edit  func(*Config)
		want  string // part of the error; "" if the logs arrive
		proxy []string
	}{
		{"direct", func(c *Config) {
			c.ClientConfig.TLS.CAFile = ca.file("ca.pem")
			c.ClientConfig.TLS.CertFile, c.ClientConfig.TLS.KeyFile = ca.file("client.pem"), ca.file("client-key.pem")
		}, "", nil},
		{"through a proxy", func(c *Config) {
			c.ClientConfig.ProxyURL = p.URL
			c.ClientConfig.TLS.CAFile = ca.file("ca.pem")
			c.ClientConfig.TLS.CertFile, c.ClientConfig.TLS.KeyFile = ca.file("client.pem"), ca.file("client-key.pem")
		}, "", []string{"CONNECT " + intake.URL()[len("https://"):]}},
		{"no CA", func(c *Config) {
			c.ClientConfig.TLS.CertFile, c.ClientConfig.TLS.KeyFile = ca.file("client.pem"), ca.file("client-key.pem")
		}, "unknown authority", nil},
		{"no client certificate", func(c *Config) { c.ClientConfig.TLS.CAFile = ca.file("ca.pem") }, "POST " + intake.URL(), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			intake.Reset()
			before := len(p.requests())
			mu.Lock()
			client = ""
			mu.Unlock()
			cfg := newConfig(intake)
			tt.edit(cfg)
			e := startPusher(t, cfg, nopTelemetry())
			err := e.push(t.Context(), detections(3))
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				assert.False(t, consumererror.IsPermanent(err), "a certificate can be put right while records wait")
				assert.Empty(t, intake.Requests())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, upTo(3), numbers(t, intake.Logs()))
			assert.Equal(t, "HTTP/2.0", intake.Requests()[0].Proto)
			assert.Empty(t, intake.Problems())
			mu.Lock()
			defer mu.Unlock()
			assert.Equal(t, "client", client)
			assert.Equal(t, tt.proxy, append([]string(nil), p.requests()[before:]...))
		})
	}
}

func TestTLSFilesThatAreMissing(t *testing.T) {
	cfg := newConfig(intaketest.Start(t))
	cfg.ClientConfig.TLS.CAFile = filepath.Join(t.TempDir(), "none.pem")
	e := newLogs(t, cfg, nil)
	require.ErrorContains(t, e.Start(t.Context(), hostWith{}), "none.pem")
	require.NoError(t, e.Shutdown(context.Background()))
}
