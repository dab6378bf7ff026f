package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

const (
	minSecretBytes = 32
	minRSABits     = 2048
	maxKeySetBytes = 1 << 20
)

// keySource is where the keys of an issuer come from: fixed ones, or a function that
// fetches its JSON Web Key Set and is called by one goroutine at a time.
type keySource struct {
	fixed fixedKeys
	fetch func(context.Context) ([]byte, error)
}

// newKeySource reads the files of fixed keys. The error begins with the setting.
func newKeySource(c Issuer, client *http.Client) (keySource, error) {
	switch {
	case c.SecretFile != "":
		keys, err := readSecret(c.SecretFile)
		if err != nil {
			return keySource{}, fmt.Errorf("secret-file: %w", err)
		}
		return keySource{fixed: keys}, nil
	case c.PublicKeyFile != "":
		keys, err := readPublicKeys(c.PublicKeyFile)
		if err != nil {
			return keySource{}, fmt.Errorf("public-key-file: %w", err)
		}
		return keySource{fixed: keys}, nil
	case c.JWKSFile != "":
		if _, err := readBounded(c.JWKSFile); err != nil {
			return keySource{}, fmt.Errorf("jwks-file: %w", err)
		}
		return keySource{fetch: func(context.Context) ([]byte, error) { return readBounded(c.JWKSFile) }}, nil
	case c.Discovery:
		return keySource{fetch: discover(c.Issuer, client)}, nil
	}
	return keySource{fetch: func(ctx context.Context) ([]byte, error) { return get(ctx, client, c.JWKSURL) }}, nil
}

// fixedKeys are keys that never change.
type fixedKeys struct{ jwt.VerificationKeySet }

// KeyfuncCtx gives all keys: a kid means nothing, as they have no names.
func (k fixedKeys) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(*jwt.Token) (any, error) { return k.VerificationKeySet, nil }
}

// Generation is always the same.
func (fixedKeys) Generation() uint64 { return 0 }

// Ready is always true.
func (fixedKeys) Ready() bool { return true }

func readSecret(path string) (keys fixedKeys, err error) {
	secret, err := readBounded(path)
	if err != nil {
		return keys, err
	}
	secret = bytes.TrimRight(secret, "\r\n")
	if len(secret) < minSecretBytes {
		return keys, fmt.Errorf("the secret has %d bytes; at least %d are needed, such as of `openssl rand -base64 48`", len(secret), minSecretBytes)
	}
	keys.Keys = []jwt.VerificationKey{secret}
	return keys, nil
}

func readPublicKeys(path string) (keys fixedKeys, err error) {
	rest, err := readBounded(path)
	if err != nil {
		return keys, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		// A private key says so here, and is best kept elsewhere.
		if block.Type != "PUBLIC KEY" {
			return keys, fmt.Errorf("expected PEM blocks PUBLIC KEY, but there is a %s", block.Type)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return keys, err
		}
		if err := checkKey(key); err != nil {
			return keys, err
		}
		keys.Keys = append(keys.Keys, key)
	}
	if len(keys.Keys) == 0 {
		return keys, errors.New("expected at least one PEM block PUBLIC KEY")
	}
	return keys, nil
}

// checkKey says whether a public key can verify signatures.
func checkKey(key any) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("an RSA key of %d bits is too short, %d are needed", bits, minRSABits)
		}
		return nil
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of type %T verifies no signatures", key)
}

// discover gives a function that fetches the key set of an OpenID provider, having asked
// it where that is.
func discover(issuer string, client *http.Client) func(context.Context) ([]byte, error) {
	var found string
	return func(ctx context.Context) ([]byte, error) {
		if found == "" {
			text, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
			if err != nil {
				return nil, err
			}
			var provider struct {
				Issuer string `json:"issuer"`
				URL    string `json:"jwks_uri"`
			}
			if err := json.Unmarshal(text, &provider); err != nil {
				return nil, fmt.Errorf("the provider's configuration: %w", err)
			}
			// OpenID Connect Discovery 1.0, 4.3.
			if provider.Issuer != issuer {
				return nil, fmt.Errorf("the provider says that it is %q", provider.Issuer)
			}
			if err := checkURL(provider.URL); err != nil {
				return nil, fmt.Errorf("the provider's jwks_uri: %w", err)
			}
			found = provider.URL
		}
		return get(ctx, client, found)
	}
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, res.Status)
	}
	return readAll(res.Body)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKeySetBytes+1))
	if err == nil && len(text) > maxKeySetBytes {
		err = fmt.Errorf("more than %d bytes", maxKeySetBytes)
	}
	return text, err
}
