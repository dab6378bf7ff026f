package schema

import (
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Types finds the types of some files, and then those compiled in: what protojson,
// anypb and gRPC's reflection ask for. A type that is compiled in with the very
// same descriptor is its generated Go type, which is several times as fast as a
// dynamic one.
type Types struct {
	files      *protoregistry.Files
	messages   sync.Map // protoreflect.FullName -> protoreflect.MessageType
	extensions *protoregistry.Types
}

// NewTypes makes types of files, which must not change any more; nil stands for
// none.
func NewTypes(files *protoregistry.Files) *Types {
	if files == nil {
		files = new(protoregistry.Files)
	}
	t := &Types{files: files, extensions: new(protoregistry.Types)}
	var walk func(protoreflect.ExtensionDescriptors, protoreflect.MessageDescriptors)
	walk = func(xds protoreflect.ExtensionDescriptors, mds protoreflect.MessageDescriptors) {
		for i := range xds.Len() {
			// One that is compiled in is found there; of two for one field the first
			// counts.
			_ = t.extensions.RegisterExtension(dynamicpb.NewExtensionType(xds.Get(i)))
		}
		for i := range mds.Len() {
			walk(mds.Get(i).Extensions(), mds.Get(i).Messages())
		}
	}
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		walk(fd.Extensions(), fd.Messages())
		return true
	})
	return t
}

// MessageType gives the type of a descriptor, the generated one where it is
// compiled in.
func (t *Types) MessageType(md protoreflect.MessageDescriptor) protoreflect.MessageType {
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName()); err == nil && mt.Descriptor() == md {
		return mt
	}
	return dynamicpb.NewMessageType(md)
}

// FindMessageByName implements protoregistry.MessageTypeResolver.
func (t *Types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if mt, ok := t.messages.Load(name); ok {
		return mt.(protoreflect.MessageType), nil
	}
	d, err := t.files.FindDescriptorByName(name)
	if err != nil {
		return protoregistry.GlobalTypes.FindMessageByName(name)
	}
	md, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, protoregistry.NotFound
	}
	mt := t.MessageType(md)
	t.messages.Store(name, mt)
	return mt, nil
}

// FindMessageByURL implements protoregistry.MessageTypeResolver.
func (t *Types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return t.FindMessageByName(protoreflect.FullName(typeName(url)))
}

// FindExtensionByName implements protoregistry.ExtensionTypeResolver.
func (t *Types) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if xt, err := protoregistry.GlobalTypes.FindExtensionByName(name); err == nil {
		return xt, nil
	}
	return t.extensions.FindExtensionByName(name)
}

// FindExtensionByNumber implements protoregistry.ExtensionTypeResolver.
func (t *Types) FindExtensionByNumber(message protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if xt, err := protoregistry.GlobalTypes.FindExtensionByNumber(message, n); err == nil {
		return xt, nil
	}
	return t.extensions.FindExtensionByNumber(message, n)
}

// RangeExtensionsByMessage implements reflection.ExtensionResolver.
func (t *Types) RangeExtensionsByMessage(message protoreflect.FullName, f func(protoreflect.ExtensionType) bool) {
	more := true
	protoregistry.GlobalTypes.RangeExtensionsByMessage(message, func(xt protoreflect.ExtensionType) bool {
		more = f(xt)
		return more
	})
	if !more {
		return
	}
	t.extensions.RangeExtensionsByMessage(message, func(xt protoreflect.ExtensionType) bool {
		if _, err := protoregistry.GlobalTypes.FindExtensionByNumber(message, xt.TypeDescriptor().Number()); err == nil {
			return true
		}
		return f(xt)
	})
}
