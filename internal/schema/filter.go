package schema

import (
	"container/list"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/watchroute/watchroute/internal/resource"
)

const (
	// MaxFilter is how long a filter may be, in bytes.
	MaxFilter = 4096
	// filterCache is how many compiled filters a schema keeps.
	filterCache = 1024
)

// Filter is a compiled filter.
type Filter struct {
	text string
	program
	term *Term // nil: none
}

// program is an expression that is ready to run.
type program struct {
	metered cel.Program
	// plain does without accounting; nil where the expression is not plain.
	plain cel.Program
}

// plan makes a program of a checked expression.
func plan(env *cel.Env, a *ast.AST, plain bool) (p program, err error) {
	if p.metered, err = env.PlanProgram(a, metered()...); err == nil && plain {
		p.plain, err = env.PlanProgram(a, cel.EvalOptions(cel.OptOptimize))
	}
	return p, err
}

// yields evaluates the expression; not ok if that fails or costs too much. size is how
// large the values are that it reads, in bytes.
func (p *program) yields(vars interpreter.Activation, size int) (out ref.Val, ok bool) {
	out, err := p.eval(vars, size)
	return out, err == nil
}

// eval evaluates the expression over a value of a size in bytes: a large one within limits.
func (p *program) eval(vars interpreter.Activation, size int) (ref.Val, error) {
	run := p.metered
	if p.plain != nil && size <= plainSize {
		run = p.plain
	}
	out, _, err := run.Eval(vars)
	return out, err
}

// holds says whether the expression yields true.
func (p *program) holds(vars interpreter.Activation, size int) bool {
	out, ok := p.yields(vars, size)
	return ok && out == types.True
}

// Filter compiles a CEL expression; the empty one gives nil, which matches
// everything. Compiling the same expression again is cheap. field is the request
// field that held it, for the error, whose reason is InvalidFilter and which has
// `line` and `column`, from 1.
func (s *Schema) Filter(field, expr string) (*Filter, error) {
	if expr == "" {
		return nil, nil
	}
	if len(expr) > MaxFilter {
		return nil, resource.Errorf(resource.InvalidFilter, "the filter has %d bytes, %d are allowed", len(expr), MaxFilter).In(field)
	}
	f, bad := s.filters.get(expr)
	if bad != nil {
		return nil, bad.In(field)
	}
	return f, nil
}

// Compiled gives a filter that Filter need not compile; nil: it must.
func (s *Schema) Compiled(expr string) *Filter { return s.filters.find(expr) }

// String gives the expression.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// Matches evaluates the filter on the whole of a value, whatever a mask left of
// it, but without what a Redaction hid. An evaluation that fails, costs too much or yields anything but true does
// not match.
func (f *Filter) Matches(v *Value) bool {
	if f == nil {
		return true
	}
	for v.whole != nil {
		v = v.whole
	}
	return f.holds((*activation)(v), len(v.Record().Data))
}

// activation resolves the variables of a filter.
type activation Value

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	v := (*Value)(a)
	switch name {
	case "data":
		return v.celData(), true
	case "id":
		return types.String(v.rec.ID), true
	case "name":
		return types.String(v.schema.collection + "/" + v.rec.ID), true
	case "labels":
		if v.rec.Labels == nil {
			return map[string]string{}, true
		}
		return v.rec.Labels, true
	case "revision":
		return types.Int(v.rec.Revision), true
	case "update_time":
		return types.Timestamp{Time: v.rec.Time}, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (a *activation) Parent() interpreter.Activation { return nil }

func (v *Value) celData() ref.Val {
	v.celOnce.Do(func() {
		env, err := v.schema.filters.environment()
		if err != nil {
			v.cel = types.WrapErr(err)
			return
		}
		if v.schema.desc == nil {
			v.cel = env.CELTypeAdapter().NativeToValue(decode(v.JSON(), 0))
			return
		}
		v.cel = env.CELTypeAdapter().NativeToValue(v.message().Interface())
	})
	return v.cel
}

// filters compiles filters for one type of value and keeps the most recently used
// ones.
type filters struct {
	desc protoreflect.MessageDescriptor // nil: schemaless

	envOnce sync.Once
	env     *cel.Env
	envErr  error

	mu    sync.Mutex // held for moments only, not while compiling
	known map[string]*list.Element
	order list.List // of *Filter, the most recently used first
}

func (fs *filters) find(expr string) *Filter {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	e := fs.known[expr]
	if e == nil {
		return nil
	}
	fs.order.MoveToFront(e)
	return e.Value.(*Filter)
}

func (fs *filters) get(expr string) (*Filter, *resource.Error) {
	if f := fs.find(expr); f != nil {
		return f, nil
	}
	f, bad := fs.compile(expr)
	if bad != nil {
		return nil, bad
	}

	fs.mu.Lock()
	defer fs.mu.Unlock()
	if e := fs.known[expr]; e != nil { // somebody else was faster
		return e.Value.(*Filter), nil
	}
	fs.keepLocked(f)
	return f, nil
}

func (fs *filters) keepLocked(f *Filter) {
	if fs.known == nil {
		fs.known = map[string]*list.Element{}
	}
	fs.known[f.text] = fs.order.PushFront(f)
	if fs.order.Len() > filterCache {
		oldest := fs.order.Remove(fs.order.Back()).(*Filter)
		delete(fs.known, oldest.text)
	}
}

func (fs *filters) compile(expr string) (*Filter, *resource.Error) {
	env, err := fs.environment()
	if err != nil {
		return nil, resource.Errorf(resource.Internal, "filters cannot be compiled").Because(err)
	}
	a, plain, bad := checkBool(env, "filter", expr)
	if bad != nil {
		return nil, bad
	}
	f := &Filter{text: expr, term: findTerm(a, a.Expr())}
	if f.program, err = plan(env, a, plain); err != nil {
		return nil, at(resource.Errorf(resource.InvalidFilter, "%s", oneLine(err.Error())), 1, 1)
	}
	return f, nil
}

// checkBool checks an expression that must yield a bool. noun is what messages call it.
func checkBool(env *cel.Env, noun, expr string) (a *ast.AST, plain bool, bad *resource.Error) {
	if a, plain, bad = check(env, noun, expr); bad != nil {
		return nil, false, bad
	}
	if out := a.GetType(a.Expr().ID()); !out.IsExactType(cel.BoolType) && out.Kind() != types.DynKind {
		return nil, false, at(resource.Errorf(resource.InvalidFilter, "the %s yields %s, expected bool", noun, cel.FormatCELType(out)), 1, 1)
	}
	return a, plain, nil
}

// check checks an expression.
func check(env *cel.Env, noun, expr string) (a *ast.AST, plain bool, bad *resource.Error) {
	checked, issues := env.Compile(expr)
	if issues.Err() != nil {
		return nil, false, filterError(issues)
	}
	a = checked.NativeRep()
	plain, err := inspect(noun, a.Expr())
	if err != nil {
		return nil, false, at(resource.Errorf(resource.InvalidFilter, "%s", oneLine(err.Error())), 1, 1)
	}
	sortRanges(a)
	return a, plain, nil
}

// filterError says what CEL says about the first few faults, and where the first
// one is.
func filterError(issues *cel.Issues) *resource.Error {
	errs := issues.Errors()
	if len(errs) == 0 {
		return at(resource.Errorf(resource.InvalidFilter, "%s", oneLine(issues.Err().Error())), 1, 1)
	}
	var messages []string
	for _, e := range errs[:min(len(errs), 3)] {
		messages = append(messages, oneLine(e.Message))
	}
	where := errs[0].Location
	return at(resource.Errorf(resource.InvalidFilter, "%s", strings.Join(messages, "; ")), where.Line(), where.Column()+1)
}

func at(e *resource.Error, line, column int) *resource.Error {
	line, column = max(line, 1), max(column, 1)
	e.Message = "line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column) + ": " + e.Message
	return e.With("line", strconv.Itoa(line)).With("column", strconv.Itoa(column))
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "..."
	}
	return text
}

// environment is made when it is first needed: it takes a millisecond.
func (fs *filters) environment() (*cel.Env, error) {
	fs.envOnce.Do(func() {
		options := []cel.EnvOption{
			cel.CrossTypeNumericComparisons(true),
			cel.ParserRecursionLimit(maxNesting),
			cel.ExpressionNestingDepthLimit(maxNesting),
			cel.Variable("name", cel.StringType),
			cel.Variable("id", cel.StringType),
			cel.Variable("labels", cel.MapType(cel.StringType, cel.StringType)),
			cel.Variable("revision", cel.IntType),
			cel.Variable("update_time", cel.TimestampType),
		}
		if fs.desc == nil {
			options = append(options, cel.Variable("data", cel.MapType(cel.StringType, cel.DynType)))
		} else {
			for _, fd := range withImports(fs.desc.ParentFile()) {
				options = append(options, cel.TypeDescs(own(fd)))
			}
			options = append(options,
				cel.Variable("data", cel.ObjectType(string(fs.desc.FullName()))),
				cel.Container(string(fs.desc.ParentFile().Package())))
		}
		fs.env, fs.envErr = cel.NewEnv(options...)
	})
	return fs.env, fs.envErr
}

// ownFile is a file under a path of its own.
type ownFile struct{ protoreflect.FileDescriptor }

func (f ownFile) Path() string { return "run-time/" + f.FileDescriptor.Path() }

// own keeps CEL from taking a file that is compiled in for another one with the same
// path, as it does when a contract began as a copy of one.
func own(fd protoreflect.FileDescriptor) protoreflect.FileDescriptor {
	if linked, err := protoregistry.GlobalFiles.FindFileByPath(fd.Path()); err == nil && linked != fd {
		return ownFile{fd}
	}
	return fd
}

// withImports gives a file and all that it imports, directly or not.
func withImports(file protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	var out []protoreflect.FileDescriptor
	seen := map[string]bool{}
	var walk func(protoreflect.FileDescriptor)
	walk = func(fd protoreflect.FileDescriptor) {
		if fd.IsPlaceholder() || seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			walk(fd.Imports().Get(i).FileDescriptor)
		}
		out = append(out, fd)
	}
	walk(file)
	return out
}
