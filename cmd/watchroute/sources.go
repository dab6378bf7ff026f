package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server/sources"
)

type sourcesCommand struct {
	List   sourcesListCommand   `cmd:"" help:"Show the sources, and how they are."`
	Put    sourcesPutCommand    `cmd:"" help:"Create or replace sources."`
	Pause  sourcesPauseCommand  `cmd:"" help:"Read nothing more for now."`
	Resume sourcesResumeCommand `cmd:"" help:"Go on."`
	Delete sourcesDeleteCommand `cmd:"" help:"Remove a source. Its positions are kept, in case it comes again."`
}

type sourcesListCommand struct {
	client `embed:""`
}

// Run prints the statuses; those of the configuration are among them.
func (c *sourcesListCommand) Run(ctx context.Context, term *terminal) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		all, err := listAll[*watchroutev1.SourceStatus](ctx, conn, sources.StatusOf, "")
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printMessages(term.out, all)
		}
		table := tabwriter.NewWriter(term.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SOURCE\tSTATE\tEVENTS\tA SECOND\tLAG\tDEAD\tLAST EVENT\tERROR")
		for _, s := range all {
			lag, last := "?", "never"
			if len(s.GetLag()) > 0 {
				sum := int64(0)
				for _, n := range s.GetLag() {
					sum += n
				}
				lag = fmt.Sprint(sum)
			}
			if t := s.GetLastEventTime(); t != nil {
				last = time.Since(t.AsTime()).Round(time.Second).String() + " ago"
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t%s\t%d\t%s\t%s\n", s.GetSourceId(), s.GetState(), s.GetEvents(), s.GetRate(), lag, s.GetDeadLetters(), last, s.GetError())
		}
		return table.Flush()
	})
}

type sourcesPutCommand struct {
	client `embed:""`
	Value  string `arg:"" default:"-" help:"A source, or a list of them, in YAML or JSON: @FILE, the text, or - for standard input."`
}

// Run writes the sources.
func (c *sourcesPutCommand) Run(ctx context.Context, term *terminal) error {
	text, err := document(c.Value, term.in)
	if err != nil {
		return err
	}
	var list []map[string]any
	if err := yaml.UnmarshalWithOptions([]byte(text), &list, yaml.Strict()); err != nil {
		var one map[string]any
		if yaml.UnmarshalWithOptions([]byte(text), &one, yaml.Strict()) != nil {
			return fmt.Errorf("neither a source nor a list of them:\n%s", yaml.FormatError(err, false, true))
		}
		list = []map[string]any{one}
	}
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		for i, v := range list {
			raw, err := json.Marshal(v)
			if err != nil {
				return err
			}
			s := new(watchroutev1.Source)
			if err := protojson.Unmarshal(raw, s); err != nil {
				return fmt.Errorf("source %d: %w", i, err)
			}
			written, err := conn.Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: sources.Collection + "/" + s.GetSourceId(), Data: wire.JSONText(raw)}})
			if err != nil {
				return err
			}
			if err := c.printWritten(ctx, term, conn.types, written, "put"); err != nil {
				return err
			}
		}
		return nil
	})
}

type sourcesPauseCommand struct {
	client `embed:""`
	ID     string `arg:"" help:"The source."`
}

// Run pauses the source.
func (c *sourcesPauseCommand) Run(ctx context.Context, term *terminal) error {
	return c.pause(ctx, term, c.ID, true)
}

type sourcesResumeCommand struct {
	client `embed:""`
	ID     string `arg:"" help:"The source."`
}

// Run lets the source go on.
func (c *sourcesResumeCommand) Run(ctx context.Context, term *terminal) error {
	return c.pause(ctx, term, c.ID, false)
}

func (c *client) pause(ctx context.Context, term *terminal, id string, paused bool) error {
	return change(ctx, c, term, sources.Collection+"/"+id, "put", func(s *watchroutev1.Source) { s.Paused = paused })
}

type sourcesDeleteCommand struct {
	client `embed:""`
	ID     string `arg:"" help:"The source."`
}

// Run removes the source.
func (c *sourcesDeleteCommand) Run(ctx context.Context, term *terminal) error {
	return c.drop(ctx, term, sources.Collection, []string{c.ID})
}

func (c *client) drop(ctx context.Context, term *terminal, collection string, ids []string) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		for _, id := range ids {
			written, err := conn.Delete(ctx, &watchroutev1.DeleteRequest{Name: collection + "/" + id})
			if err != nil {
				return err
			}
			if err := c.printWritten(ctx, term, conn.types, written, "deleted"); err != nil {
				return err
			}
		}
		return nil
	})
}

type deadlettersCommand struct {
	List   deadlettersListCommand   `cmd:"" help:"Show events that could not be applied, and why."`
	Show   deadlettersShowCommand   `cmd:"" help:"Show one with all that is known of it; its bytes alone with --raw."`
	Replay deadlettersReplayCommand `cmd:"" help:"Try some again, with the source as it is now."`
	Drop   deadlettersDropCommand   `cmd:"" help:"Remove some for good."`
}

type deadlettersListCommand struct {
	client `embed:""`
	Source string `name:"source" placeholder:"ID" help:"Only those of one source."`
}

// Run prints the dead letters.
func (c *deadlettersListCommand) Run(ctx context.Context, term *terminal) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		all, err := listAll[*watchroutev1.DeadLetter](ctx, conn, sources.DeadLettersOf, ofSource(c.Source))
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printMessages(term.out, all)
		}
		slices.SortStableFunc(all, func(a, b *watchroutev1.DeadLetter) int {
			return a.GetDeadTime().AsTime().Compare(b.GetDeadTime().AsTime())
		})
		table := tabwriter.NewWriter(term.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "DEAD LETTER\tSINCE\tTRIED\tWHERE\tWHY")
		for _, m := range all {
			where := m.GetTopic()
			if m.GetPosition() != "" {
				where = m.GetPartition() + "@" + m.GetPosition()
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s: %s\n", m.GetDeadletterId(), m.GetDeadTime().AsTime().Format(time.RFC3339), m.GetAttempts(), where, m.GetReason(), m.GetMessage())
		}
		return table.Flush()
	})
}

func ofSource(id string) string {
	if id == "" {
		return ""
	}
	return fmt.Sprintf("data.source_id == %q", id)
}

type deadlettersShowCommand struct {
	client `embed:""`
	ID     string `arg:"" help:"The dead letter."`
	Raw    bool   `name:"raw" help:"Only the event's bytes, as they came."`
}

// Run prints the dead letter.
func (c *deadlettersShowCommand) Run(ctx context.Context, term *terminal) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		r, err := conn.Get(ctx, &watchroutev1.GetRequest{Name: sources.DeadLettersOf + "/" + c.ID})
		if err != nil {
			return err
		}
		m := new(watchroutev1.DeadLetter)
		if err := r.GetData().UnmarshalTo(m); err != nil {
			return err
		}
		if c.Raw {
			_, err := term.out.Write(m.GetValue())
			return err
		}
		text := protojson.MarshalOptions{Multiline: true}.Format(m)
		_, err = fmt.Fprintln(term.out, text)
		return err
	})
}

// chosen are dead letters.
type chosen struct {
	IDs    []string `arg:"" optional:"" help:"The dead letters."`
	Source string   `name:"source" placeholder:"ID" help:"All of one source."`
	All    bool     `name:"all" help:"All there are."`
}

func (c *chosen) ids(ctx context.Context, of *client) (ids []string, err error) {
	if !c.All && c.Source == "" {
		if len(c.IDs) == 0 {
			return nil, fmt.Errorf("name some dead letters, or --source, or --all")
		}
		return c.IDs, nil
	}
	err = of.call(ctx, func(ctx context.Context, conn *connection) error {
		all, err := listAll[*watchroutev1.DeadLetter](ctx, conn, sources.DeadLettersOf, ofSource(c.Source))
		for _, m := range all {
			ids = append(ids, m.GetDeadletterId())
		}
		return err
	})
	return ids, err
}

type deadlettersReplayCommand struct {
	client `embed:""`
	chosen `embed:""`
}

// Run asks for them to be tried again.
func (c *deadlettersReplayCommand) Run(ctx context.Context, term *terminal) error {
	ids, err := c.ids(ctx, &c.client)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := change(ctx, &c.client, term, sources.DeadLettersOf+"/"+id, "put", func(m *watchroutev1.DeadLetter) { m.Replay = true }); err != nil {
			return err
		}
	}
	return nil
}

type deadlettersDropCommand struct {
	client `embed:""`
	chosen `embed:""`
}

// Run removes them.
func (c *deadlettersDropCommand) Run(ctx context.Context, term *terminal) error {
	ids, err := c.ids(ctx, &c.client)
	if err != nil {
		return err
	}
	return c.drop(ctx, term, sources.DeadLettersOf, ids)
}

// change changes a resource as it is at the moment.
func change[M proto.Message](ctx context.Context, c *client, term *terminal, name, verb string, f func(M)) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		r, err := conn.Get(ctx, &watchroutev1.GetRequest{Name: name})
		if err != nil {
			return err
		}
		var zero M
		m := zero.ProtoReflect().New().Interface().(M)
		if err := r.GetData().UnmarshalTo(m); err != nil {
			return fmt.Errorf("%s is no %s: %w", name, m.ProtoReflect().Descriptor().FullName(), err)
		}
		f(m)
		if r.Data.Value, err = proto.Marshal(m); err != nil {
			return err
		}
		written, err := conn.Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name, Labels: r.GetLabels(), Data: r.GetData()},
			Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: r.GetRevision()}}})
		if err != nil {
			return err
		}
		return c.printWritten(ctx, term, conn.types, written, verb)
	})
}

// listAll gives the messages of a collection.
func listAll[M proto.Message](ctx context.Context, conn *connection, collection, filter string) (all []M, err error) {
	request := &watchroutev1.ListRequest{Parent: collection, Filter: filter, PageSize: 1000}
	for {
		page, err := conn.List(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, r := range page.GetResources() {
			var zero M
			m := zero.ProtoReflect().New().Interface().(M)
			if err := r.GetData().UnmarshalTo(m); err != nil {
				return nil, err
			}
			all = append(all, m)
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all, nil
		}
	}
}

// printMessages prints one JSON object a line.
func printMessages[M proto.Message](out io.Writer, all []M) error {
	for _, m := range all {
		raw, err := protojson.Marshal(m)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n", raw); err != nil {
			return err
		}
	}
	return nil
}
