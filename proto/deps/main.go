// Command deps writes the google/api and google/rpc proto files that the
// contracts import, so that buf can compile them without a registry and
// without copies in this repository.
//
// The files are printed from the descriptors that the Go runtime links in, so
// they are always the version that the generated code runs against. They
// carry no comments: descriptors hold none.
//
// Usage: go run ./proto/deps OUTPUT_FOLDER
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/httpbody"
	_ "google.golang.org/genproto/googleapis/rpc/code"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deps OUTPUT_FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "deps:", err)
		os.Exit(1)
	}
}

// run prints every linked-in file of the packages google.api and google.rpc.
// The files of google.protobuf are left out: buf brings its own.
func run(folder string) (err error) {
	printer := protoprint.Printer{SortElements: true}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if pkg := file.Package(); pkg != "google.api" && pkg != "google.rpc" {
			return true
		}
		err = write(&printer, file, filepath.Join(folder, filepath.FromSlash(file.Path())))
		return err == nil
	})
	return err
}

func write(printer *protoprint.Printer, file protoreflect.FileDescriptor, path string) error {
	var text strings.Builder
	if err := printer.PrintProtoFile(file, &text); err != nil {
		return fmt.Errorf("print %s: %w", file.Path(), err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}
