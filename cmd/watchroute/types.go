package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// types finds the message types of values: compiled in, or asked of the server by
// reflection, each once.
type types struct {
	conn *grpc.ClientConn

	mu    sync.Mutex
	asked map[protoreflect.FullName]protoreflect.MessageType
}

func newTypes(conn *grpc.ClientConn) *types {
	return &types{conn: conn, asked: map[protoreflect.FullName]protoreflect.MessageType{}}
}

// value gives the plain JSON of a value and, where it has one, the name of its
// type. A value whose type cannot be found is shown as an object with its bytes.
func (t *types) value(ctx context.Context, data *anypb.Any) (typ string, text []byte, err error) {
	if data == nil {
		return "", nil, nil
	}
	name := protoreflect.FullName(data.GetTypeUrl()[strings.LastIndexByte(data.GetTypeUrl(), '/')+1:])
	mt, err := t.find(ctx, name)
	if err != nil {
		return "", nil, err
	}
	m := mt.New().Interface()
	if err := proto.Unmarshal(data.GetValue(), m); err != nil {
		return "", nil, fmt.Errorf("a value of type %s cannot be read: %w", name, err)
	}
	if plain, ok := m.(*watchroutev1.Json); ok {
		return "", []byte(plain.GetText()), nil
	}
	text, err = protojson.MarshalOptions{Resolver: resolver{t, ctx}}.Marshal(m)
	if err != nil {
		return "", nil, fmt.Errorf("a value of type %s has no JSON: %w", name, err)
	}
	var compact bytes.Buffer // protojson puts spaces in at random
	if err := json.Compact(&compact, text); err != nil {
		return "", nil, err
	}
	typ = string(name)
	if typ == "google.protobuf.Struct" {
		typ = ""
	}
	return typ, compact.Bytes(), nil
}

func (t *types) find(ctx context.Context, name protoreflect.FullName) (protoreflect.MessageType, error) {
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(name); err == nil {
		return mt, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if mt := t.asked[name]; mt != nil {
		return mt, nil
	}
	files, err := t.reflect(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("the server does not tell what %s is: %w", name, err)
	}
	d, err := files.FindDescriptorByName(name)
	if err != nil {
		return nil, err
	}
	md, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is not a message", name)
	}
	mt := dynamicpb.NewMessageType(md)
	t.asked[name] = mt
	return mt, nil
}

// reflect asks the server for the file of a symbol and for those that it imports.
func (t *types) reflect(ctx context.Context, symbol protoreflect.FullName) (*protoregistry.Files, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(t.conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	have := map[string]bool{}
	ask := func(r *reflectionpb.ServerReflectionRequest) error {
		if err := stream.Send(r); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if e := answer.GetErrorResponse(); e != nil {
			return fmt.Errorf("%s", e.GetErrorMessage())
		}
		for _, raw := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(raw, file); err != nil {
				return err
			}
			if !have[file.GetName()] {
				have[file.GetName()] = true
				set.File = append(set.File, file)
			}
		}
		return nil
	}
	err = ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: string(symbol)}})
	// Most servers send the imports along; the list grows while it is walked.
	for i := 0; err == nil && i < len(set.File); i++ {
		for _, name := range set.File[i].GetDependency() {
			if err != nil || have[name] {
				continue
			}
			err = ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: name}})
		}
	}
	if err != nil {
		return nil, err
	}
	return protodesc.NewFiles(set)
}

// resolver finds what stands in a google.protobuf.Any within a value.
type resolver struct {
	types *types
	ctx   context.Context
}

func (r resolver) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	return r.types.find(r.ctx, name)
}

func (r resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return r.types.find(r.ctx, protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

func (r resolver) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return protoregistry.GlobalTypes.FindExtensionByName(name)
}

func (r resolver) FindExtensionByNumber(message protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return protoregistry.GlobalTypes.FindExtensionByNumber(message, n)
}
