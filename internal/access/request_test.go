package access

import (
	"strings"
	"testing"

	"github.com/watchroute/watchroute/internal/resource"
)

func TestFromHeader(t *testing.T) {
	for header, want := range map[string]string{"": "", "  ": "", "Bearer abc": "abc", "bearer abc": "abc", "BEARER   abc ": "abc", "Bearer a=b": "a=b"} {
		if got, err := FromHeader(header); got != want || err != nil {
			t.Errorf("%q: got %q, %v", header, got, err)
		}
	}
	for header, want := range map[string]resource.Reason{
		"Bearer":                           resource.CredentialMissing,
		"Bearer  ":                         resource.CredentialMissing,
		"Basic dXNlcjpwYXNz":               resource.CredentialInvalid,
		"eyJhbGciOi.secret":                resource.CredentialInvalid,
		"Bearereyj":                        resource.CredentialInvalid,
		"Bearer\teyJhbGciOi":               resource.CredentialInvalid,
		"Bearer secret-one secret-two":     resource.CredentialInvalid,
		"Bearer secret-1, Bearer secret-2": resource.CredentialInvalid,
		"Bearer secret-1,secret-2":         resource.CredentialInvalid,
		"Bearer secret\r\nX: y":            resource.CredentialInvalid,
		"Digest username=\"a\"":            resource.CredentialInvalid,
	} {
		got, err := FromHeader(header)
		if got != "" || !resource.HasReason(err, want) {
			t.Errorf("%q: got %q, %v", header, got, err)
			continue
		}
		for _, part := range strings.FieldsFunc(header, func(r rune) bool { return strings.ContainsRune(" ,\t\r\n", r) }) {
			if len(part) > 6 && strings.Contains(err.Error(), part) {
				t.Errorf("%q was quoted: %v", header, err)
			}
		}
	}
}
