package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/watchroute/watchroute"

// rule says what the packages at or below a folder may import, in their own
// files and through other packages of this module. What gen imports counts as
// gen's own: the generated code links gRPC and net/http, and using a message is
// not using those. Tests may import what they like.
type rule struct {
	folder string
	only   []string // everything else, but the standard library, is forbidden
	never  []string // these are forbidden
	why    string
}

// Imports stand for themselves and for all below them; those that begin with a
// slash are folders of this module.
var rules = []rule{{
	folder: "internal/resource",
	only:   []string{"/gen", "/internal/resource", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc"},
	never:  []string{"net/http"},
	why:    "the vocabulary reads without knowing storage or transport",
}, {
	folder: "internal/changelog",
	never:  []string{"/internal/hub", "/internal/wire", "/internal/access", "/server", "/gateway", "/cmd", "net/http"},
	why:    "a log neither knows its readers nor how they are served",
}, {
	folder: "internal/hub",
	never: []string{
		"/internal/changelog/store", "/internal/changelog/local", "/internal/changelog/jetstream", "/internal/changelog/upstream",
		"/server", "/gateway", "/cmd", "github.com/cockroachdb/pebble", "google.golang.org/grpc", "net/http",
	},
	why: "the hub works over any log and under any transport",
}, {
	folder: "internal/access",
	never:  []string{"/internal/changelog/store", "/internal/changelog/local", "/internal/wire", "/server", "/gateway", "/cmd", "google.golang.org/grpc"},
	why:    "who may see what does not depend on how it is asked for",
}, {
	folder: "internal/clock",
	only:   []string{"/internal/clock"},
	why:    "time is everybody's",
}, {
	folder: "internal/socket",
	only:   []string{"/internal/socket", "golang.org/x/sys"},
	never:  []string{"net/http"},
	why:    "a connection does not know what is said on it",
}, {
	folder: "internal/certificate",
	only:   []string{"/internal/certificate", "golang.org/x/crypto"},
	why:    "a certificate does not know what is said under it",
}, {
	folder: "internal/schema",
	never:  []string{"/internal/changelog/store", "/internal/changelog/local", "/internal/hub", "/internal/wire", "/server", "/gateway", "/cmd", "google.golang.org/grpc", "net/http"},
	why:    "what a value is does not depend on where it is kept or sent",
}, {
	folder: "internal/wire",
	never:  []string{"/internal/changelog/store", "/internal/changelog/local", "/server", "/gateway", "/cmd", "google.golang.org/grpc/internal"},
	why:    "encoding is a pure function of what the hub says",
}, {
	folder: "server",
	never:  []string{"/gateway", "/cmd"},
	why:    "a node serves gRPC without an HTTP front",
}, {
	folder: "gateway",
	never: []string{
		"/internal/changelog/store", "/internal/changelog/local", "/internal/changelog/jetstream", "/internal/changelog/upstream",
		"/cmd", "github.com/cockroachdb/pebble",
	},
	why: "the gateway does not know which engine keeps the log",
}, {
	folder: "clients",
	only:   []string{"/gen", "/clients", "google.golang.org/protobuf", "google.golang.org/genproto", "google.golang.org/grpc"},
	why:    "a client depends on the contract, never on the server",
}}

func TestPackagesImportOnlyWhatTheirPlaceAllows(t *testing.T) {
	imports, err := readImports("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		t.Run(r.folder, func(t *testing.T) {
			broken, found := r.check(imports)
			if !found {
				t.Skip("there is no such package yet")
			}
			for _, chain := range broken {
				t.Errorf("%s\nis forbidden: %s", chain, r.why)
			}
		})
	}
}

func TestRule_FindsDirectAndIndirectImports(t *testing.T) {
	imports := map[string][]string{
		module + "/a":     {"fmt", module + "/b"},
		module + "/b":     {module + "/gen/x", "net/http", "example.com/lib/v2/sub"},
		module + "/gen/x": {"example.com/bad"},
		module + "/ab":    {"example.com/bad"},
	}
	for _, test := range []struct {
		rule rule
		want []string
	}{
		{rule{folder: "a", never: []string{"example.com/bad"}}, nil},
		{rule{folder: "a", never: []string{"net/http"}}, []string{"a -> b -> net/http"}},
		{rule{folder: "a", never: []string{"/b"}}, []string{"a -> b"}},
		{rule{folder: "a", never: []string{"example.com/lib"}}, []string{"a -> b -> example.com/lib/v2/sub"}},
		{rule{folder: "a", only: []string{"/a", "/b", "/gen"}}, []string{"a -> b -> example.com/lib/v2/sub"}},
	} {
		got, found := test.rule.check(imports)
		if !found || !slices.Equal(got, test.want) {
			t.Errorf("%+v: got %q, %v; want %q", test.rule, got, found, test.want)
		}
	}
	if _, found := (rule{folder: "c"}).check(imports); found {
		t.Error("found packages in a folder that does not exist")
	}
}

// check returns the chains of imports that break the rule, and whether the
// rule's folder has any package.
func (r rule) check(imports map[string][]string) (broken []string, found bool) {
	type step struct{ pkg, chain string }
	var next []step
	seen := map[string]bool{}
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		if within(pkg, "/"+r.folder) {
			found = true
			seen[pkg] = true
			next = append(next, step{pkg, short(pkg)})
		}
	}
	for len(next) > 0 {
		from := next[0]
		next = next[1:]
		for _, to := range imports[from.pkg] {
			chain := from.chain + " -> " + short(to)
			if r.forbids(to) {
				broken = append(broken, chain)
				continue // what lies behind it is not this rule's business
			}
			if !seen[to] && within(to, "/") && !within(to, "/gen") {
				seen[to] = true
				next = append(next, step{to, chain})
			}
		}
	}
	slices.Sort(broken)
	return broken, found
}

func (r rule) forbids(pkg string) bool {
	in := func(places []string) bool {
		return slices.ContainsFunc(places, func(place string) bool { return within(pkg, place) })
	}
	host, _, _ := strings.Cut(pkg, "/")
	standard := !strings.Contains(host, ".")
	return in(r.never) || len(r.only) > 0 && !standard && !in(r.only)
}

// within reports whether a package is at or below a place.
func within(pkg, place string) bool {
	if strings.HasPrefix(place, "/") {
		place = strings.TrimSuffix(module+place, "/")
	}
	return pkg == place || strings.HasPrefix(pkg, place+"/")
}

func short(pkg string) string { return strings.TrimPrefix(pkg, module+"/") }

// readImports returns, for each package of the module at root, what its files
// other than tests import. It reads the files itself instead of asking `go
// list`, so that the test cache sees what the answer depends on.
func readImports(root string) (map[string][]string, error) {
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(root, name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := path.Join(module, filepath.ToSlash(folder))
		for _, spec := range file.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if !slices.Contains(imports[pkg], to) {
				imports[pkg] = append(imports[pkg], to)
			}
		}
		return nil
	})
	return imports, err
}

// enter skips what the go command does not count to the module either.
func enter(root, folder string) error {
	if folder == root {
		return nil
	}
	base := filepath.Base(folder)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}
