package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server/contract"
)

// generatedRoute is a route of a generated handler.
type generatedRoute struct {
	method string // full name
	input  protoreflect.MessageType
	body   bool
	taken  map[string]string
	waits  bool
	extra  []string
}

// register makes the mux. The handler that is registered last is asked first, so
// the order is, from what is asked last: the generated handlers, the contracts'
// routes that end in a variable, the watch routes, the contracts' other routes.
// `watch` is no id: /v1/orders/watch is a watch, not the order of that name.
func (g *Gateway) register() error {
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{g.schemas}),
		runtime.WithMiddlewares(g.prepare),
		runtime.WithErrorHandler(g.muxError),
		runtime.WithRoutingErrorHandler(g.routingError),
		runtime.WithWriteContentLength(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	g.probe = runtime.NewServeMux(runtime.WithDisablePathLengthFallback(), runtime.WithDisableHTTPMethodOverride(),
		runtime.WithRoutingErrorHandler(func(context.Context, *runtime.ServeMux, runtime.Marshaler, http.ResponseWriter, *http.Request, int) {}))
	g.generic = map[string]*generatedRoute{}
	if err := watchroutev1.RegisterResourceServiceHandlerServer(context.Background(), g.mux, unary{g: g}); err != nil {
		return err
	}
	var first, last []ownRoute
	if g.cfg.Contracts != nil {
		first, last = g.contractRoutes()
	}
	own := slices.Concat(first, g.genericRoutes(), last)
	for _, r := range own {
		if err := g.mux.HandlePath(r.method, r.path, r.handler); err != nil {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		if err := g.probe.HandlePath(r.method, r.path, found); err != nil {
			return err
		}
	}
	return nil
}

// ownRoute is a route that no generated handler serves.
type ownRoute struct {
	method, path string
	handler      runtime.HandlerFunc
}

// genericRoutes notes the routes of ResourceService that the generated handlers
// serve, and gives those of its watch.
func (g *Gateway) genericRoutes() (watches []ownRoute) {
	methods := watchroutev1.File_watchroute_v1_service_proto.Services().ByName("ResourceService").Methods()
	for i := range methods.Len() {
		md := methods.Get(i)
		rule, _ := proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			continue
		}
		input, err := protoregistry.GlobalTypes.FindMessageByName(md.Input().FullName())
		if err != nil {
			panic("gateway: " + err.Error()) // it is compiled in
		}
		for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			method, path := pathOf(rule)
			taken := takenBy(variables(path), rule.GetBody())
			if md.IsStreamingServer() {
				watches = append(watches, ownRoute{method, path, g.genericWatch(taken)})
				continue
			}
			r := &generatedRoute{method: "/" + string(md.Parent().FullName()) + "/" + string(md.Name()), input: input, body: rule.GetBody() != "", taken: taken}
			if md.Name() == "Get" {
				r.waits, r.extra = true, []string{"wait"}
			}
			g.generic[method+" "+path] = r
			if err := g.probe.HandlePath(method, path, found); err != nil {
				panic("gateway: " + path + ": " + err.Error()) // it compiled when it was generated
			}
		}
	}
	return watches
}

func pathOf(rule *annotations.HttpRule) (method, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	}
	return http.MethodPatch, rule.GetPatch()
}

// variable is a {field} or {field=template} of a path.
var variable = regexp.MustCompile(`\{([^{}=]*)(?:=([^{}]*))?\}`)

func variables(path string) (fields []string) {
	for _, v := range variable.FindAllStringSubmatch(path, -1) {
		fields = append(fields, v[1])
	}
	return fields
}

// takenBy says which fields of a request the path and the body fill.
func takenBy(path []string, body string) map[string]string {
	taken := map[string]string{}
	if body != "" {
		taken[body] = "the body"
	}
	for _, field := range path {
		taken[field] = "the path"
	}
	return taken
}

// contractRoutes gives the contracts' routes, the least specific first, and those
// that end in a variable apart.
func (g *Gateway) contractRoutes() (first, last []ownRoute) {
	var all []ownRoute
	for _, m := range g.cfg.Contracts.Methods {
		for _, r := range m.Routes {
			handler := g.contractUnary(m, r)
			if m.Kind == contract.Watch {
				handler = g.contractWatch(m, r)
			}
			all = append(all, ownRoute{r.Method, r.Path, handler})
		}
	}
	slices.SortStableFunc(all, func(a, b ownRoute) int { return strings.Compare(specificity(a.path), specificity(b.path)) })
	for _, r := range all {
		if s := specificity(r.path); s[len(s)-1] == literalSegment || s[len(s)-1] == verbSegment {
			last = append(last, r)
		} else {
			first = append(first, r)
		}
	}
	return first, last
}

// The kinds of a path's segments, by how specific they are.
const (
	deepSegment = iota + '0'
	anySegment
	literalSegment
	verbSegment
)

// specificity gives a text that is greater the less a path matches beside what
// another path matches.
func specificity(path string) string {
	path = variable.ReplaceAllStringFunc(path, func(v string) string {
		if template := variable.FindStringSubmatch(v)[2]; template != "" {
			return template
		}
		return "*"
	})
	path, _, verb := strings.Cut(path, ":")
	var s []byte
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		switch segment {
		case "**":
			s = append(s, deepSegment)
		case "*":
			s = append(s, anySegment)
		default:
			s = append(s, literalSegment)
		}
	}
	if verb {
		s = append(s, verbSegment)
	}
	return string(s)
}

// contractUnary serves a route of a contract's Get, List, Put or Delete.
func (g *Gateway) contractUnary(m *contract.Method, route contract.Route) runtime.HandlerFunc {
	taken := takenBy(route.Params, route.Body)
	var extra []string
	if m.Kind == contract.Get {
		extra = []string{"wait"}
	}
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		answer, err := func() (proto.Message, error) {
			values, err := query(r)
			if err != nil {
				return nil, err
			}
			c, err := g.newCall(w, r, m.FullName, values, m.Kind == contract.Get)
			if err != nil {
				return nil, err
			}
			in := m.NewInput()
			var put *watchroutev1.Resource
			if route.Body != "" {
				text, err := g.readBody(w, r)
				if err != nil {
					return nil, err
				}
				if put, err = g.fromBody(m, route, in, text); err != nil {
					return nil, err
				}
			}
			req, err := request(m, in, path, values, taken, extra...)
			if err != nil {
				return nil, err
			}
			if p, ok := req.(*watchroutev1.PutRequest); ok && put != nil {
				if put.GetName() != "" && put.GetName() != p.GetResource().GetName() {
					return nil, resource.Errorf(resource.InvalidName, "the body says %q, the path %q", clip(put.GetName()), p.GetResource().GetName()).In("resource.name")
				}
				p.Resource.Labels, p.Resource.Data = put.GetLabels(), put.GetData()
			}
			answer, err := unary{g: g}.call(c.with(r).Context(), req)
			return answer, m.Error(err)
		}()
		if err != nil {
			g.fail(w, r, err)
			return
		}
		g.respond(w, http.StatusOK, appendAnswer(nil, g.schemas, answer))
	}
}

// request fills a contract's request from path and parameters, and gives the
// generic one.
func request(m *contract.Method, in proto.Message, path map[string]string, values url.Values, taken map[string]string, extra ...string) (proto.Message, error) {
	msg := in.ProtoReflect()
	for _, field := range slices.Sorted(maps.Keys(path)) {
		fields, ok := fieldPath(msg.Descriptor(), field)
		if !ok {
			return nil, resource.Errorf(resource.Internal, "internal error").Because(fmt.Errorf("%s has no field %s", msg.Descriptor().FullName(), field))
		}
		if err := setField(msg, fields, []string{path[field]}); err != nil {
			return nil, err
		}
	}
	projection, err := takeProjection(m, msg.Descriptor(), values)
	if err != nil {
		return nil, err
	}
	if err := populate(msg, values, taken, extra...); err != nil {
		return nil, err
	}
	generic, err := m.Request(in)
	switch r := generic.(type) {
	case *watchroutev1.GetRequest:
		r.Projection = projection
	case *watchroutev1.ListRequest:
		r.Projection = projection
	case *watchroutev1.WatchRequest:
		r.Projection = projection
	}
	return generic, err
}

// takeProjection takes the projection out of the parameters of a read: what comes out of
// one is no message of the contract's, so its requests need no field for it.
func takeProjection(m *contract.Method, in protoreflect.MessageDescriptor, values url.Values) (string, error) {
	reads := m.Kind == contract.Get || m.Kind == contract.List || m.Kind == contract.Watch
	asked := values[projectionName]
	if !reads || len(asked) == 0 || in.Fields().ByName(projectionName) != nil {
		return "", nil
	}
	delete(values, projectionName)
	if len(asked) > 1 {
		return "", invalidField(projectionName, "it is given %d times", len(asked))
	}
	return asked[0], nil
}

// fromBody reads the body of a contract's route into its request. What is to be put
// comes back apart, with its data as it was written: the schema checks it, and says
// better what is wrong.
func (g *Gateway) fromBody(m *contract.Method, route contract.Route, in proto.Message, text []byte) (*watchroutev1.Resource, error) {
	msg := in.ProtoReflect()
	options := protojson.UnmarshalOptions{Resolver: g.cfg.Contracts.Resolver()}
	holder := valueField(m)
	switch {
	case holder != nil && route.Body == string(holder.Name()):
		return g.readPut(m, holder, msg, text)
	case route.Body != "*":
		if err := checkJSON("body", text); err != nil {
			return nil, err
		}
		fd := msg.Descriptor().Fields().ByName(protoreflect.Name(route.Body))
		return nil, inField(route.Body, options.Unmarshal(text, msg.Mutable(fd).Message().Interface()))
	}
	// All of the request, what is put among it.
	var value json.RawMessage
	rest := map[string]json.RawMessage{}
	if err := members("", text, func(key string, raw json.RawMessage) error {
		if holder != nil && (key == string(holder.Name()) || key == holder.JSONName()) {
			value = raw
		} else {
			rest[key] = raw
		}
		return nil
	}); err != nil {
		return nil, err
	}
	others, err := json.Marshal(rest)
	if err != nil {
		return nil, invalidField("body", "%s", err)
	}
	if err := inField("", options.Unmarshal(others, in)); err != nil {
		return nil, err
	}
	if value == nil {
		return nil, nil
	}
	return g.readPut(m, holder, msg, value)
}

// valueField gives the field of a Put's request that holds what is put: a resource,
// or the value alone.
func valueField(m *contract.Method) protoreflect.FieldDescriptor {
	if m.Kind != contract.Put {
		return nil
	}
	for i := range m.Input.Fields().Len() {
		if fd := m.Input.Fields().Get(i); fd.Name() == "resource" || isValue(m, fd) {
			return fd
		}
	}
	return nil
}

func isValue(m *contract.Method, fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && string(fd.Message().FullName()) == m.Schema.Type()
}

func (g *Gateway) readPut(m *contract.Method, holder protoreflect.FieldDescriptor, msg protoreflect.Message, text []byte) (*watchroutev1.Resource, error) {
	held := msg.Mutable(holder).Message()
	if isValue(m, holder) {
		if err := checkJSON(string(holder.Name()), text); err != nil {
			return nil, err
		}
		g.ownID(m, held, text)
		return &watchroutev1.Resource{Data: wire.JSONText(text)}, nil
	}
	put, err := readResource(g.schemas, string(holder.Name()), text, m.Collection+"/")
	if err != nil {
		return nil, err
	}
	if name := held.Descriptor().Fields().ByName("name"); name != nil && put.GetName() != "" {
		held.Set(name, protoreflect.ValueOfString(put.GetName()))
	}
	if data := held.Descriptor().Fields().ByName("data"); data != nil && isValue(m, data) {
		var raw watchroutev1.Json
		if err := put.GetData().UnmarshalTo(&raw); err == nil {
			g.ownID(m, held.Mutable(data).Message(), []byte(raw.GetText()))
		}
	}
	return put, nil
}

// ownID puts the id that a value says into the typed request: the value may be all
// that says it.
func (g *Gateway) ownID(m *contract.Method, value protoreflect.Message, text []byte) {
	fd := m.Schema.IDField()
	if fd == nil {
		return
	}
	var said map[string]json.RawMessage
	if json.Unmarshal(text, &said) != nil {
		return
	}
	for _, key := range []string{fd.JSONName(), string(fd.Name())} {
		var id string
		if raw, ok := said[key]; ok && json.Unmarshal(raw, &id) == nil {
			value.Set(fd, protoreflect.ValueOfString(id))
			return
		}
	}
}

type foundKey struct{}

// found is the handler of all routes of the probe.
func found(_ http.ResponseWriter, r *http.Request, _ map[string]string) {
	*r.Context().Value(foundKey{}).(*bool) = true
}

// allowed lists the methods that a path takes.
func (g *Gateway) allowed(r *http.Request) string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		yes := false
		again := r.WithContext(context.WithValue(r.Context(), foundKey{}, &yes))
		again.Method = method
		g.probe.ServeHTTP(nil, again)
		if yes {
			if methods = append(methods, method); method == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
		}
	}
	return strings.Join(append(methods, http.MethodOptions), ", ")
}
