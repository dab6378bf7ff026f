package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// Limits of requests.
const (
	MaxOperations   = 1000
	MaxRequestID    = 128
	DefaultPageSize = 100
	MaxPageSize     = 1000
)

// Config is what a Service needs. Log, Hub and Schemas must be set.
type Config struct {
	Log     changelog.Log
	Hub     *hub.Hub
	Schemas *schema.Registry
	// Access says who calls and what they may write; it is the Hub's, too. Default:
	// everybody may do everything.
	Access *access.Control
	// AutoCreate lets a collection without a declared schema spring into being on
	// its first write. Default: false.
	AutoCreate bool
	// MaxValueBytes bounds the stored form of one value. Default: 1 MiB.
	MaxValueBytes int
	// MaxSessionWatches bounds the open watches of one session. Default: 1000.
	MaxSessionWatches int
	// Recorder is told of writes. Default: nobody.
	Recorder Recorder
	// Logger gets what must not reach a client. Default: slog.Default().
	Logger *slog.Logger
}

// Recorder is told what a Service does. Its methods must not block.
type Recorder interface {
	// Written gives the outcome of a write, OK or a reason, and how long it took.
	Written(collection, outcome string, took time.Duration)
	// Called gives the gRPC code of a unary call.
	Called(method, code string)
}

// Service implements watchroute.v1.ResourceService.
type Service struct {
	watchroutev1.UnimplementedResourceServiceServer
	cfg Config
}

// New makes a Service. It holds nothing that needs closing.
func New(cfg Config) (*Service, error) {
	if cfg.Log == nil || cfg.Hub == nil || cfg.Schemas == nil {
		return nil, errors.New("server: Log, Hub and Schemas must be set")
	}
	if cfg.MaxValueBytes == 0 {
		cfg.MaxValueBytes = 1 << 20
	}
	if cfg.MaxSessionWatches == 0 {
		cfg.MaxSessionWatches = 1000
	}
	if cfg.Recorder == nil {
		cfg.Recorder = nobody{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Service{cfg: cfg}, nil
}

type nobody struct{}

func (nobody) Written(string, string, time.Duration) {}
func (nobody) Called(string, string)                 {}

// Schemas gives the schemas of the collections.
func (s *Service) Schemas() *schema.Registry { return s.cfg.Schemas }

// Hub gives the hub.
func (s *Service) Hub() *hub.Hub { return s.cfg.Hub }

// MaxValueBytes gives the limit of one value.
func (s *Service) MaxValueBytes() int { return s.cfg.MaxValueBytes }

type jsonTextKey struct{}

// WithJSONText makes the Service return values of collections without a schema as
// watchroute.v1.Json, as they were written, instead of as google.protobuf.Struct.
func WithJSONText(ctx context.Context) context.Context {
	return context.WithValue(ctx, jsonTextKey{}, true)
}

// JSONTextHeader is the gRPC request header by which a client asks, with the value
// `text`, for what WithJSONText gives.
const JSONTextHeader = "watchroute-json"

func wantsJSONText(ctx context.Context) bool {
	if text, _ := ctx.Value(jsonTextKey{}).(bool); text {
		return true
	}
	return slices.Contains(metadata.ValueFromIncomingContext(ctx, JSONTextHeader), "text")
}

func (s *Service) resource(ctx context.Context, v *schema.Value) *watchroutev1.Resource {
	return wire.ToResource(v.Schema().Collection(), v, wantsJSONText(ctx))
}

// tenant gives whose collections a call is about.
func (s *Service) tenant(ctx context.Context) (string, error) {
	if s.cfg.Access == nil {
		return "", nil
	}
	return s.cfg.Access.Tenant(ctx)
}

// scope gives the log's key of a collection, and what the caller may see of it.
func (s *Service) scope(ctx context.Context, collection string, verb hub.Verb, projection string) (key string, _ hub.Scope, _ hub.Grant, err error) {
	tenant, err := s.tenant(ctx)
	if err != nil {
		return "", nil, nil, err
	}
	key = resource.Of(tenant, collection)
	scope, grant, err := s.cfg.Hub.Scope(ctx, hub.Call{Collection: key, Verb: verb, Transport: transportOf(ctx), Projection: projection})
	return key, scope, grant, err
}

// exists says whether a collection, given by its key, can be read. One that may come into
// being with a write is there, and empty: who watches it sees that write.
func (s *Service) exists(key string) bool {
	return s.cfg.AutoCreate && !resource.IsSystem(resource.Shared(key)) || s.cfg.Schemas.Schema(key).Descriptor() != nil || s.cfg.Log.Bounds(key).Head > 0
}

func (s *Service) mustExist(field, key string) error {
	if s.exists(key) {
		return nil
	}
	return s.missing(field, resource.Shared(key))
}

func (s *Service) missing(field, collection string) error {
	return resource.Errorf(resource.CollectionNotFound, "there is no collection %q; declare it with a contract, or write to it with --auto-create", collection).In(field).With("collection", collection)
}

// Get implements ResourceService.Get.
func (s *Service) Get(ctx context.Context, r *watchroutev1.GetRequest) (*watchroutev1.Resource, error) {
	name, err := resource.ParseName("name", r.GetName())
	if err != nil {
		return nil, err
	}
	key, scope, _, err := s.scope(ctx, name.Collection, hub.Get, r.GetProjection())
	if err != nil {
		return nil, err
	}
	if err := s.mustExist("name", key); err != nil {
		return nil, err
	}
	if err := s.cfg.Hub.AwaitRevision(ctx, key, r.GetMinRevision()); err != nil {
		return nil, err
	}
	rec, err := s.cfg.Log.Get(ctx, key, name.ID, 0)
	if err != nil {
		return nil, err
	}
	if rec != nil && !rec.Absent {
		if v := s.cfg.Schemas.Schema(key).Value(rec); scope.Visible(v) {
			return s.resource(ctx, scope.Shape(scope.Shown(v))), nil
		}
	}
	return nil, notFound(name)
}

func notFound(name resource.Name) *resource.Error {
	return resource.Errorf(resource.NotFound, "there is no resource %q", name).In("name").With("name", name.String())
}

// Put implements ResourceService.Put.
func (s *Service) Put(ctx context.Context, r *watchroutev1.PutRequest) (*watchroutev1.WriteResponse, error) {
	op, name, err := s.putOp("resource", r.GetResource())
	if err != nil {
		return nil, err
	}
	if op.If, err = precondition("precondition", r.GetPrecondition()); err != nil {
		return nil, err
	}
	res, err := s.write(ctx, "resource.name", name.Collection, []changelog.Op{op}, r.GetRequestId(), r)
	if err != nil {
		return nil, err
	}
	return s.writeResponse(ctx, name.Collection, &res, 0), nil
}

// Delete implements ResourceService.Delete.
func (s *Service) Delete(ctx context.Context, r *watchroutev1.DeleteRequest) (*watchroutev1.WriteResponse, error) {
	name, err := resource.ParseName("name", r.GetName())
	if err != nil {
		return nil, err
	}
	op := changelog.Op{ID: name.ID, Delete: true}
	if op.If, err = precondition("precondition", r.GetPrecondition()); err != nil {
		return nil, err
	}
	res, err := s.write(ctx, "name", name.Collection, []changelog.Op{op}, r.GetRequestId(), r)
	if err != nil {
		return nil, err
	}
	if !res.Changes[0] && !r.GetAllowMissing() {
		return nil, notFound(name)
	}
	out := s.writeResponse(ctx, name.Collection, &res, 0)
	out.Resource.Name = name.String()
	return out, nil
}

// Write implements ResourceService.Write.
func (s *Service) Write(ctx context.Context, r *watchroutev1.WriteRequest) (*watchroutev1.WriteBatchResponse, error) {
	if err := resource.CheckCollection("parent", r.GetParent()); err != nil {
		return nil, err
	}
	if n := len(r.GetOperations()); n == 0 || n > MaxOperations {
		return nil, resource.Errorf(resource.InvalidField, "%d operations are given, 1 to %d are allowed", n, MaxOperations).In("operations")
	}
	ops := make([]changelog.Op, len(r.GetOperations()))
	seen := make(map[string]int, len(ops))
	for i, in := range r.GetOperations() {
		field := "operations[" + strconv.Itoa(i) + "]"
		op, err := s.operation(field, r.GetParent(), in)
		if err != nil {
			return nil, err
		}
		if j, again := seen[op.ID]; again {
			return nil, resource.Errorf(resource.InvalidField, "%s/%s is written by operation %d already", r.GetParent(), op.ID, j).In(field)
		}
		seen[op.ID], ops[i] = i, op
	}
	res, err := s.write(ctx, "parent", r.GetParent(), ops, r.GetRequestId(), r)
	if err != nil {
		return nil, err
	}
	out := &watchroutev1.WriteBatchResponse{Revision: res.Revision, WriteTime: timestamppb.New(res.Time), Results: make([]*watchroutev1.WriteResponse, len(ops))}
	for i := range ops {
		out.Results[i] = s.writeResponse(ctx, r.GetParent(), &res, i)
		out.Results[i].Resource.Name = r.GetParent() + "/" + ops[i].ID
	}
	return out, nil
}

func (s *Service) operation(field, parent string, in *watchroutev1.Operation) (op changelog.Op, err error) {
	var name resource.Name
	guard := field + ".precondition"
	switch action := in.GetAction().(type) {
	case *watchroutev1.Operation_Put:
		field += ".put"
		op, name, err = s.putOp(field, action.Put)
		field += ".name"
	case *watchroutev1.Operation_Delete:
		field += ".delete"
		name, err = resource.ParseName(field, action.Delete)
		op = changelog.Op{ID: name.ID, Delete: true}
	default:
		err = resource.Errorf(resource.InvalidField, "neither put nor delete is given").In(field)
	}
	if err != nil {
		return op, err
	}
	if name.Collection != parent {
		return op, resource.Errorf(resource.InvalidName, "%s is not in the collection %s; one batch is for one collection", name, parent).In(field)
	}
	op.If, err = precondition(guard, in.GetPrecondition())
	return op, err
}

// putOp checks a resource that is to be written.
func (s *Service) putOp(field string, r *watchroutev1.Resource) (op changelog.Op, name resource.Name, err error) {
	if r == nil {
		return op, name, resource.Errorf(resource.InvalidField, "the resource is missing").In(field)
	}
	if name, err = resource.ParseName(field+".name", r.GetName()); err != nil {
		return op, name, err
	}
	if err = resource.CheckLabels(field+".labels", r.GetLabels()); err != nil {
		return op, name, err
	}
	if n := len(r.GetData().GetValue()); n > 2*s.cfg.MaxValueBytes {
		return op, name, s.tooLarge(field, n)
	}
	op = changelog.Op{ID: name.ID, Labels: r.GetLabels()}
	if op.Type, op.Data, err = s.cfg.Schemas.Schema(name.Collection).Encode(field+".data", name.ID, r.GetData()); err != nil {
		return op, name, err
	}
	if n := len(op.Data); n > s.cfg.MaxValueBytes {
		return op, name, s.tooLarge(field, n)
	}
	return op, name, nil
}

func (s *Service) tooLarge(field string, size int) error {
	return resource.Errorf(resource.TooLarge, "the value has %d bytes, %d are allowed", size, s.cfg.MaxValueBytes).In(field+".data").
		With("limit", strconv.Itoa(s.cfg.MaxValueBytes)).With("size", strconv.Itoa(size))
}

func precondition(field string, p *watchroutev1.Precondition) (out changelog.Precondition, err error) {
	switch c := p.GetCondition().(type) {
	case *watchroutev1.Precondition_MustNotExist:
		out.MustNotExist = c.MustNotExist
	case *watchroutev1.Precondition_Revision:
		if c.Revision == 0 {
			return out, resource.Errorf(resource.InvalidField, "revision 0 is never current; must_not_exist asks for a new resource").In(field + ".revision")
		}
		out.Revision = c.Revision
	case *watchroutev1.Precondition_Etag:
		if c.Etag == "" {
			return out, resource.Errorf(resource.InvalidField, "the etag is empty").In(field + ".etag")
		}
		out.ETag = c.Etag
	}
	return out, nil
}

// write applies checked operations. request is the whole request, which its id
// stands for.
func (s *Service) write(ctx context.Context, field, collection string, ops []changelog.Op, requestID string, request proto.Message) (changelog.Result, error) {
	if len(requestID) > MaxRequestID {
		return changelog.Result{}, resource.Errorf(resource.InvalidField, "the request id has %d characters, %d are allowed", len(requestID), MaxRequestID).In("request_id")
	}
	tenant, err := s.tenant(ctx)
	if err != nil {
		return changelog.Result{}, err
	}
	key := resource.Of(tenant, collection)
	w := changelog.Write{Collection: key, Ops: ops, RequestID: requestID}
	caller := ""
	if a := s.cfg.Access; a != nil {
		if w.Guard, caller, err = a.Guard(ctx, collection, transportOf(ctx)); err != nil {
			return changelog.Result{}, err
		}
		if err := a.Check(ctx, collection, ops); err != nil {
			return changelog.Result{}, err
		}
	}
	if err := s.mustExist(field, key); err != nil {
		return changelog.Result{}, err
	}
	if requestID != "" {
		if err := digest(&w.Digest, request, caller); err != nil {
			return changelog.Result{}, err
		}
	}
	began := time.Now()
	res, err := s.cfg.Log.Write(ctx, w)
	s.cfg.Recorder.Written(key, wire.Reason(err), time.Since(began))
	switch {
	case resource.HasReason(err, resource.PermissionDenied), resource.HasReason(err, resource.CredentialMissing):
		s.cfg.Access.Refused(ctx, collection, transportOf(ctx), err)
	case resource.HasReason(err, resource.RequestIDReused):
		err = resource.AsError(err).In("request_id")
	case resource.HasReason(err, resource.PreconditionFailed):
		err = inPrecondition(resource.AsError(err), collection, ops, request)
	}
	return res, err
}

// inPrecondition names the field of the precondition that does not hold.
func inPrecondition(err *resource.Error, collection string, ops []changelog.Op, request proto.Message) error {
	if _, batch := request.(*watchroutev1.WriteRequest); !batch {
		return err.In("precondition")
	}
	i := slices.IndexFunc(ops, func(op changelog.Op) bool { return err.Metadata["name"] == collection+"/"+op.ID })
	return err.In("operations[" + strconv.Itoa(i) + "].precondition")
}

func digest(dst *[16]byte, request proto.Message, caller string) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return fmt.Errorf("digest of a request: %w", err)
	}
	b = append(append(b, request.ProtoReflect().Descriptor().FullName()...), caller...)
	sum := sha256.Sum256(b)
	copy(dst[:], sum[:])
	return nil
}

func (s *Service) writeResponse(ctx context.Context, collection string, res *changelog.Result, i int) *watchroutev1.WriteResponse {
	out := &watchroutev1.WriteResponse{Revision: res.Revision, Changed: res.Changes[i]}
	switch rec := res.Records[i]; {
	case rec == nil:
		out.Resource = &watchroutev1.Resource{}
	case rec.Absent:
		out.Resource = wire.Tombstone(collection, rec)
	default:
		out.Resource = s.written(ctx, collection, rec)
	}
	return out
}

// written is a resource as its writer may see it: by name alone where that is not at
// all.
func (s *Service) written(ctx context.Context, collection string, rec *changelog.Record) *watchroutev1.Resource {
	_, scope, _, err := s.scope(ctx, collection, hub.Get, "")
	v := s.cfg.Schemas.Schema(collection).Value(rec)
	if err != nil || !scope.Visible(v) {
		return &watchroutev1.Resource{Name: collection + "/" + rec.ID, Revision: rec.Revision}
	}
	return s.resource(ctx, scope.Shown(v))
}
