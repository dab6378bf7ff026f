package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Registry maps each collection to its Schema.
type Registry struct {
	schemas map[string]*Schema
	types   *Types
	free    *filters // of all schemaless collections
}

// NewRegistry finds every message with the option (watchroute.v1.resource) in
// files; nil stands for none. The error joins all that is wrong, each with file
// and message: two messages for one collection, a bad collection name, an
// id_field that is not a singular string field outside of a oneof. Without an
// id_field no field holds the id.
func NewRegistry(files *protoregistry.Files) (*Registry, error) {
	r := &Registry{schemas: map[string]*Schema{}, types: NewTypes(files), free: &filters{}}
	var problems []error
	for _, md := range ResourceMessages(files) {
		if err := r.add(md); err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", md.ParentFile().Path(), md.FullName(), err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Registry) add(md protoreflect.MessageDescriptor) error {
	opts := ResourceOptions(md)
	if err := resource.CheckCollection("", opts.GetCollection()); err != nil {
		return fmt.Errorf("the option (watchroute.v1.resource): %s", resource.AsError(err).Message)
	}
	s := &Schema{collection: opts.GetCollection(), desc: md, types: r.types, filters: &filters{desc: md}}
	if name := opts.GetIdField(); name != "" {
		fd := md.Fields().ByName(protoreflect.Name(name))
		switch {
		case fd == nil:
			return fmt.Errorf("the id_field %q is not one of its fields; the nearest is %q", name, nearest(name, fieldNames(md)))
		case fd.Kind() != protoreflect.StringKind || fd.Cardinality() == protoreflect.Repeated:
			return fmt.Errorf("the id_field %q is %s, expected string", name, describeField(fd))
		case fd.ContainingOneof() != nil && !fd.ContainingOneof().IsSynthetic():
			return fmt.Errorf("the id_field %q is part of the oneof %q", name, fd.ContainingOneof().Name())
		}
		s.idField = fd
	}
	if other := r.schemas[s.collection]; other != nil {
		return fmt.Errorf("the collection %q already has the schema %s of %s", s.collection, other.desc.FullName(), other.desc.ParentFile().Path())
	}
	s.msgType = r.types.MessageType(md)
	r.schemas[s.collection] = s
	return nil
}

// Schema gives the schema of a collection, which may be given as the log's key of it: a
// schemaless one where none was declared. It is never nil.
func (r *Registry) Schema(collection string) *Schema {
	collection = resource.Shared(collection)
	if s := r.schemas[collection]; s != nil {
		return s
	}
	return &Schema{collection: collection, types: r.types, filters: r.free}
}

// Types gives what finds the types of the registry's files.
func (r *Registry) Types() *Types { return r.types }

// Declared gives the collections that have a schema, sorted.
func (r *Registry) Declared() []string {
	out := make([]string, 0, len(r.schemas))
	for c := range r.schemas {
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

// ResourceMessages gives the messages of files with the option
// (watchroute.v1.resource), by file path and then as they stand in it.
func ResourceMessages(files *protoregistry.Files) []protoreflect.MessageDescriptor {
	if files == nil {
		return nil
	}
	var out []protoreflect.MessageDescriptor
	var walk func(protoreflect.MessageDescriptors)
	walk = func(mds protoreflect.MessageDescriptors) {
		for i := range mds.Len() {
			md := mds.Get(i)
			if ResourceOptions(md) != nil {
				out = append(out, md)
			}
			walk(md.Messages())
		}
	}
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		walk(fd.Messages())
		return true
	})
	slices.SortStableFunc(out, func(a, b protoreflect.MessageDescriptor) int {
		return strings.Compare(a.ParentFile().Path(), b.ParentFile().Path())
	})
	return out
}

// ResourceOptions gives the option (watchroute.v1.resource) of a message, nil if
// it has none. It does not matter how the descriptor was made: the option may be
// a known extension, a dynamic one or unknown bytes.
func ResourceOptions(md protoreflect.MessageDescriptor) *watchroutev1.ResourceOptions {
	opts := md.Options()
	if opts == nil || !opts.ProtoReflect().IsValid() {
		return nil
	}
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(opts)
	if err != nil || len(raw) == 0 {
		return nil
	}
	var mo descriptorpb.MessageOptions
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(raw, &mo); err != nil || !proto.HasExtension(&mo, watchroutev1.E_Resource) {
		return nil
	}
	return proto.GetExtension(&mo, watchroutev1.E_Resource).(*watchroutev1.ResourceOptions)
}

func describeField(fd protoreflect.FieldDescriptor) string {
	kind := fd.Kind().String()
	switch {
	case fd.IsMap():
		return "a map"
	case fd.Message() != nil:
		kind = string(fd.Message().FullName())
	case fd.Enum() != nil:
		kind = string(fd.Enum().FullName())
	}
	if fd.IsList() {
		return "repeated " + kind
	}
	return kind
}

func fieldNames(md protoreflect.MessageDescriptor) []string {
	fds := md.Fields()
	names := make([]string, fds.Len())
	for i := range names {
		names[i] = string(fds.Get(i).Name())
	}
	return names
}

// nearest gives the one of names that takes the fewest edits to make of text.
func nearest(text string, names []string) string {
	best, least := "", 0
	for _, n := range names {
		if d := distance(text, n); best == "" || d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is Levenshtein's. Of long text only the beginning counts.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
