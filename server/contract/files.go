package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/watchroute/watchroute/internal/schema"
)

// merge puts the files of descriptor sets to those that are compiled in.
func merge(compiled *protoregistry.Files, sets []*descriptorpb.FileDescriptorSet) (*protoregistry.Files, error) {
	m := &merger{files: new(protoregistry.Files), given: map[string]*descriptorpb.FileDescriptorProto{}, state: map[string]int{}}
	var err error
	compiled.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		err = m.files.RegisterFile(fd)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, set := range sets {
		for _, file := range set.GetFile() {
			if file.GetName() == "" {
				m.problem("a file without a name")
				continue
			}
			if known, ok := m.given[file.GetName()]; ok {
				if !ours(file.GetName()) && !sameFile(known, file) {
					m.problem("%s: two descriptor sets have different contents for it", file.GetName())
				}
				continue
			}
			m.given[file.GetName()] = file
			names = append(names, file.GetName())
		}
	}
	slices.Sort(names)
	for _, name := range names {
		m.add(name)
	}
	if err := errors.Join(m.problems...); err != nil {
		return nil, err
	}
	return m.files, nil
}

type merger struct {
	files    *protoregistry.Files
	given    map[string]*descriptorpb.FileDescriptorProto
	state    map[string]int // 1: being added, 2: added, 3: failed
	problems []error
}

func (m *merger) problem(format string, args ...any) {
	m.problems = append(m.problems, fmt.Errorf(format, args...))
}

// ours says whether a file comes with Watchroute or with protobuf, so that everybody
// has much the same.
func ours(path string) bool {
	return strings.HasPrefix(path, "google/") || strings.HasPrefix(path, "watchroute/")
}

// add makes a descriptor of a given file, after those it imports. It says whether
// the file can be used.
func (m *merger) add(name string) bool {
	switch m.state[name] {
	case 1:
		m.problem("%s: imports itself", name)
		return false
	case 2:
		return true
	case 3:
		return false
	}
	m.state[name] = 1
	ok := m.build(name)
	m.state[name] = 3
	if ok {
		m.state[name] = 2
	}
	return ok
}

func (m *merger) build(name string) bool {
	linked, _ := m.files.FindFileByPath(name)
	if linked != nil && ours(name) {
		return true
	}
	file := m.given[name]
	for _, dep := range file.GetDependency() {
		if m.given[dep] != nil {
			if !m.add(dep) {
				return false
			}
		} else if _, err := m.files.FindFileByPath(dep); err != nil {
			m.problem("%s: imports %s, which is neither compiled in nor in a descriptor set", name, dep)
			return false
		}
	}
	if len(file.GetOptionDependency()) > 0 {
		file = proto.CloneOf(file)
		file.OptionDependency = nil // of use to compilers only
	}
	fd, err := protodesc.NewFile(file, m.files)
	if err != nil {
		m.problem("%s: %s", name, cleanError(err))
		return false
	}
	if linked != nil {
		if !sameFile(protodesc.ToFileDescriptorProto(linked), protodesc.ToFileDescriptorProto(fd)) {
			m.problem("%s: the file that is compiled in is another one", name)
			return false
		}
		return true
	}
	if err := m.files.RegisterFile(fd); err != nil {
		m.problem("%s: %s", name, cleanError(err))
		return false
	}
	return true
}

// sameFile compares files by what they declare: comments do not count, nor whether
// JSON names that follow from the names are spelled out.
func sameFile(a, b *descriptorpb.FileDescriptorProto) bool {
	return proto.Equal(bare(a), bare(b))
}

func bare(file *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	file = proto.CloneOf(file)
	file.SourceCodeInfo = nil
	if file.GetSyntax() == "proto2" {
		file.Syntax = nil
	}
	var walk func([]*descriptorpb.DescriptorProto)
	walk = func(messages []*descriptorpb.DescriptorProto) {
		for _, md := range messages {
			for _, fd := range slices.Concat(md.GetField(), md.GetExtension()) {
				bareField(fd)
			}
			walk(md.GetNestedType())
		}
	}
	walk(file.GetMessageType())
	for _, fd := range file.GetExtension() {
		bareField(fd)
	}
	return file
}

func bareField(fd *descriptorpb.FieldDescriptorProto) {
	if fd.GetExtendee() != "" || fd.GetJsonName() == schema.JSONName(fd.GetName()) {
		fd.JsonName = nil
	}
}

// cleanError takes protobuf's prefix, which comes in two spellings, from the text.
func cleanError(err error) string {
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
}
