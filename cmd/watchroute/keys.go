package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/wire"
)

type keysCommand struct {
	New keysNewCommand `cmd:"" help:"Make an API key, and register it with the server. The secret is shown once."`
}

type keysNewCommand struct {
	client   `embed:""`
	ID       string        `arg:"" help:"The key's id: what it begins with. 1 to 32 lower-case letters, digits and '-'."`
	Subject  string        `name:"subject" placeholder:"NAME" help:"auth.sub of its calls. Default: the id."`
	Tenant   string        `name:"for-tenant" placeholder:"NAME" help:"Whose it is. Default: the tenant without a name."`
	Role     []string      `name:"role" placeholder:"NAME" help:"auth.roles; may be given several times."`
	Scope    []string      `name:"scope" placeholder:"NAME" help:"auth.scopes; may be given several times."`
	Operator bool          `name:"operator" help:"It is an operator's: no rule is asked."`
	Expires  time.Duration `name:"expires" placeholder:"DURATION" help:"How long it is valid. Default: for good."`
	Note     string        `name:"note" placeholder:"TEXT" help:"What it is for."`
	Offline  bool          `name:"offline" help:"Register it nowhere: print what to put under 'keys' of the access settings."`
}

// Run makes the key here, so that the server never sees the secret before it is used.
func (c *keysNewCommand) Run(ctx context.Context, term *terminal) error {
	secret, hash, err := access.NewKey(c.ID)
	if err != nil {
		return err
	}
	key := &watchroutev1.ApiKey{KeyId: c.ID, Hash: hash, Tenant: c.Tenant, Subject: c.Subject, Roles: c.Role, Scopes: c.Scope, Operator: c.Operator, Note: c.Note}
	if key.Subject == "" {
		key.Subject = c.ID
	}
	if c.Expires > 0 {
		key.ExpireTime = timestamppb.New(time.Now().Add(c.Expires).Truncate(time.Second))
	}
	text, err := protojson.Marshal(key)
	if err != nil {
		return err
	}
	if c.Offline {
		fmt.Fprintf(term.err, "The secret, shown only now, is on standard output; under `keys` of the access settings put:\n  - %s\n", text)
	} else if err := c.call(ctx, func(ctx context.Context, conn *connection) error {
		_, err := conn.Put(ctx, &watchroutev1.PutRequest{
			Resource:     &watchroutev1.Resource{Name: access.KeysCollection + "/" + c.ID, Data: wire.JSONText(text)},
			Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}},
		})
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintln(term.out, secret)
	return nil
}

type grantsCommand struct {
	Approve grantsApproveCommand `cmd:"" help:"Let a caller watch what it has asked for."`
	Refuse  grantsRefuseCommand  `cmd:"" help:"Do not."`
}

type grantsApproveCommand struct {
	client `embed:""`
	Name   string        `arg:"" help:"The grant, such as system.grants/orders~~alice."`
	For    time.Duration `name:"for" placeholder:"DURATION" help:"How long. Default: for good."`
	Note   string        `name:"note" placeholder:"TEXT" help:"Why."`
}

// Run approves the grant.
func (c *grantsApproveCommand) Run(ctx context.Context, term *terminal) error {
	return change(ctx, &c.client, term, c.Name, "approved", func(g *watchroutev1.Grant) {
		g.State, g.Note, g.ExpireTime = watchroutev1.Grant_APPROVED, c.Note, nil
		if c.For > 0 {
			g.ExpireTime = timestamppb.New(time.Now().Add(c.For).Truncate(time.Second))
		}
	})
}

type grantsRefuseCommand struct {
	client `embed:""`
	Name   string `arg:"" help:"The grant, such as system.grants/orders~~alice."`
	Note   string `name:"note" placeholder:"TEXT" help:"Why."`
}

// Run refuses the grant.
func (c *grantsRefuseCommand) Run(ctx context.Context, term *terminal) error {
	return change(ctx, &c.client, term, c.Name, "refused", func(g *watchroutev1.Grant) {
		g.State, g.Note, g.ExpireTime = watchroutev1.Grant_REFUSED, c.Note, nil
	})
}

type revokeCommand struct {
	client      `embed:""`
	ID          string `arg:"" help:"A name for the revocation, by which it can be deleted: system.revocations/ID."`
	Token       string `name:"token-id" xor:"target" required:"" placeholder:"JTI" help:"Revoke the token with this jti."`
	Key         string `name:"api-key" xor:"target" required:"" placeholder:"ID" help:"Revoke an API key."`
	Subject     string `name:"subject" xor:"target" required:"" placeholder:"NAME" help:"Revoke all credentials of a subject."`
	Address     string `name:"address" xor:"target" required:"" placeholder:"NETWORK" help:"Block an address, or a network such as 203.0.113.0/24."`
	WholeTenant bool   `name:"whole-tenant" xor:"target" required:"" help:"Revoke all credentials of the tenant."`
	Tenant      string `name:"of-tenant" placeholder:"NAME" help:"Of which tenant the subject is. Default: the tenant without a name."`
	Older       bool   `name:"until-now" help:"Only credentials that were issued before now."`
	Note        string `name:"note" placeholder:"TEXT" help:"Why."`
}

// Run writes the revocation.
func (c *revokeCommand) Run(ctx context.Context, term *terminal) error {
	r := &watchroutev1.Revocation{RevocationId: c.ID, Tenant: c.Tenant, Note: c.Note}
	switch {
	case c.Token != "":
		r.Target = &watchroutev1.Revocation_TokenId{TokenId: c.Token}
	case c.Key != "":
		r.Target = &watchroutev1.Revocation_KeyId{KeyId: c.Key}
	case c.Subject != "":
		r.Target = &watchroutev1.Revocation_Subject{Subject: c.Subject}
	case c.Address != "":
		r.Target = &watchroutev1.Revocation_Address{Address: c.Address}
	default:
		r.Target = &watchroutev1.Revocation_WholeTenant{WholeTenant: true}
	}
	if c.Older {
		r.IssuedBefore = timestamppb.Now()
	}
	text, err := protojson.Marshal(r)
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		written, err := conn.Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: access.RevocationsCollection + "/" + c.ID, Data: wire.JSONText(text)}})
		if err != nil {
			return err
		}
		return c.printWritten(ctx, term, conn.types, written, "revoked")
	})
}
