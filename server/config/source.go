package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// DefaultFile is read where it is there and no other file is named.
const DefaultFile = "watchroute.yaml"

// Prefix begins the name of every environment variable.
const Prefix = "WATCHROUTE_"

// FileFlag is the flag that names another file than DefaultFile. It is no key of
// the file.
const FileFlag = "config"

// Sources gives the options that make a kong command line read the file, and
// refuse environment variables of the prefix that mean nothing. The settings are
// the flags, of all commands, that have an environment variable.
func Sources(environ []string) kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		f := &file{}
		return errors.Join(
			kong.Resolvers(f).Apply(k),
			kong.PostBuild(func(k *kong.Kong) error {
				f.settings = settings(k.Model.Node)
				return checkEnvironment(environ, f.settings)
			}).Apply(k),
		)
	})
}

// settings gives the flags that have an environment variable, by name.
func settings(n *kong.Node) map[string]*kong.Flag {
	found := map[string]*kong.Flag{}
	for _, f := range n.Flags {
		if len(f.Envs) > 0 {
			found[f.Name] = f
		}
	}
	for _, child := range n.Children {
		for name, f := range settings(child) {
			found[name] = f
		}
	}
	return found
}

// Kubernetes sets these for every service whose name begins with watchroute.
var serviceVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT=[a-z]+://.*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)(=|$)`)

func checkEnvironment(environ []string, settings map[string]*kong.Flag) error {
	var known []string
	for _, f := range settings {
		known = append(known, f.Envs...)
	}
	var errs []error
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, Prefix) || slices.Contains(known, name) || serviceVariable.MatchString(entry) {
			continue
		}
		errs = append(errs, fmt.Errorf("there is no environment variable %s; the nearest is %s", name, nearest(name, known)))
	}
	sortErrors(errs)
	return errors.Join(errs...)
}

// file is the settings of a file, as a kong resolver.
type file struct {
	settings map[string]*kong.Flag
	read     bool
	name     string
	entries  map[string]entry
}

type entry struct {
	value string
	line  int
}

// Validate implements kong.Resolver.
func (f *file) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. kong asks for every flag that the command
// line does not set, and would let the answer win over the environment.
func (f *file) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Envs) == 0 || flag.Name == FileFlag {
		return nil, nil
	}
	if !f.read {
		if err := f.load(ctx); err != nil {
			return nil, err
		}
		f.read = true
	}
	e, ok := f.entries[flag.Name]
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			ok = false
		}
	}
	if !ok {
		return nil, nil
	}
	// Once to see whether it can be read, for an error that names the place.
	probe := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: e.value}), probe); err != nil {
		return nil, fmt.Errorf("%s:%d: %s: %w", f.name, e.line, flag.Name, err)
	}
	return e.value, nil
}

func (f *file) load(ctx *kong.Context) error {
	for _, flag := range ctx.Flags() {
		if name, ok := ctx.FlagValue(flag).(string); ok && flag.Name == FileFlag {
			f.name = name
		}
	}
	named := f.name != ""
	if !named {
		f.name = DefaultFile
	}
	text, err := os.ReadFile(f.name)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var known []string
	for name := range f.settings {
		if name != FileFlag {
			known = append(known, name)
		}
	}
	f.entries, err = parseFile(f.name, text, known)
	return err
}

// nested says whether the value of a setting is a mapping of its own, or a list of
// mappings, as it may be of these two.
func nested(key string, value ast.Node) bool {
	switch n := value.(type) {
	case ast.MapNode:
		return key == "access"
	case *ast.SequenceNode:
		return key == "sources" && len(n.Values) > 0 && n.Values[0].Type() != ast.StringType
	}
	return false
}

// parseFile reads a mapping of settings to scalars and lists of scalars.
func parseFile(name string, text []byte, known []string) (map[string]entry, error) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s:%s", name, yaml.FormatError(err, false, false))
	}
	entries := map[string]entry{}
	var errs []error
	bad := func(n ast.Node, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", name, n.GetToken().Position.Line, fmt.Sprintf(format, args...)))
	}
	for i, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		mapping, ok := doc.Body.(ast.MapNode)
		if !ok || i > 0 {
			bad(doc.Body, "expected one mapping of settings to values, such as `http: 127.0.0.1:8080`")
			break
		}
		for pairs := mapping.MapRange(); pairs.Next(); {
			key := strings.ReplaceAll(pairs.Key().GetToken().Value, "_", "-")
			if !slices.Contains(known, key) {
				bad(pairs.Key(), "there is no setting %q; the nearest is %q", pairs.Key().GetToken().Value, nearest(key, known))
				continue
			}
			if earlier, twice := entries[key]; twice {
				bad(pairs.Key(), "%s is set in line %d already", key, earlier.line)
				continue
			}
			value, ok := scalars(pairs.Value())
			if nested(key, pairs.Value()) {
				value, ok = inline+pairs.Value().String(), true
			}
			if !ok {
				bad(pairs.Key(), "%s: expected a value, or a list of values", key)
				continue
			}
			entries[key] = entry{value: value, line: pairs.Key().GetToken().Position.Line}
		}
	}
	return entries, errors.Join(errs...)
}

// scalars gives a node as the command line would have it: a list with commas.
func scalars(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		var list []string
		for _, v := range n.Values {
			s, ok := scalar(v)
			if !ok {
				return "", false
			}
			list = append(list, s)
		}
		return kong.JoinEscaped(list, ','), true
	default:
		return scalar(n)
	}
}

func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}
