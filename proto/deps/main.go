// Command deps writes the google/api and google/rpc proto files that the
// contracts import, so that buf can compile them without a registry and
// without copies in this repository. [proto.Google] says where they come from.
//
// Usage: go run ./proto/deps OUTPUT_FOLDER
package main

import (
	"fmt"
	"os"

	"github.com/watchroute/watchroute/proto"
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

func run(folder string) error {
	files, err := proto.Google()
	if err != nil {
		return err
	}
	return proto.Write(folder, files)
}
