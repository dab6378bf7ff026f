package proto

import (
	"fmt"
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

// Google prints every linked-in file of the packages google.api and google.rpc.
func Google() (Files, error) {
	files := Files{}
	printer := protoprint.Printer{SortElements: true}
	var err error
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if pkg := file.Package(); pkg != "google.api" && pkg != "google.rpc" {
			return true
		}
		var text strings.Builder
		if err = printer.PrintProtoFile(file, &text); err != nil {
			err = fmt.Errorf("print %s: %w", file.Path(), err)
			return false
		}
		files[file.Path()] = []byte(text.String())
		return true
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}
