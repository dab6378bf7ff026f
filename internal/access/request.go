package access

import (
	"strings"

	"github.com/watchroute/watchroute/internal/resource"
)

// FromHeader takes the secret from an Authorization header: "Bearer SECRET", the scheme
// in any case. An empty header has none. Another scheme, or more than one secret, is
// CredentialInvalid; "Bearer" alone is CredentialMissing, as whoever sends it meant to
// send one.
func FromHeader(authorization string) (secret string, err error) {
	authorization = strings.Trim(authorization, " ")
	if authorization == "" {
		return "", nil
	}
	// Neither part may go into a message: without a scheme, the first is the secret.
	scheme, secret, _ := strings.Cut(authorization, " ")
	secret = strings.TrimLeft(secret, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "", invalid("expected the header `Authorization: Bearer CREDENTIAL`, and no other scheme")
	}
	if secret == "" {
		return "", resource.Errorf(resource.CredentialMissing, "there is nothing after Bearer in the Authorization header")
	}
	// The comma is what proxies put between two headers.
	if strings.ContainsAny(secret, " \t\r\n,") {
		return "", invalid("expected one credential after Bearer in the Authorization header")
	}
	return secret, nil
}
