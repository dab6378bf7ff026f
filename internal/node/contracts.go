package node

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/watchroute/watchroute/gen/go/shop/v1" // the example
	"github.com/watchroute/watchroute/server/config"
	"github.com/watchroute/watchroute/server/contract"
)

// exampleFiles is where the files of config.ExampleContract are.
const exampleFiles = "shop/v1/"

// loadContracts binds the contracts that are compiled in and those of the files.
// The example takes part only where it is named: it would take the collection
// `orders` from everybody.
func loadContracts(ctx context.Context, names []string) (*contract.Set, error) {
	if slices.Contains(names, config.ExampleContract) {
		files := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == config.ExampleContract })
		return contract.Load(ctx, files)
	}
	compiled := new(protoregistry.Files)
	var err error
	protoregistry.GlobalFiles.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(fd.Path(), exampleFiles) {
			err = compiled.RegisterFile(fd)
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	sets := make([]*descriptorpb.FileDescriptorSet, len(names))
	for i, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sets[i] = new(descriptorpb.FileDescriptorSet)
		if err := proto.Unmarshal(raw, sets[i]); err != nil || len(sets[i].GetFile()) == 0 {
			return nil, fmt.Errorf("%s: not a descriptor set; make one with `buf build -o FILE.binpb`", name)
		}
	}
	return contract.New(compiled, sets...)
}
