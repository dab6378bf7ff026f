package resource

import (
	"fmt"
	"strings"
)

// Limits of names, in bytes.
const (
	MaxCollection = 63
	MaxID         = 128
)

// Name is the name of a resource, such as orders/42.
type Name struct {
	Collection string
	ID         string
}

// String gives COLLECTION/ID.
func (n Name) String() string { return n.Collection + "/" + n.ID }

// ParseName takes COLLECTION/ID apart. field is the request field that held the
// text, for the error, whose reason is InvalidName.
func ParseName(field, text string) (Name, error) {
	collection, id, ok := strings.Cut(text, "/")
	if !ok {
		return Name{}, Errorf(InvalidName, "%q is not COLLECTION/ID, such as orders/42", clip(text)).In(field)
	}
	if err := CheckCollection(field, collection); err != nil {
		return Name{}, err
	}
	if err := CheckID(field, id); err != nil {
		return Name{}, err
	}
	return Name{Collection: collection, ID: id}, nil
}

// CheckCollection says whether text can name a collection: 1 to MaxCollection
// lower-case letters, digits, `-`, `_` and `.`, the first one a letter.
func CheckCollection(field, text string) error {
	if text == "" {
		return Errorf(InvalidName, "the collection is missing").In(field)
	}
	if len(text) > MaxCollection {
		return Errorf(InvalidName, "the collection has %d characters, %d are allowed", len(text), MaxCollection).In(field)
	}
	if c := text[0]; c < 'a' || c > 'z' {
		return Errorf(InvalidName, "the collection %q does not begin with a lower-case letter", clip(text)).In(field)
	}
	for i := range len(text) {
		if c := text[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return Errorf(InvalidName, "the collection %q holds %q; lower-case letters, digits, '-', '_' and '.' are allowed", clip(text), rune(c)).In(field)
		}
	}
	return nil
}

// MaxTenant is how long the name of a tenant may be, in bytes.
const MaxTenant = 63

// systemPrefix begins the collections that all tenants share.
const systemPrefix = "system."

// Of gives the key under which the log keeps a tenant's own collection of a name: the
// name itself for the tenant without a name, and for what all tenants share.
func Of(tenant, collection string) string {
	if tenant == "" || IsSystem(collection) {
		return collection
	}
	return tenant + ":" + collection
}

// Shared gives the name of a collection, which is the same for each tenant, of its key.
func Shared(key string) string {
	if _, collection, ok := strings.Cut(key, ":"); ok {
		return collection
	}
	return key
}

// IsSystem says whether a collection is one of those that control the node.
func IsSystem(collection string) bool { return strings.HasPrefix(collection, systemPrefix) }

// CheckTenant says whether text can name a tenant: nothing, or 1 to MaxTenant lower-case
// letters, digits and `-`, the first one a letter.
func CheckTenant(field, text string) error {
	if text == "" {
		return nil
	}
	if len(text) > MaxTenant || text[0] < 'a' || text[0] > 'z' || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return Errorf(InvalidField, "the tenant %q is not 1 to %d lower-case letters, digits and '-', the first one a letter", clip(text), MaxTenant).In(field)
	}
	return nil
}

// CheckID says whether text can be an id: 1 to MaxID letters, digits and
// `-._~@=+,`, and none of `.`, `..` and `watch`, which mean something in a URL.
func CheckID(field, text string) error {
	switch text {
	case "":
		return Errorf(InvalidName, "the id is missing").In(field)
	case ".", "..", "watch":
		return Errorf(InvalidName, "%q cannot be an id", text).In(field)
	}
	if len(text) > MaxID {
		return Errorf(InvalidName, "the id has %d characters, %d are allowed", len(text), MaxID).In(field)
	}
	for i := range len(text) {
		if c := text[i]; !idByte(c) {
			return Errorf(InvalidName, "the id %q holds %q; letters, digits and -._~@=+, are allowed", clip(text), rune(c)).In(field)
		}
	}
	return nil
}

func idByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-._~@=+,", c) >= 0
}

// clip shortens what a stranger sent before it goes into a message.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:most], len(text))
}
