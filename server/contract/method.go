package contract

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/schema"
)

// Kind is what a method does.
type Kind int

// The kinds. A method's name begins with its kind.
const (
	Get Kind = iota + 1
	List
	Watch
	Put
	Delete
)

// String gives the name of the kind.
func (k Kind) String() string {
	if k < Get || k > Delete {
		return "none"
	}
	return shapes[k].name
}

// shape is what a kind's methods must look like.
type shape struct {
	name     string
	request  protoreflect.MessageDescriptor
	response protoreflect.MessageDescriptor
	make     func() proto.Message // the generic request
}

func shapeOf(name string, request, response proto.Message) shape {
	mt := request.ProtoReflect().Type()
	return shape{name, mt.Descriptor(), response.ProtoReflect().Descriptor(), func() proto.Message { return mt.New().Interface() }}
}

var shapes = map[Kind]shape{
	Get:    shapeOf("Get", (*watchroutev1.GetRequest)(nil), (*watchroutev1.Resource)(nil)),
	List:   shapeOf("List", (*watchroutev1.ListRequest)(nil), (*watchroutev1.ListResponse)(nil)),
	Watch:  shapeOf("Watch", (*watchroutev1.WatchRequest)(nil), (*watchroutev1.WatchResponse)(nil)),
	Put:    shapeOf("Put", (*watchroutev1.PutRequest)(nil), (*watchroutev1.WriteResponse)(nil)),
	Delete: shapeOf("Delete", (*watchroutev1.DeleteRequest)(nil), (*watchroutev1.WriteResponse)(nil)),
}

// Method is a bound method.
type Method struct {
	// FullName is /shop.v1.OrderService/GetOrder.
	FullName string
	Kind     Kind
	// One says that the request names one resource: always for Get, Put and Delete,
	// never for List.
	One bool
	// Collection is the one that it is about.
	Collection string
	// Schema is the collection's.
	Schema *schema.Schema
	// Input and Output are the request and the response, or one message of it.
	Input, Output protoreflect.MessageDescriptor
	// Typed says that Output is a mirror of the generic response; otherwise it is
	// that itself.
	Typed bool
	// Routes are those of google.api.http, the main one first; there may be none.
	Routes []Route

	desc    protoreflect.MethodDescriptor
	input   protoreflect.MessageType
	output  protoreflect.MessageType
	request binding
}

// binding says which field of a typed request is what. Any may be nil.
type binding struct {
	id       protoreflect.FieldDescriptor // the id alone
	name     protoreflect.FieldDescriptor // COLLECTION/ID
	parent   protoreflect.FieldDescriptor // the collection
	resource protoreflect.FieldDescriptor // of Put: Resource or a mirror of it
	value    protoreflect.FieldDescriptor // of Put: the message itself
	others   []pair
}

// pair is a field of a typed request and the one of the generic request.
type pair struct{ typed, generic protoreflect.FieldDescriptor }

// Descriptor gives the method's descriptor.
func (m *Method) Descriptor() protoreflect.MethodDescriptor { return m.desc }

// NewInput makes an empty request.
func (m *Method) NewInput() *dynamicpb.Message { return dynamicpb.NewMessage(m.Input) }

// NewOutput makes an empty response, or message of a response.
func (m *Method) NewOutput() *dynamicpb.Message { return dynamicpb.NewMessage(m.Output) }
