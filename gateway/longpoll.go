package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
)

const (
	jsonType = "application/json"
	longPoll = "long-poll"
)

// poll is one long-poll: {"responses":[...],"resumeToken":"..."}, whose responses
// are those of a watch from its `started` up to the first token after something to
// say, or up to a bookmark when the time is over.
type poll struct {
	out   *outlet
	began bool   // something was sent
	buf   []byte // what was not
	token string // of the last response that had one
	open  bool   // the last response had none: the watch cannot be cut there
	said  bool   // there was something to say
}

// serveLongPoll answers a long-poll.
func (g *Gateway) serveLongPoll(w http.ResponseWriter, r *http.Request, c *watchCall) {
	ctx := server.WithTransport(r.Context(), longPoll)
	watch, err := g.service.OpenWatch(ctx, hub.Request{Watch: c.request, Codec: wire.JSON, Transport: longPoll})
	if err != nil {
		g.fail(w, r, c.rename(err))
		return
	}
	p := &poll{out: g.outlet(w)}
	err = p.run(ctx, watch, time.Now().Add(c.wait))
	watch.Close(err)
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case err == nil:
	case !endsWithClosed(ctx, err):
		return
	case !p.began:
		g.fail(w, r, c.rename(err))
		return
	default:
		p.add(watch.Closing(c.rename(err)).Bytes)
	}
	p.buf = append(appendText(append(p.buf, ']'), "resumeToken", p.token), "}\n"...)
	if !p.began {
		g.respond(w, http.StatusOK, p.buf)
		return
	}
	_ = p.out.write(p.buf) // whoever left does not read it
}

// run takes from the watch what the answer is to hold.
func (p *poll) run(ctx context.Context, watch *hub.Watch, until time.Time) error {
	waiting, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	var frames []hub.Frame
	for over := false; ; {
		var next error
		frames, next = watch.Next(frames[:0], hub.Unlimited)
		if err := p.take(frames); err != nil {
			return err
		}
		more := len(frames) > 0
		clear(frames)
		switch {
		case errors.Is(next, hub.ErrDrained):
			return nil
		case next != nil:
			return next
		case p.said && !p.open:
			return nil
		case more:
			continue
		case over && !p.open:
			return p.bookmark(watch.Cursor())
		case over:
			waiting = ctx
		}
		if watch.Wait(waiting) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			over = true // and one look more
		}
	}
}

// take adds frames to the answer. Bookmarks that only say that the watch is alive
// are left out: the answer is not sent before its end.
func (p *poll) take(frames []hub.Frame) error {
	for i := range frames {
		f := &frames[i]
		if f.Kind == hub.Bookmark && !p.open {
			continue
		}
		p.add(f.Bytes)
		p.said = p.said || f.Kind != hub.Started
		if p.open = !f.Token; f.Token {
			p.token = tokenOf(f.Bytes)
		}
	}
	const most = 256 << 10
	if len(p.buf) < most {
		return nil
	}
	if !p.began {
		if err := p.out.open(jsonType); err != nil {
			return err
		}
		p.began = true
	}
	err := p.out.write(p.buf)
	p.buf = p.buf[:0]
	return err
}

func (p *poll) add(response []byte) {
	if len(p.buf) == 0 && !p.began {
		p.buf = append(p.buf, `{"responses":[`...)
	} else {
		p.buf = append(p.buf, ',')
	}
	p.buf = append(p.buf, response...)
}

// bookmark says where the watch stands: at its first token or, if nothing of what
// came since concerned it, further on.
func (p *poll) bookmark(revision uint64) error {
	token, err := resource.ParseToken("resume_token", p.token)
	if err != nil {
		return err
	}
	token.Revision = max(token.Revision, revision)
	p.token = token.String()
	p.add(wire.JSON.Append(nil, &hub.Message{Kind: hub.Bookmark, Revision: token.Revision, Token: p.token}))
	return nil
}

// tokenOf finds the token of a response that has one: it stands before the body,
// and needs no escapes.
func tokenOf(response []byte) string {
	_, after, _ := bytes.Cut(response, []byte(`"resumeToken":"`))
	token, _, _ := bytes.Cut(after, []byte{'"'})
	return string(token)
}

// get answers Get, and waits as long as it is asked to until there is a state that
// If-None-Match does not name.
func (g *Gateway) get(ctx context.Context, c *call, r *watchroutev1.GetRequest) (*watchroutev1.Resource, error) {
	if !c.waits {
		return g.service.Get(ctx, r)
	}
	// First the watch, then the state: no change falls between them.
	req := &watchroutev1.WatchRequest{Names: []string{r.GetName()}, MinRevision: r.GetMinRevision(),
		Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}}
	watch, err := g.service.OpenWatch(ctx, hub.Request{Watch: req, Codec: silent{}, Transport: longPoll})
	if err != nil {
		if e := resource.AsError(err); e.Metadata["field"] == "names[0]" {
			err = e.In("name")
		}
		return nil, err
	}
	defer func() { watch.Close(nil) }()
	waiting, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	for changed := true; ; {
		if changed {
			res, err := g.service.Get(ctx, r)
			missing := resource.HasReason(err, resource.NotFound)
			same := err == nil && c.ifNoneMatch.match(res.GetEtag()) || missing && c.ifNoneMatch.empty()
			if !same || waiting.Err() != nil {
				return res, err
			}
		}
		frames, err := watch.Next(nil, hub.Unlimited)
		if err != nil && !errors.Is(err, hub.ErrDrained) {
			return nil, err
		}
		changed = false
		for i := range frames {
			changed = changed || frames[i].Kind == hub.Events
		}
		if len(frames) > 0 && err == nil {
			continue
		}
		if err != nil || watch.Wait(waiting) != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return g.service.Get(ctx, r)
		}
	}
}

// silent is the codec of who only wants to be woken.
type silent struct{}

// Name implements hub.Codec.
func (silent) Name() string { return "silent" }

// Joins implements hub.Codec.
func (silent) Joins() bool { return true }

// Append implements hub.Codec.
func (silent) Append(dst []byte, _ *hub.Message) []byte { return dst }
