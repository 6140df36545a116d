// Package app wires the manager together for the programs that contain one. No logic is here: what starts, in which
// order, and what ends.
package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/pgdrover/pgdrover/server/service"
	"gopkg.in/yaml.v3"
)

// Config is the manager's configuration file; the environment's PGDROVER_... overrides the named keys.
type Config struct {
	// Listen is the address of API and web app, e.g. ":8080".
	Listen string `yaml:"listen"`
	// TLS of Listen; plain HTTP without it (behind a proxy, or on loopback).
	TLS struct {
		CertFile string `yaml:"cert_file"`
		KeyFile  string `yaml:"key_file"`
	} `yaml:"tls"`
	Repository db.Config     `yaml:"repository"`
	MasterKey  secret.Config `yaml:"master_key"`
	Temporal   Temporal      `yaml:"temporal"`
	Gateway    struct {
		// Listen is the address for agents, e.g. ":7443".
		Listen string `yaml:"listen"`
		// PublicAddress is host:port that agents dial.
		PublicAddress string `yaml:"public_address"`
		// Names are further names and addresses for its certificate.
		Names []string `yaml:"names"`
	} `yaml:"gateway"`
	Retention service.Retention `yaml:"retention"`
	// AdminPassword of the first administrator; from the environment only, one is made up without it.
	AdminPassword string `yaml:"-"`
}

// Temporal is an outside cluster.
type Temporal struct {
	Address    string `yaml:"address"`
	Namespace  string `yaml:"namespace"`
	CAFile     string `yaml:"ca_file"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"`
	// UIURL is where its own UI is, for links.
	UIURL string `yaml:"ui_url"`
}

// Load reads the file, if one is given, and the environment.
func Load(file string) (Config, error) {
	c := Config{Listen: ":8080", Retention: service.DefaultRetention()}
	c.Gateway.Listen = ":7443"
	c.Temporal.Namespace = "pgdrover"
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return c, fmt.Errorf("open configuration: %w", err)
		}
		defer f.Close()
		dec := yaml.NewDecoder(f)
		dec.KnownFields(true)
		if err := dec.Decode(&c); err != nil {
			return c, fmt.Errorf("read configuration %s: %w", file, err)
		}
	}
	for name, at := range map[string]*string{
		"PGDROVER_LISTEN": &c.Listen, "PGDROVER_REPOSITORY_URL": &c.Repository.URL, "PGDROVER_TEMPORAL_ADDRESS": &c.Temporal.Address,
		"PGDROVER_TEMPORAL_NAMESPACE": &c.Temporal.Namespace, "PGDROVER_GATEWAY_LISTEN": &c.Gateway.Listen,
		"PGDROVER_GATEWAY_PUBLIC_ADDRESS": &c.Gateway.PublicAddress, "PGDROVER_ADMIN_PASSWORD": &c.AdminPassword,
		"PGDROVER_MASTER_KEY_FILE": &c.MasterKey.File,
	} {
		if v := os.Getenv(name); v != "" {
			*at = v
		}
	}
	return c, nil
}

// Validate reports everything that is wrong at once.
func (c *Config) Validate() error {
	var bad []error
	if c.Repository.URL == "" {
		bad = append(bad, errors.New("repository.url (or PGDROVER_REPOSITORY_URL) is missing"))
	}
	for name, address := range map[string]string{"listen": c.Listen, "gateway.listen": c.Gateway.Listen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			bad = append(bad, fmt.Errorf("%s: %q is not host:port", name, address))
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad = append(bad, errors.New("tls: give both cert_file and key_file"))
	}
	if c.Gateway.PublicAddress == "" {
		bad = append(bad, errors.New("gateway.public_address (or PGDROVER_GATEWAY_PUBLIC_ADDRESS) is missing: "+
			"host:port that agents dial"))
	}
	if p := c.AdminPassword; p != "" && len(p) < 8 {
		bad = append(bad, errors.New("PGDROVER_ADMIN_PASSWORD must have at least 8 characters"))
	}
	return errors.Join(bad...)
}

// ClientTLS is the TLS of the outside cluster, nil for plain.
func (t Temporal) ClientTLS() (*tls.Config, error) {
	if t.CAFile == "" && t.CertFile == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read Temporal's authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read Temporal's authority: %s holds no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate for Temporal: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// uiLink is the base of links into Temporal's UI.
func (t Temporal) uiLink() string { return strings.TrimSuffix(t.UIURL, "/") }
