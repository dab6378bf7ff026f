package transporttest

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/server"
)

// Guard says that a node asks for credentials, and what its configuration lets callers
// do. The credentials are tokens of one issuer, or API keys.
type Guard struct {
	Collections []*watchroutev1.CollectionAccess
	Limits      access.Limits
}

// What the nodes' issuer is called, and what its tokens say.
const (
	tokenIssuer   = "https://login.shop.example"
	tokenAudience = "watchroute"
	operatorRole  = "watchroute-operator"
)

// tokenSecret is what the issuer of all nodes signs with.
var tokenSecret = sync.OnceValue(func() string { return rand.Text() + rand.Text() })

// issuer is the only one that a guarded node knows.
func issuer(t testing.TB) access.Issuer {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(tokenSecret()), 0o600); err != nil {
		t.Fatal(err)
	}
	return access.Issuer{Issuer: tokenIssuer, Audiences: []string{tokenAudience}, SecretFile: path, OperatorRole: operatorRole}
}

// person is whom a token speaks of.
type person struct {
	Subject, Tenant string
	Roles           []string
	ID              string        // the token's
	Lives           time.Duration // Default: an hour
	Audience        string        // Default: the nodes'
	Secret          string        // Default: the issuer's
}

// Who calls.
var (
	operator  = person{Subject: "root", Roles: []string{operatorRole}}
	ann       = person{Subject: "ann"}
	ben       = person{Subject: "ben"}
	eve       = person{Subject: "eve"}
	warehouse = person{Subject: "wim", Roles: []string{"warehouse"}}
	service   = person{Subject: "shop", Roles: []string{"orders-service"}}
)

// of gives the same name in another tenant.
func (p person) of(tenant string) person {
	p.Tenant = tenant
	return p
}

// token signs a token.
func (p person) token() string {
	if p.Lives == 0 {
		p.Lives = time.Hour
	}
	if p.Audience == "" {
		p.Audience = tokenAudience
	}
	if p.Secret == "" {
		p.Secret = tokenSecret()
	}
	now := time.Now()
	claims := jwt.MapClaims{"iss": tokenIssuer, "aud": p.Audience, "sub": p.Subject, "roles": p.Roles,
		"iat": now.Unix(), "exp": float64(now.Add(p.Lives).UnixMilli()) / 1000}
	if p.Tenant != "" {
		claims["tenant"] = p.Tenant
	}
	if p.ID != "" {
		claims["jti"] = p.ID
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(p.Secret))
	if err != nil {
		panic(err) // nothing of it can fail
	}
	return text
}

// asOperator lets what a scenario does beside the transport be an operator's doing.
func asOperator(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return call(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+operator.token()), method, in, out, conn, opts...)
}

// in gives the case whose writes and lists beside the transport are of a tenant.
func (c *Case) in(tenant string) *Case {
	other := *c
	other.ctx = metadata.AppendToOutgoingContext(c.ctx, server.TenantHeader, tenant)
	return &other
}

// dial gives the case with other connections.
func (c *Case) dial(d Dialer) *Case { return c.On(c.Kit, c.Kit.New(c.TB, c.Node, d)) }

// as gives the case as somebody sees it.
func (c *Case) as(p person) *Case {
	return c.dial(Dialer{Presented: Presented{Credential: p.token()}})
}
