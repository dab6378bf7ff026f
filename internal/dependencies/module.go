package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// module is one that the repository builds upon.
type module struct {
	Path       string
	Version    string
	Dir        string
	Main       bool
	Deprecated string
	Retracted  []string
	Update     *module
	Error      *struct{ Err string }
}

// pkg is a package as `go list` describes it. A test's variants are packages too:
// "path [path.test]".
type pkg struct {
	ImportPath string
	Imports    []string
	Module     *module
}

// dependencies are the modules of the main module's packages, by path.
type dependencies struct {
	linked  map[string]*module // all of what `make build` links
	product map[string]*module // what the product's own code imports
	tests   map[string]*module // what only the code of tests imports
}

func readDependencies() (*dependencies, error) {
	listed := func(args ...string) ([]pkg, error) {
		out, err := goCommand(".", append([]string{"list", "-e", "-deps", "-json=ImportPath,Imports,Module"}, args...)...)
		if err != nil {
			return nil, err
		}
		return decodeAll[pkg](out)
	}
	binary, err := listed("./cmd/watchroute")
	if err != nil {
		return nil, err
	}
	product, err := listed("./cmd/...", "./gen/...", "./clients/...", "./proto/...")
	if err != nil {
		return nil, err
	}
	all, err := listed("-test", "./...")
	if err != nil {
		return nil, err
	}
	found := &dependencies{linked: map[string]*module{}, product: direct(product), tests: direct(all)}
	for _, p := range binary {
		if p.Module != nil && !p.Module.Main {
			found.linked[p.Module.Path] = p.Module
		}
	}
	for path := range found.product {
		delete(found.tests, path)
	}
	return found, nil
}

// direct returns the modules that the main module's packages import.
func direct(packages []pkg) map[string]*module {
	from := map[string]*module{}
	for _, p := range packages {
		from[p.ImportPath] = p.Module
	}
	found := map[string]*module{}
	for _, p := range packages {
		if p.Module == nil || !p.Module.Main {
			continue
		}
		for _, path := range p.Imports {
			if m := from[path]; m != nil && !m.Main {
				found[m.Path] = m
			}
		}
	}
	return found
}

// goMod is what the review needs of a go.mod.
type goMod struct {
	Module  struct{ Path string }
	Tool    []struct{ Path string }
	Require []struct{ Path, Version string }
	Exclude []struct{ Path, Version string }
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

func readGoMod(file string) (goMod, error) {
	var parsed goMod
	out, err := goCommand(filepath.Dir(file), "mod", "edit", "-json")
	if err != nil {
		return parsed, err
	}
	return parsed, json.Unmarshal(out, &parsed)
}

// raised returns the modules, with versions, that the main module requires in a
// version which nothing else in the graph asks for. Those that it imports have a
// version of ours anyway; the others are overrides.
func raised(main goMod) (map[string]string, error) {
	out, err := goCommand(".", "mod", "graph")
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		from, to, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return nil, fmt.Errorf("go mod graph: %q", line)
		}
		if from != main.Module.Path {
			asked[to] = true
		}
	}
	found := map[string]string{}
	for _, required := range main.Require {
		if !asked[required.Path+"@"+required.Version] {
			found[required.Path] = required.Version
		}
	}
	return found, nil
}
