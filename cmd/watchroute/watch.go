package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/wire"
)

type watchCommand struct {
	client        `embed:""`
	Targets       []string      `arg:"" name:"collection|name" help:"A collection, such as orders, or resources of one collection, such as orders/42."`
	Filter        string        `name:"filter" placeholder:"CEL" help:"Only resources for which this holds, such as 'data.customer_id == \"42\"'."`
	ReadMask      []string      `name:"read-mask" placeholder:"FIELD" help:"Only these fields of the value, and only changes of them."`
	EveryChange   bool          `name:"every-change" help:"Show each change, also those that are outdated already."`
	Delta         bool          `name:"delta" help:"Show changed fields only."`
	From          string        `name:"from" xor:"start" placeholder:"WHERE" help:"snapshot: the state and then changes; now: changes only. Default: snapshot."`
	ResumeToken   string        `name:"resume-token" xor:"start" placeholder:"TOKEN" help:"Go on after the message that carried this token."`
	AfterRevision uint64        `name:"after-revision" xor:"start" placeholder:"N" help:"Go on after this revision."`
	MinRevision   uint64        `name:"min-revision" placeholder:"N" help:"Not from before this revision."`
	MinInterval   time.Duration `name:"min-interval" placeholder:"DURATION" help:"At least so long between two deliveries."`
	Heartbeat     time.Duration `name:"heartbeat" placeholder:"DURATION" help:"At most so long without a message. Default: the server's."`
	OnExpired     string        `name:"on-expired" enum:"reset,fail" default:"reset" help:"What to do where the start is no longer known: begin with the state, or fail. Default: ${default}."`
}

// Run watches until ctx ends or the watch fails for good.
func (c *watchCommand) Run(ctx context.Context, term *terminal) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.conn.Close()
	show := c.showText
	if c.Output == "json" {
		show = c.showJSON
	}
	var held int // resources of the snapshot that is under way
	f := &follower{
		conn:    conn.conn,
		request: request,
		each: func(m *watchroutev1.WatchResponse) error {
			if err := show(ctx, term, conn.types, m); err != nil {
				return err
			}
			held = c.note(term, m, held)
			return nil
		},
		again: func(cause string, wait time.Duration) {
			fmt.Fprintf(term.err, "# %s; connecting again in %s\n", cause, describe(wait))
		},
	}
	err = f.run(ctx)
	if f.token.text != "" {
		fmt.Fprintf(term.err, "# to go on from here, the same with --resume-token %s\n", f.token.text)
	}
	return c.at(err)
}

func (c *watchCommand) request() (*watchroutev1.WatchRequest, error) {
	r := &watchroutev1.WatchRequest{Filter: c.Filter, MinRevision: c.MinRevision, Delta: c.Delta}
	switch {
	case len(c.Targets) == 1 && !strings.Contains(c.Targets[0], "/"):
		r.Parent = c.Targets[0]
	default:
		for _, name := range c.Targets {
			if !strings.Contains(name, "/") {
				return nil, fmt.Errorf("%q: one collection can be watched, or resources of one, such as orders/42", name)
			}
		}
		r.Names = c.Targets
	}
	if len(c.ReadMask) > 0 {
		r.ReadMask = &fieldmaskpb.FieldMask{Paths: c.ReadMask}
	}
	if c.EveryChange {
		r.Delivery = watchroutev1.Delivery_EVERY_CHANGE
	}
	switch {
	case c.ResumeToken != "":
		r.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: c.ResumeToken}
	case c.AfterRevision != 0:
		r.Start = &watchroutev1.WatchRequest_AfterRevision{AfterRevision: c.AfterRevision}
	case c.From == "now":
		r.Start = &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}
	case c.From != "" && c.From != "snapshot":
		return nil, fmt.Errorf("--from: %q is neither snapshot nor now", c.From)
	}
	if c.MinInterval != 0 {
		r.MinInterval = durationpb.New(c.MinInterval)
	}
	if c.Heartbeat != 0 {
		r.Heartbeat = durationpb.New(c.Heartbeat)
	}
	if c.OnExpired == "fail" {
		r.OnExpired = watchroutev1.OnExpired_FAIL
	}
	return r, nil
}

// showText prints events, one a line: revision, cause, name, value.
func (c *watchCommand) showText(ctx context.Context, term *terminal, t *types, m *watchroutev1.WatchResponse) error {
	var lines bytes.Buffer
	for _, e := range m.GetEvents().GetEvents() {
		_, data, err := t.value(ctx, e.GetResource().GetData())
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%-8d %-8s %s", e.GetResource().GetRevision(), e.GetCause(), e.GetResource().GetName())
		if paths := e.GetUpdatedFields().GetPaths(); len(paths) > 0 {
			fmt.Fprintf(&lines, " [%s]", strings.Join(paths, ","))
		}
		if len(data) > 0 {
			fmt.Fprintf(&lines, " %s", data)
		}
		if n := e.GetCoalesced(); n > 0 {
			fmt.Fprintf(&lines, " (and %d before it)", n)
		}
		lines.WriteByte('\n')
	}
	_, err := term.out.Write(lines.Bytes())
	return err
}

// note says on the error output what is not an event. It returns how many
// resources of a snapshot have come so far.
func (c *watchCommand) note(term *terminal, m *watchroutev1.WatchResponse, held int) int {
	say := func(format string, args ...any) { fmt.Fprintf(term.err, "# "+format+"\n", args...) }
	switch body := m.GetBody().(type) {
	case *watchroutev1.WatchResponse_Started:
		switch body.Started.GetMode() {
		case watchroutev1.Started_RESUMED:
			say("resumed after revision %d", m.GetRevision())
		case watchroutev1.Started_NOW:
			say("changes after revision %d", m.GetRevision())
		}
		return 0
	case *watchroutev1.WatchResponse_Reset_:
		say("reset (%s): what was shown before is void, the state follows", body.Reset_.GetReason())
		return 0
	case *watchroutev1.WatchResponse_SnapshotEnd:
		say("that is all at revision %d: %d; changes follow", m.GetRevision(), held)
	}
	return held + len(m.GetEvents().GetEvents())
}

// showJSON prints each message as the HTTP transports show it, one a line.
func (c *watchCommand) showJSON(ctx context.Context, term *terminal, t *types, m *watchroutev1.WatchResponse) error {
	line, err := messageJSON(ctx, t, m)
	if err != nil {
		return err
	}
	_, err = term.out.Write(append(line, '\n'))
	return err
}

func messageJSON(ctx context.Context, t *types, m *watchroutev1.WatchResponse) ([]byte, error) {
	events := m.GetEvents().GetEvents()
	if len(events) == 0 {
		return wire.AppendProtoJSON(nil, m), nil
	}
	line := fmt.Appendf(nil, "{\"revision\":%q", strconv.FormatUint(m.GetRevision(), 10))
	if token := m.GetResumeToken(); token != "" {
		line = fmt.Appendf(line, ",\"resumeToken\":%q", token)
	}
	line = append(line, `,"events":{"events":[`...)
	for i, e := range events {
		if i > 0 {
			line = append(line, ',')
		}
		resource, err := t.resourceJSON(ctx, e.GetResource())
		if err != nil {
			return nil, err
		}
		line = fmt.Appendf(line, `{"state":%q,"cause":%q,"resource":%s`, e.GetState(), e.GetCause(), resource)
		if paths := e.GetUpdatedFields().GetPaths(); len(paths) > 0 {
			if !e.GetResource().GetData().MessageIs((*watchroutev1.Json)(nil)) {
				paths = jsonPaths(paths)
			}
			fields, err := json.Marshal(strings.Join(paths, ","))
			if err != nil {
				return nil, err
			}
			line = fmt.Appendf(line, `,"updatedFields":%s,"baseRevision":%q`, fields, strconv.FormatUint(e.GetBaseRevision(), 10))
		}
		if n := e.GetCoalesced(); n > 0 {
			line = fmt.Appendf(line, `,"coalesced":%d`, n)
		}
		line = append(line, '}')
	}
	return append(line, "]}}"...), nil
}

var underscored = regexp.MustCompile(`_([a-z])`)

// jsonPaths writes the paths of a mask as ProtoJSON does, in lowerCamelCase.
func jsonPaths(paths []string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		out[i] = underscored.ReplaceAllStringFunc(path, func(s string) string { return strings.ToUpper(s[1:]) })
	}
	return out
}
