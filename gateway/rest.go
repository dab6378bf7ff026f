package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
)

const revisionHeader = "Watchroute-Revision"

// call is what HTTP adds to a unary request.
type call struct {
	method               string      // for metrics
	header               http.Header // of the answer
	ifMatch, ifNoneMatch etags
	wait                 time.Duration
	waits                bool
	path                 string // the name or the collection that the path gives
	err                  error  // what is wrong with the body
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// body is the body of a request, read.
type body struct {
	bytes.Reader
	text []byte
	call *call
}

// Close implements io.Closer.
func (*body) Close() error { return nil }

// newCall reads the headers, and those parameters that are not the request's.
func (g *Gateway) newCall(w http.ResponseWriter, r *http.Request, method string, values url.Values, canWait bool) (*call, error) {
	c := &call{method: method, header: w.Header()}
	var err error
	if c.ifMatch, err = parseETags(r.Header, "If-Match"); err != nil {
		return nil, err
	}
	if c.ifNoneMatch, err = parseETags(r.Header, "If-None-Match"); err != nil {
		return nil, err
	}
	if canWait {
		c.wait, c.waits, err = takeWait(values, g.cfg.MaxWait)
	}
	return c, err
}

// with gives the request with the context in which the service is called.
func (c *call) with(r *http.Request) *http.Request {
	ctx := context.WithValue(r.Context(), callKey{}, c)
	return r.WithContext(server.WithTransport(server.WithJSONText(ctx), "rest"))
}

// readBody reads a request's body, within its limits.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if caller := access.From(r.Context()); caller != nil {
		done, err := g.cfg.Access.Receive(r.Context(), caller, server.HeaderSize(r.Header))
		if err != nil {
			return nil, err
		}
		defer done()
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(g.cfg.MaxRequestBytes)))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		limit := strconv.FormatInt(large.Limit, 10)
		e := resource.Errorf(resource.TooLarge, "the request has more than the %s bytes that are allowed", limit).In("body").With("limit", limit)
		if r.ContentLength > 0 {
			e = e.With("size", strconv.FormatInt(r.ContentLength, 10))
		}
		return nil, e
	case err != nil:
		return nil, resource.Errorf(resource.InvalidField, "the body did not arrive").In("body").Because(err)
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	return text, nil
}

// prepare runs before a generated handler: it checks what the handler would let
// pass, and reads the body.
func (g *Gateway) prepare(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		pattern, _ := runtime.HTTPPattern(r.Context())
		route := g.generic[r.Method+" "+pattern.String()]
		if route == nil { // one of our own
			next(w, r, path)
			return
		}
		prepared, err := g.prepared(w, r, route, path)
		if err != nil {
			g.fail(w, r, err)
			return
		}
		out := &answer{outlet: g.outlet(w)}
		next(out, prepared, path)
	}
}

func (g *Gateway) prepared(w http.ResponseWriter, r *http.Request, route *generatedRoute, path map[string]string) (*http.Request, error) {
	values, err := query(r)
	if err != nil {
		return nil, err
	}
	c, err := g.newCall(w, r, route.method, values, route.waits)
	if err != nil {
		return nil, err
	}
	if err := populate(route.input.New(), values, route.taken, route.extra...); err != nil {
		return nil, err
	}
	for _, value := range path { // there is one
		c.path = value
	}
	b := &body{call: c}
	if route.body {
		if b.text, err = g.readBody(w, r); err != nil {
			return nil, err
		}
		b.Reset(b.text)
	}
	r = c.with(r)
	r.Form, r.PostForm, r.Body = values, url.Values{}, b
	return r, nil
}

// unary calls the service as HTTP has it, for the generated handlers and for those
// of contracts.
type unary struct {
	watchroutev1.UnimplementedResourceServiceServer
	g *Gateway
}

// Get implements ResourceServiceServer.
func (u unary) Get(ctx context.Context, r *watchroutev1.GetRequest) (*watchroutev1.Resource, error) {
	c := callOf(ctx)
	res, err := u.g.get(ctx, c, r)
	u.called(c, err)
	if err != nil {
		return nil, err
	}
	c.header.Set("Cache-Control", "no-cache")
	c.state(res, res.GetRevision())
	if c.ifNoneMatch.match(res.GetEtag()) {
		return nil, errNotModified
	}
	return res, nil
}

// List implements ResourceServiceServer.
func (u unary) List(ctx context.Context, r *watchroutev1.ListRequest) (*watchroutev1.ListResponse, error) {
	c := callOf(ctx)
	list, err := u.g.service.List(ctx, r)
	u.called(c, err)
	if err == nil {
		c.header.Set("Cache-Control", "no-cache")
		c.state(nil, list.GetRevision())
	}
	return list, err
}

// Put implements ResourceServiceServer.
func (u unary) Put(ctx context.Context, r *watchroutev1.PutRequest) (res *watchroutev1.WriteResponse, err error) {
	c := callOf(ctx)
	if r.Precondition, err = c.precondition(r.GetPrecondition()); err == nil {
		res, err = u.g.service.Put(ctx, r)
	}
	u.called(c, err)
	if err == nil {
		c.state(res.GetResource(), res.GetRevision())
	}
	return res, err
}

// Delete implements ResourceServiceServer.
func (u unary) Delete(ctx context.Context, r *watchroutev1.DeleteRequest) (res *watchroutev1.WriteResponse, err error) {
	c := callOf(ctx)
	if r.Precondition, err = c.precondition(r.GetPrecondition()); err == nil {
		res, err = u.g.service.Delete(ctx, r)
	}
	u.called(c, err)
	if err == nil {
		c.state(nil, res.GetRevision())
	}
	return res, err
}

// Write implements ResourceServiceServer.
func (u unary) Write(ctx context.Context, r *watchroutev1.WriteRequest) (res *watchroutev1.WriteBatchResponse, err error) {
	c := callOf(ctx)
	if err = c.noConditions(); err == nil {
		res, err = u.g.service.Write(ctx, r)
	}
	u.called(c, err)
	if err == nil {
		c.state(nil, res.GetRevision())
	}
	return res, err
}

// call runs a request of any of the five kinds.
func (u unary) call(ctx context.Context, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *watchroutev1.GetRequest:
		return u.Get(ctx, r)
	case *watchroutev1.ListRequest:
		return u.List(ctx, r)
	case *watchroutev1.PutRequest:
		return u.Put(ctx, r)
	case *watchroutev1.DeleteRequest:
		return u.Delete(ctx, r)
	}
	return nil, resource.Errorf(resource.Unsupported, "there is no such method")
}

func (u unary) called(c *call, err error) {
	u.g.cfg.Recorder.Called(c.method, wire.Status(err).Code().String())
}

// state puts into the answer's header where it stands.
func (c *call) state(r *watchroutev1.Resource, revision uint64) {
	c.header.Set(revisionHeader, strconv.FormatUint(revision, 10))
	if etag := r.GetEtag(); etag != "" {
		c.header.Set("ETag", strconv.Quote(etag))
	}
}

// answer is the ResponseWriter of the generated handlers: its one write has a
// deadline.
type answer struct{ *outlet }

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) { a.w.WriteHeader(code) }

// Write implements http.ResponseWriter. A client that has left is no error: the
// caller would log it.
func (a *answer) Write(b []byte) (int, error) {
	_ = a.write(b)
	return len(b), nil
}

// Unwrap lets http.ResponseController through.
func (a *answer) Unwrap() http.ResponseWriter { return a.w }
