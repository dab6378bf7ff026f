package schema

import (
	"fmt"
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Auth is who asks, as rules see it: auth.sub, auth.tenant, auth.method (how the
// caller proved it), auth.roles, auth.scopes, auth.claims, auth.operator.
type Auth struct {
	Subject, Tenant, Method string
	Roles, Scopes           []string
	Claims                  map[string]any // as JSON: bool, string, numbers, []any, map[string]any, nil
	Operator                bool
}

// Request is a write as rules see it: request.verb, request.transport,
// request.address, request.time.
type Request struct {
	Verb, Transport, Address string
	Time                     time.Time
}

const (
	authType    = "watchroute.access.Auth"
	requestType = "watchroute.access.Request"
)

var authFields = map[string]*types.FieldType{
	"sub":      fieldOf(types.StringType, func(a *Auth) any { return a.Subject }),
	"tenant":   fieldOf(types.StringType, func(a *Auth) any { return a.Tenant }),
	"method":   fieldOf(types.StringType, func(a *Auth) any { return a.Method }),
	"roles":    fieldOf(types.NewListType(types.StringType), func(a *Auth) any { return a.Roles }),
	"scopes":   fieldOf(types.NewListType(types.StringType), func(a *Auth) any { return a.Scopes }),
	"claims":   fieldOf(types.NewMapType(types.StringType, types.DynType), func(a *Auth) any { return a.Claims }),
	"operator": fieldOf(types.BoolType, func(a *Auth) any { return a.Operator }),
}

var requestFields = map[string]*types.FieldType{
	"verb":      fieldOf(types.StringType, func(r *Request) any { return r.Verb }),
	"transport": fieldOf(types.StringType, func(r *Request) any { return r.Transport }),
	"address":   fieldOf(types.StringType, func(r *Request) any { return r.Address }),
	"time":      fieldOf(types.TimestampType, func(r *Request) any { return r.Time }),
}

// fieldOf gives a field, which counts as set as one of a proto3 message does.
func fieldOf[T any](typ *types.Type, get func(*T) any) *types.FieldType {
	return &types.FieldType{
		Type: typ,
		IsSet: func(obj any) bool {
			t, ok := obj.(*T)
			if !ok {
				return false
			}
			v := reflect.ValueOf(get(t))
			if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
				return v.Len() > 0
			}
			return !v.IsZero()
		},
		GetFrom: func(obj any) (any, error) {
			t, ok := obj.(*T)
			if !ok {
				return nil, fmt.Errorf("no such field")
			}
			return get(t), nil
		},
	}
}

// ruleTypes adds the types of auth and request to those that filters know.
type ruleTypes struct{ types.Provider }

func fieldsOf(name string) map[string]*types.FieldType {
	switch name {
	case authType:
		return authFields
	case requestType:
		return requestFields
	}
	return nil
}

// FindStructType implements types.Provider.
func (t ruleTypes) FindStructType(name string) (*types.Type, bool) {
	if fieldsOf(name) != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return t.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (t ruleTypes) FindStructFieldNames(name string) ([]string, bool) {
	if fields := fieldsOf(name); fields != nil {
		names := make([]string, 0, len(fields))
		for field := range fields {
			names = append(names, field)
		}
		return names, true
	}
	return t.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (t ruleTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields := fieldsOf(name); fields != nil {
		ft, ok := fields[field]
		return ft, ok
	}
	return t.Provider.FindStructFieldType(name, field)
}

// ruleEnvironment is that of filters and the variables of rules. `old` is null where
// there was nothing: CEL compares a message with null, but no map, so without a
// schema its type is found out at evaluation.
func ruleEnvironment(base *cel.Env, desc protoreflect.MessageDescriptor, writes bool) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.CustomTypeProvider(ruleTypes{base.CELTypeProvider()}),
		cel.Variable("auth", cel.ObjectType(authType)),
	}
	if writes {
		old := cel.DynType
		if desc != nil {
			old = cel.ObjectType(string(desc.FullName()))
		}
		options = append(options, cel.Variable("old", old), cel.Variable("request", cel.ObjectType(requestType)))
	}
	return base.Extend(options...)
}
