package contract

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Route is a way to call a method over HTTP.
type Route struct {
	// Method is the HTTP method.
	Method string
	// Path is the template, such as /v1/orders/{order_id}, for runtime.ServeMux's
	// HandlePath.
	Path string
	// Params are the request's fields that the path holds, dotted.
	Params []string
	// Body is the request's field that the body holds, `*` for the request itself,
	// empty for none.
	Body string
}

// routes reads the google.api.http annotation of a method.
func routes(m *Method) ([]Route, error) {
	rule := httpRule(m.desc)
	if rule == nil {
		return nil, nil
	}
	var out []Route
	for i, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		route, err := m.route(r)
		if err == nil && i > 0 && len(r.GetAdditionalBindings()) > 0 {
			err = fmt.Errorf("additional_bindings are nested")
		}
		if err != nil {
			return nil, fmt.Errorf("google.api.http: %w", err)
		}
		out = append(out, route)
	}
	return out, nil
}

// httpRule gives the annotation, however the descriptor was made.
func httpRule(md protoreflect.MethodDescriptor) *annotations.HttpRule {
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(md.Options())
	if err != nil || len(raw) == 0 {
		return nil
	}
	var opts descriptorpb.MethodOptions
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(raw, &opts); err != nil || !proto.HasExtension(&opts, annotations.E_Http) {
		return nil
	}
	return proto.GetExtension(&opts, annotations.E_Http).(*annotations.HttpRule)
}

func (m *Method) route(rule *annotations.HttpRule) (Route, error) {
	r := Route{Body: rule.GetBody()}
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.Method, r.Path = http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		r.Method, r.Path = http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		r.Method, r.Path = http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		r.Method, r.Path = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		r.Method, r.Path = http.MethodPatch, p.Patch
	default:
		return r, fmt.Errorf("it has no get, put, post, delete or patch")
	}
	switch {
	case m.Kind == Watch && r.Method != http.MethodGet:
		return r, fmt.Errorf("%s %s: a watch must be a GET", r.Method, r.Path)
	case r.Body != "" && (r.Method == http.MethodGet || r.Method == http.MethodDelete):
		return r, fmt.Errorf("%s %s: it has no body", r.Method, r.Path)
	case rule.GetResponseBody() != "":
		return r, fmt.Errorf("%s %s: response_body is not supported", r.Method, r.Path)
	}
	if !strings.HasPrefix(r.Path, "/") {
		return r, fmt.Errorf("the path %q does not begin with a slash", r.Path)
	}
	if err := runtime.NewServeMux().HandlePath(r.Method, r.Path, func(http.ResponseWriter, *http.Request, map[string]string) {}); err != nil {
		return r, fmt.Errorf("the path %q: %s", r.Path, err)
	}
	for _, v := range variable.FindAllStringSubmatch(r.Path, -1) {
		if err := m.checkParam(v[1]); err != nil {
			return r, fmt.Errorf("the path %q: %w", r.Path, err)
		}
		r.Params = append(r.Params, v[1])
	}
	if r.Body != "" && r.Body != "*" {
		fd := m.Input.Fields().ByName(protoreflect.Name(r.Body))
		if fd == nil {
			return r, fmt.Errorf("the body %q is not a field of %s", r.Body, m.Input.FullName())
		}
		if fd.Message() == nil || fd.IsList() || fd.IsMap() {
			return r, fmt.Errorf("the body %q has type %s, expected a message", r.Body, typeOf(fd))
		}
	}
	return r, nil
}

// variable is a {field} or {field=template} of a path; a template has no braces.
var variable = regexp.MustCompile(`\{([^{}=]*)(?:=([^{}]*))?\}`)

// checkParam says whether a path can fill a field of the request.
func (m *Method) checkParam(path string) error {
	md := m.Input
	names := strings.Split(path, ".")
	for i, name := range names {
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			return fmt.Errorf("%s has no field %q", md.FullName(), name)
		}
		last := i == len(names)-1
		if last && (fd.IsMap() || fd.Message() != nil && !strings.HasPrefix(string(fd.Message().FullName()), "google.protobuf.")) {
			return fmt.Errorf("%q has type %s, which no path can hold", path, typeOf(fd))
		}
		if !last {
			if fd.Message() == nil || fd.Cardinality() == protoreflect.Repeated {
				return fmt.Errorf("%q goes on behind a %s", path, typeOf(fd))
			}
			md = fd.Message()
		}
	}
	return nil
}

// checkRoutes finds paths that two methods want.
func (b *binder) checkRoutes() {
	taken := map[string]*Method{}
	for _, m := range b.set.Methods {
		for _, r := range m.Routes {
			key := r.Method + " " + variable.ReplaceAllStringFunc(r.Path, func(v string) string {
				if template := variable.FindStringSubmatch(v)[2]; template != "" {
					return template
				}
				return "*"
			})
			if other := taken[key]; other != nil {
				b.problem(m.desc, "google.api.http: %s %s is the path of %s too", r.Method, r.Path, other.desc.FullName())
				continue
			}
			taken[key] = m
		}
	}
}
