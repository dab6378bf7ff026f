package access

import (
	"crypto/x509"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Method is how a principal proved who it is.
type Method uint8

// The methods.
const (
	Anonymous   Method = iota // not at all
	JWT                       // by a token of an issuer
	APIKey                    // by a key of this service
	Certificate               // by the certificate of its TLS connection
)

// String gives the method as rules see it: anonymous, jwt, api-key or certificate.
func (m Method) String() string {
	switch m {
	case JWT:
		return "jwt"
	case APIKey:
		return "api-key"
	case Certificate:
		return "certificate"
	}
	return "anonymous"
}

// Principal is who calls. It is shared between calls: nobody may change it, or what it
// refers to.
type Principal struct {
	// Tenant is empty, or a name that resource.CheckTenant accepts.
	Tenant string
	// Subject is empty only where Method is Anonymous; at most MaxSubject bytes.
	Subject       string
	Roles, Scopes []string
	// Claims are all claims of a JWT, numbers as float64; nil otherwise.
	Claims map[string]any
	// Operator: of the node, and no rule is asked.
	Operator bool
	Method   Method
	// ID is the jti of the token, the id of the key or the serial number of the
	// certificate, in hexadecimal. A token may have none.
	ID string
	// Issuer is the iss of the token or the issuer of the certificate; empty otherwise.
	Issuer string
	// Issued is when the credential was made; zero: unknown.
	Issued time.Time
	// Expires is from when on it is not valid, without any leeway: it may have passed a
	// moment ago. Zero: never.
	Expires time.Time

	key *watchroutev1.ApiKey // whose rights these are; nil: no API key
}

// Credential is what a call presents. Its zero value is that of an anonymous call.
type Credential struct {
	// Secret is a JWT or an API key, as it stood behind "Bearer " or in a cookie, a
	// query or a first message. It wins over the certificate.
	Secret string
	// Certificate is the leaf of a mutual TLS connection whose chain was verified; nil:
	// there is none.
	Certificate *x509.Certificate
}

// MaxSubject is how long a subject may be, in bytes.
const MaxSubject = 256

// plain says whether a text has only lower-case letters, digits and '-'.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
