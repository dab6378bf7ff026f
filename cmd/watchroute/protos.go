package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/watchroute/watchroute/proto"
)

type protosCommand struct {
	Folder string `arg:"" help:"Where to write them; made where there is none."`
	Force  bool   `name:"force" help:"Overwrite files that differ."`
}

// Run writes the files and prints what to do with them.
func (c *protosCommand) Run(term *terminal) error {
	files, err := proto.Imports()
	if err != nil {
		return err
	}
	if !c.Force {
		differ, err := differing(c.Folder, files)
		if err != nil {
			return err
		}
		if len(differ) > 0 {
			return fmt.Errorf("nothing written: --force would overwrite %s", strings.Join(differ, ", "))
		}
	}
	if err := proto.Write(c.Folder, files); err != nil {
		return err
	}
	return c.printNext(term, len(files))
}

// differing names the files of the folder that have another text than they should.
func differing(folder string, files proto.Files) ([]string, error) {
	var names []string
	for _, path := range slices.Sorted(maps.Keys(files)) {
		name := filepath.Join(folder, filepath.FromSlash(path))
		text, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case !bytes.Equal(text, files[path]):
			names = append(names, name)
		}
	}
	return names, nil
}

// printNext says how to build a contract against the files.
func (c *protosCommand) printNext(term *terminal, written int) error {
	root, module, err := workspace(c.Folder)
	if err != nil {
		return err
	}
	contracts := "proto"
	if first, _, _ := strings.Cut(module, "/"); first == contracts {
		contracts = "contracts"
	}
	_, err = fmt.Fprint(term.out, strings.NewReplacer(
		"COUNT", fmt.Sprint(written), "FOLDER", c.Folder, "ROOT", filepath.Join(root, "buf.yaml"),
		"MODULE", fmt.Sprintf("%q", module), "CONTRACTS", contracts, "WATCHROUTE", os.Args[0]).Replace(`
COUNT protos are in FOLDER: watchroute/v1, google/api, google/rpc.

Keep your contract apart from them, such as in CONTRACTS/shop/v1/orders.proto, and name both folders in ROOT:

  version: v2
  modules:
    - path: CONTRACTS
    - path: MODULE
      lint:
        ignore: [MODULE]
      breaking:
        ignore: [MODULE]

Then, beside it:

  buf build -o shop.binpb
  WATCHROUTE serve --contracts shop.binpb

`))
	return err
}

// workspace gives the folder that a buf.yaml should stand in, relative to the working
// folder where it is that, and the path by which it names the folder of the protos:
// buf takes none that leads out of its own.
func workspace(folder string) (root, module string, err error) {
	if clean := filepath.Clean(folder); filepath.IsLocal(clean) && clean != "." {
		return "", filepath.ToSlash(clean), nil
	}
	full, err := filepath.Abs(folder)
	if err != nil {
		return "", "", err
	}
	return filepath.Dir(full), filepath.Base(full), nil
}
