package schema

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watchroute/watchroute/internal/resource"
)

const (
	// MaxProjection is how long the expressions of a projection may be together, in
	// bytes.
	MaxProjection = 16 << 10
	// MaxProjectionFields is how many fields a projection may have.
	MaxProjectionFields = 64
	// maxProjected is how large the object may be that a projection makes, in bytes of
	// JSON.
	maxProjected = 1 << 20
)

// Projection makes a value of another shape of a value. A nil one leaves it as it is.
type Projection struct {
	fields []projected // by name
	text   string
	schema *Schema // of the values that come out
}

// projected is a field of a projection.
type projected struct {
	name string
	// program is of the expression or, where that selects a field of a message, of what
	// it is selected from.
	program
	field protoreflect.FieldDescriptor // nil: the expression selects no such field
}

var fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Projection compiles a projection: shape gives the fields of the object that comes
// out, 1 to 64 of them, each a CEL expression over what filters know. Their names are
// identifiers of 1 to 64 bytes, and the expressions have at most 16 KiB together.
// field is where the shape stands, for the error, whose reason is InvalidFilter; one of
// an expression names it as field[name] and has `line` and `column`, from 1.
// Projections are not shared: each expression takes about as long as a filter does.
func (s *Schema) Projection(field string, shape map[string]string) (*Projection, error) {
	bad := func(format string, args ...any) error {
		return resource.Errorf(resource.InvalidFilter, format, args...).In(field)
	}
	size := 0
	for _, expr := range shape {
		size += len(expr)
	}
	switch {
	case len(shape) == 0:
		return nil, bad("the projection has no fields")
	case len(shape) > MaxProjectionFields:
		return nil, bad("the projection has %d fields, %d are allowed", len(shape), MaxProjectionFields)
	case size > MaxProjection:
		return nil, bad("the expressions of the projection have %d bytes, %d are allowed", size, MaxProjection)
	}
	p := &Projection{schema: s}
	if s.desc != nil {
		p.schema = &Schema{collection: s.collection, types: s.types, filters: &filters{}}
	}
	var text []string
	for _, name := range slices.Sorted(maps.Keys(shape)) {
		if !fieldName.MatchString(name) {
			return nil, bad("the field's name %s is not an identifier of 1 to 64 letters, digits and `_`", clipQuote(name))
		}
		f, err := s.projected(name, shape[name])
		if err != nil {
			return nil, err.In(field + "[" + name + "]")
		}
		p.fields = append(p.fields, f)
		text = append(text, name+"="+strconv.Quote(shape[name]))
	}
	p.text = strings.Join(text, " ")
	return p, nil
}

func (s *Schema) projected(name, expr string) (f projected, bad *resource.Error) {
	env, err := s.filters.environment()
	if err != nil {
		return f, resource.Errorf(resource.Internal, "projections cannot be compiled").Because(err)
	}
	a, plain, bad := check(env, "projection", expr)
	if bad != nil {
		return f, bad
	}
	root := a.Expr()
	if a.GetType(root.ID()).Kind() == types.TypeKind {
		return f, at(resource.Errorf(resource.InvalidFilter, "the projection yields a type, expected a value"), 1, 1)
	}
	f.name = name
	if f.field = s.selected(a); f.field != nil {
		a = ast.NewCheckedAST(ast.NewAST(root.AsSelect().Operand(), a.SourceInfo()), a.TypeMap(), a.ReferenceMap())
	}
	if f.program, err = plan(env, a, plain); err != nil {
		return f, at(resource.Errorf(resource.InvalidFilter, "%s", oneLine(err.Error())), 1, 1)
	}
	return f, nil
}

// selected gives the field of a message that an expression selects, nil if it is about
// something else. CEL knows less than its descriptor does: enumerations are plain ints,
// floats are doubles, and a message that is not set is an empty one, a time 1970.
func (s *Schema) selected(a *ast.AST) protoreflect.FieldDescriptor {
	e := a.Expr()
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return nil
	}
	holder := a.GetType(e.AsSelect().Operand().ID())
	if holder.Kind() != types.StructKind {
		return nil
	}
	mt, err := s.types.FindMessageByName(protoreflect.FullName(holder.TypeName()))
	if err != nil {
		return nil
	}
	return mt.Descriptor().Fields().ByName(protoreflect.Name(e.AsSelect().FieldName()))
}

// String gives a text that only projections of one schema have in common that give the
// same; empty if p is nil.
func (p *Projection) String() string {
	if p == nil {
		return ""
	}
	return p.text
}

// Apply gives v in its other shape, v itself if p is nil. v is a value of the
// projection's schema, or what a Mask or a Redaction left of one: only what is shown
// there can come out. What comes out is a JSON object without a schema, whatever v is,
// in the same collection and with the record of v but for the data. It is made when it
// is first asked for; filters and keys see it, and only a Residual sees v behind it.
//
// A field is left out where its expression fails, as it does for what is missing, costs
// too much, or yields what JSON cannot show; where it selects a field of a message that
// is not set, and can tell so; and where the object would have more than 1 MiB, the
// fields being taken by name. Of an enumeration's field the name is shown, not the
// number. ints and uints beyond 2^53 are strings, as are timestamps, durations, bytes
// (base64), NaN and the infinities, as in ProtoJSON, and messages are ProtoJSON.
func (p *Projection) Apply(v *Value) *Value {
	if p == nil {
		return v
	}
	rec := *v.Record()
	rec.Type, rec.Data = "", nil
	return &Value{schema: p.schema, rec: &rec, origin: v, projection: p}
}

// json makes the object of a value.
func (p *Projection) json(v *Value) []byte {
	w := &celWriter{schema: v.schema, out: make([]byte, 1, 256), most: maxProjected - 1}
	w.out[0] = '{'
	size := len(v.Record().Data)
	for i := range p.fields {
		f := &p.fields[i]
		start := len(w.out)
		w.out = append(append(append(w.out, '"'), f.name...), '"', ':')
		value := len(w.out)
		if !f.write(w, v, size) || len(w.out) > w.most || nesting(w.out[value:]) >= MaxDepth {
			w.out = w.out[:start]
			continue
		}
		w.out = append(w.out, ',')
	}
	if last := len(w.out) - 1; last > 0 {
		w.out[last] = '}'
		return w.out
	}
	return append(w.out, '}')
}

// write appends what the field is of a value that has size bytes. It says whether it
// could.
func (f *projected) write(w *celWriter, v *Value, size int) bool {
	out, ok := f.yields((*activation)(v), size)
	if !ok || f.field == nil {
		return ok && w.value(out, nil)
	}
	m, isMessage := out.Value().(proto.Message)
	from, ok := out.(traits.Indexer)
	if !isMessage || !ok {
		return false
	}
	holder := m.ProtoReflect()
	fd := holder.Descriptor().Fields().ByName(f.field.Name())
	switch {
	case fd == nil || fd.HasPresence() && !holder.Has(fd):
		return false
	case fd.Message() != nil && !fd.IsList() && fd.Message().FullName() == "google.protobuf.Any": // CEL takes out what it holds, if it knows the type
		return w.message(holder.Get(fd).Message().Interface())
	}
	return w.value(from.Get(types.String(fd.Name())), fd)
}
