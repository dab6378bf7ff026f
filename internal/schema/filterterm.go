package schema

import (
	"math"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Term is something that must be so for a filter to match: the value at a path
// equals a constant. Filters can be found by it without being evaluated.
type Term struct {
	Path Path
	Key  Key
}

// Path leads to a value: `id`, a label, or a field of `data`.
type Path string

// Key is a value that a path may have. What CEL takes for equal has equal keys, and
// sometimes more than that does.
type Key string

const pathSeparator = "\x00"

// Term gives a term of a filter, if there is one that it cannot do without:
// `data.customer_id == "42"`, alone or joined with others by `&&`.
func (f *Filter) Term() (Term, bool) {
	if f == nil || f.term == nil {
		return Term{}, false
	}
	return *f.term, true
}

// findTerm looks for the first term of a checked expression.
func findTerm(a *ast.AST, e ast.Expr) *Term {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		for _, arg := range args {
			if t := findTerm(a, arg); t != nil {
				return t
			}
		}
	case operators.Equals:
		for i := range args {
			path, ok := pathOf(args[i])
			if !ok {
				continue
			}
			if key, ok := constant(a, args[1-i]); ok {
				return &Term{Path(strings.Join(path, pathSeparator)), key}
			}
		}
	}
	return nil
}

// pathOf gives the names that lead to what an expression selects.
func pathOf(e ast.Expr) ([]string, bool) {
	path, ok := steps(e)
	if !ok || (path[0] == "id") != (len(path) == 1) || path[0] == "labels" && len(path) != 2 {
		return nil, false
	}
	for _, step := range path {
		if strings.Contains(step, pathSeparator) {
			return nil, false
		}
	}
	return path, true
}

func steps(e ast.Expr) ([]string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		name := e.AsIdent()
		return []string{name}, name == "data" || name == "labels" || name == "id"
	case ast.SelectKind:
		s := e.AsSelect()
		if s.IsTestOnly() {
			return nil, false
		}
		path, ok := steps(s.Operand())
		return append(path, s.FieldName()), ok
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != operators.Index || len(c.Args()) != 2 || c.Args()[1].Kind() != ast.LiteralKind {
			return nil, false
		}
		name, isString := c.Args()[1].AsLiteral().(types.String)
		path, ok := steps(c.Args()[0])
		return append(path, string(name)), ok && isString
	}
	return nil, false
}

// constant gives the key of a literal, or of an enum's value.
func constant(a *ast.AST, e ast.Expr) (Key, bool) {
	if e.Kind() == ast.LiteralKind {
		return keyOf(e.AsLiteral())
	}
	if r := a.ReferenceMap()[e.ID()]; r != nil && r.Value != nil {
		return keyOf(r.Value)
	}
	return "", false
}

// keyOf gives the key of a value. Numbers are equal whatever their type is, so all of
// them are told apart as doubles; those that a double cannot tell apart share a key.
func keyOf(v ref.Val) (Key, bool) {
	number := func(f float64) (Key, bool) {
		if f == 0 {
			f = 0 // not -0
		}
		return Key("n" + strconv.FormatUint(math.Float64bits(f), 36)), true
	}
	switch v := v.(type) {
	case types.String:
		return Key("s" + string(v)), true
	case types.Bool:
		return Key("b" + strconv.FormatBool(bool(v))), true
	case types.Int:
		return number(float64(v))
	case types.Uint:
		return number(float64(v))
	case types.Double:
		return number(float64(v))
	}
	return "", false
}

// Key gives what the whole of a value has at a path, without what a Redaction hid. Where it has none, or one that
// no constant equals, no filter with a term of that path matches it.
func (v *Value) Key(path Path) (Key, bool) {
	for v.whole != nil {
		v = v.whole
	}
	found := v.find(path)
	if found == nil {
		return "", false
	}
	return keyOf(found)
}

// find gives what stands at a path; nil where nothing does.
func (v *Value) find(path Path) ref.Val {
	root, rest, _ := strings.Cut(string(path), pathSeparator)
	switch root {
	case "id":
		return types.String(v.rec.ID)
	case "labels":
		if label, ok := v.rec.Labels[rest]; ok {
			return types.String(label)
		}
		return nil
	}
	at := v.celData()
	for step := range strings.SplitSeq(rest, pathSeparator) {
		switch holder := at.(type) {
		case traits.Mapper:
			found, ok := holder.Find(types.String(step))
			if !ok {
				return nil
			}
			at = found
		case traits.Indexer:
			at = holder.Get(types.String(step))
		default:
			return nil
		}
	}
	return at
}
