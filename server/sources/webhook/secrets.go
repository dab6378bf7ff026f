package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

// SignatureHeader is the header of the signature, where no other is configured.
const SignatureHeader = "Watchroute-Signature"

// secrets are what callers must know.
type secrets struct {
	signs, bears bool // which of them are asked for
	hmac, token  []byte
	header       string
}

// check says what is wrong with a configuration.
func check(w *watchroutev1.WebhookSource) error {
	if w.GetHmac() == nil && w.GetToken() == nil {
		return resource.Errorf(resource.InvalidField, "how callers show who they are is missing: `hmac`, `token`, or both").In("webhook")
	}
	if w.GetHmac() != nil {
		if err := sources.CheckSecret("webhook.hmac", w.GetHmac()); err != nil {
			return err
		}
	}
	if w.GetToken() != nil {
		if err := sources.CheckSecret("webhook.token", w.GetToken()); err != nil {
			return err
		}
	}
	switch name := w.GetSignatureHeader(); {
	case name == "":
	case w.GetHmac() == nil:
		return resource.Errorf(resource.InvalidField, "it is for `hmac`, which is missing").In("webhook.signature_header")
	case strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return resource.Errorf(resource.InvalidField, "%q is no name of a header", name).In("webhook.signature_header")
	}
	return nil
}

// readSecrets reads them. An empty one is an error: everybody knows it.
func readSecrets(w *watchroutev1.WebhookSource) (*secrets, error) {
	s := &secrets{signs: w.GetHmac() != nil, bears: w.GetToken() != nil, header: w.GetSignatureHeader()}
	if s.header == "" {
		s.header = SignatureHeader
	}
	read := func(field string, from *watchroutev1.Secret, into *[]byte) error {
		if from == nil {
			return nil
		}
		text, err := sources.Secret(from)
		if err == nil && text == "" {
			err = fmt.Errorf("the secret is empty")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		*into = []byte(text)
		return nil
	}
	if err := read("webhook.hmac", w.GetHmac(), &s.hmac); err != nil {
		return nil, err
	}
	return s, read("webhook.token", w.GetToken(), &s.token)
}

// admit checks what can be checked before the body is read.
func (s *secrets) admit(h http.Header) error {
	if s.bears {
		scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
		switch {
		case !strings.EqualFold(scheme, "Bearer"):
			return resource.Errorf(resource.CredentialMissing, "the header `Authorization: Bearer TOKEN` is missing")
		case !equal([]byte(strings.TrimSpace(token)), s.token):
			return resource.Errorf(resource.CredentialInvalid, "the token is wrong")
		}
	}
	if s.signs && h.Get(s.header) == "" {
		return resource.Errorf(resource.CredentialMissing, "the signature is missing: %s, with the HMAC-SHA-256 of the body in hex", s.header)
	}
	return nil
}

// equal compares in a time that tells nothing of either, its length included.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return hmac.Equal(x[:], y[:])
}

// verify checks the signature of a body.
func (s *secrets) verify(h http.Header, body []byte) error {
	if !s.signs {
		return nil
	}
	got, err := hex.DecodeString(strings.TrimPrefix(h.Get(s.header), "sha256="))
	want := hmac.New(sha256.New, s.hmac)
	want.Write(body)
	if err != nil || !hmac.Equal(got, want.Sum(nil)) {
		return resource.Errorf(resource.CredentialInvalid, "the signature is not that of the body")
	}
	return nil
}
