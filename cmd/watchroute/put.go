package main

import (
	"context"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/wire"
)

type putCommand struct {
	client       `embed:""`
	Name         string            `arg:"" help:"The resource, such as orders/42."`
	Value        string            `arg:"" default:"-" help:"Its value: a JSON object, @FILE, or - for standard input."`
	Label        map[string]string `name:"label" short:"l" placeholder:"KEY=VALUE" mapsep:"none" help:"A label; may be given several times."`
	MustNotExist bool              `name:"must-not-exist" xor:"if" help:"Only if there is no such resource."`
	conditions   `embed:""`
}

// Run writes the resource.
func (c *putCommand) Run(ctx context.Context, term *terminal) error {
	text, err := document(c.Value, term.in)
	if err != nil {
		return err
	}
	request := &watchroutev1.PutRequest{
		Resource:     &watchroutev1.Resource{Name: c.Name, Labels: c.Label, Data: wire.JSONText([]byte(text))},
		Precondition: c.precondition(),
		RequestId:    c.RequestID,
	}
	if c.MustNotExist {
		request.Precondition = &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}
	}
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		r, err := conn.Put(ctx, request)
		if err != nil {
			return err
		}
		return c.printWritten(ctx, term, conn.types, r, "put")
	})
}
