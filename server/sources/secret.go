package sources

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"unicode"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/certificate"
	"github.com/watchroute/watchroute/internal/resource"
)

// Secret reads a secret; nil gives an empty one. Connectors read it whenever they connect:
// it may have been changed. Errors name where it is, and never what it is.
func Secret(s *watchroutev1.Secret) (string, error) {
	switch at := s.GetAt().(type) {
	case *watchroutev1.Secret_File:
		raw, err := os.ReadFile(at.File)
		if err != nil {
			return "", fmt.Errorf("the secret: %w", err)
		}
		return strings.TrimRightFunc(string(raw), unicode.IsSpace), nil
	case *watchroutev1.Secret_Env:
		value, ok := os.LookupEnv(at.Env)
		if !ok {
			return "", fmt.Errorf("the secret: the environment has no %s", at.Env)
		}
		return value, nil
	}
	return "", nil
}

// TLS gives the settings of a connection; nil: it is not secured.
func TLS(t *watchroutev1.ClientTls) (*tls.Config, error) {
	if t == nil || !t.GetEnabled() && t.GetCaFile() == "" && t.GetCertFile() == "" && t.GetServerName() == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.GetServerName()}
	if file := t.GetCaFile(); file != "" {
		var err error
		if c.RootCAs, err = certificate.Pool(file); err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
	}
	if t.GetCertFile() != "" {
		cert, err := tls.LoadX509KeyPair(t.GetCertFile(), t.GetKeyFile())
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// CheckTLS says what is wrong with settings of TLS, without reading any file.
func CheckTLS(field string, t *watchroutev1.ClientTls) error {
	if (t.GetCertFile() == "") != (t.GetKeyFile() == "") {
		return resource.Errorf(resource.InvalidField, "cert_file and key_file are given together").In(field)
	}
	return nil
}

// CheckLogin says what is wrong with a login, without reading its secret.
func CheckLogin(field string, l *watchroutev1.Login) error {
	switch {
	case l == nil:
		return nil
	case l.GetUsername() == "":
		return resource.Errorf(resource.InvalidField, "the name is missing").In(field + ".username")
	}
	return CheckSecret(field+".password", l.GetPassword())
}

// CheckSecret says what is wrong with a reference to a secret, without reading it.
func CheckSecret(field string, s *watchroutev1.Secret) error {
	if s.GetFile() == "" && s.GetEnv() == "" {
		return resource.Errorf(resource.InvalidField, "where the secret is is missing: a `file`, or an environment variable, `env`").In(field)
	}
	return nil
}
