package hub

import (
	"context"

	"github.com/watchroute/watchroute/internal/schema"
)

// Access decides what a principal may see (promise P10).
type Access interface {
	// Scope is asked when a watch or a list opens. An error refuses it.
	Scope(ctx context.Context, collection string) (Scope, error)
}

// Scope is what one principal may see of one collection. It is asked at every
// change, with the value before and the value after.
type Scope interface {
	// Key names the scope: principals with the same key see the same. Empty: sees
	// everything. It becomes part of what a token is bound to.
	Key() string
	// Visible says whether a resource in this state may be seen. It must not block
	// and must always say the same of the same state.
	Visible(v *schema.Value) bool
}

// AllowAll is an Access without rules.
type AllowAll struct{}

// Scope gives the scope that sees everything.
func (AllowAll) Scope(context.Context, string) (Scope, error) { return everything{}, nil }

type everything struct{}

func (everything) Key() string                { return "" }
func (everything) Visible(*schema.Value) bool { return true }
