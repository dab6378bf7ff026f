package contract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/watchroute/watchroute/internal/schema"
)

// Set is every contract of a node: what is compiled in and what was read.
type Set struct {
	// Schemas has the schema of each collection that has one.
	Schemas *schema.Registry
	// Methods has the bound methods by full name.
	Methods []*Method
	// Files has all files, compiled in and read.
	Files *protoregistry.Files
	// Types finds the types of Files.
	Types *schema.Types
	// Unbound has the services of descriptor sets that mention no resource, and are
	// therefore not served.
	Unbound []protoreflect.FullName

	services []service
}

// service is a service with its bound methods.
type service struct {
	desc    protoreflect.ServiceDescriptor
	methods []*Method
}

// Load binds the contracts that are compiled in and those of the descriptor sets in
// paths. The error joins all that is wrong: each line names file, method or message,
// and reason.
func Load(ctx context.Context, paths []string) (*Set, error) {
	var sets []*descriptorpb.FileDescriptorSet
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		set := &descriptorpb.FileDescriptorSet{}
		if err := (proto.UnmarshalOptions{Resolver: protoregistry.GlobalTypes}).Unmarshal(raw, set); err != nil || len(set.GetFile()) == 0 {
			return nil, fmt.Errorf("%s: not a descriptor set; make one with `buf build -o FILE.binpb`", path)
		}
		sets = append(sets, set)
	}
	return New(protoregistry.GlobalFiles, sets...)
}

// New binds the contracts of the files that are compiled in and of descriptor sets.
// Of a file that is compiled in, under google/ or watchroute/, the one of the set is
// ignored; any other file that comes twice must be the same.
func New(compiled *protoregistry.Files, sets ...*descriptorpb.FileDescriptorSet) (*Set, error) {
	files, err := merge(compiled, sets)
	if err != nil {
		return nil, err
	}
	schemas, err := schema.NewRegistry(files)
	if err != nil {
		return nil, err
	}
	s := &Set{Schemas: schemas, Files: files, Types: schemas.Types()}
	b := &binder{set: s, resources: map[protoreflect.FullName]*schema.Schema{}}
	for _, collection := range schemas.Declared() {
		sc := schemas.Schema(collection)
		b.resources[sc.Descriptor().FullName()] = sc
	}
	var all []protoreflect.ServiceDescriptor
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			all = append(all, fd.Services().Get(i))
		}
		return true
	})
	slices.SortFunc(all, func(a, b protoreflect.ServiceDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	for _, sd := range all {
		if b.service(sd) {
			continue
		}
		if _, err := compiled.FindFileByPath(sd.ParentFile().Path()); err != nil && !ours(sd.ParentFile().Path()) {
			s.Unbound = append(s.Unbound, sd.FullName())
		}
	}
	b.checkRoutes()
	if err := errors.Join(b.problems...); err != nil {
		return nil, err
	}
	return s, nil
}

// Method gives a bound method by its full name, /shop.v1.OrderService/GetOrder; nil
// if there is none.
func (s *Set) Method(fullName string) *Method {
	i, ok := slices.BinarySearchFunc(s.Methods, fullName, func(m *Method, name string) int {
		return strings.Compare(m.FullName, name)
	})
	if !ok {
		return nil
	}
	return s.Methods[i]
}

// Resolver finds files, descriptors, types and extensions: for gRPC's reflection
// it is both resolvers, and for protojson and anypb it resolves types.
type Resolver struct {
	*protoregistry.Files
	*schema.Types
}

// Resolver gives the resolver of all that the set knows.
func (s *Set) Resolver() Resolver { return Resolver{s.Files, s.Types} }
