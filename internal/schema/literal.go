package schema

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watchroute/watchroute/internal/resource"
)

// literals finds what of an expression cannot be the JSON of a message, as far as it is
// written out: maps and lists, and what types say. The rest is only known when an event
// comes. Its methods give nil where there is nothing to say.
type literals struct{ *ast.AST }

func (l literals) bad(e ast.Expr, format string, args ...any) *resource.Error {
	where := l.SourceInfo().GetStartLocation(e.ID())
	return at(resource.Errorf(resource.InvalidFilter, format, args...), where.Line(), where.Column()+1)
}

// each checks an expression, or, of a choice, what is chosen from.
func (l literals) each(e ast.Expr, check func(ast.Expr) *resource.Error) *resource.Error {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional {
		for _, branch := range e.AsCall().Args()[1:] {
			if bad := l.each(branch, check); bad != nil {
				return bad
			}
		}
		return nil
	}
	return check(e)
}

func (l literals) message(e ast.Expr, desc protoreflect.MessageDescriptor) *resource.Error {
	if wellKnown(desc) {
		return nil
	}
	return l.each(e, func(e ast.Expr) *resource.Error {
		if typ := l.GetType(e.ID()); typ.Kind() == types.StructKind && typ.TypeName() != string(desc.FullName()) {
			return l.bad(e, "%s is expected, not %s", desc.FullName(), typ.TypeName())
		}
		if e.Kind() != ast.MapKind {
			return nil
		}
		given := map[protoreflect.Name]bool{}
		for _, entry := range e.AsMap().Entries() {
			key := entry.AsMapEntry().Key()
			if key.Kind() != ast.LiteralKind {
				continue
			}
			name, ok := key.AsLiteral().(types.String)
			if !ok {
				return l.bad(key, "the name of a field is a string")
			}
			fd := fieldNamed(desc, string(name))
			if fd == nil {
				return l.bad(key, "%s has no field %s%s", desc.FullName(), clipQuote(string(name)), orNearest(string(name), desc))
			}
			if given[fd.Name()] {
				return l.bad(key, "the field %s stands there twice", fd.Name())
			}
			given[fd.Name()] = true
			if bad := l.field(entry.AsMapEntry().Value(), fd); bad != nil {
				return bad
			}
		}
		return nil
	})
}

func (l literals) field(e ast.Expr, fd protoreflect.FieldDescriptor) *resource.Error {
	if !fd.IsList() && !fd.IsMap() {
		return l.single(e, fd, fd)
	}
	return l.each(e, func(e ast.Expr) *resource.Error {
		typ, of := l.GetType(e.ID()), fd
		want := types.ListKind
		if fd.IsMap() {
			want, of = types.MapKind, fd.MapValue()
		}
		switch {
		case unknown(typ):
			return nil
		case typ.Kind() != want:
			return l.wrong(e, fd)
		case e.Kind() == ast.ListKind:
			for _, element := range e.AsList().Elements() {
				if bad := l.single(element, of, fd); bad != nil {
					return bad
				}
			}
		case e.Kind() == ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				if bad := l.single(entry.AsMapEntry().Value(), of, fd); bad != nil {
					return bad
				}
			}
		default:
			if in := typ.Parameters(); len(in) > 0 && !fits(in[len(in)-1], of) {
				return l.wrong(e, fd)
			}
		}
		return nil
	})
}

// single checks what is of, one value of the field fd.
func (l literals) single(e ast.Expr, of, fd protoreflect.FieldDescriptor) *resource.Error {
	return l.each(e, func(e ast.Expr) *resource.Error {
		if !fits(l.GetType(e.ID()), of) {
			return l.wrong(e, fd)
		}
		if of.Message() == nil {
			return nil
		}
		return l.message(e, of.Message())
	})
}

func (l literals) wrong(e ast.Expr, fd protoreflect.FieldDescriptor) *resource.Error {
	return l.bad(e, "the field %s is %s, not %s", fd.Name(), describeField(fd), cel.FormatCELType(l.GetType(e.ID())))
}

func wellKnown(desc protoreflect.MessageDescriptor) bool {
	return desc.FullName().Parent() == "google.protobuf"
}

// unknown says whether what has a type may be anything, or is null, which any field is.
func unknown(typ *cel.Type) bool {
	switch typ.Kind() {
	case types.DynKind, types.AnyKind, types.NullTypeKind, types.TypeParamKind, types.OpaqueKind:
		return true
	}
	return false
}

// fits says whether what has a type can be the JSON of one value of a field.
func fits(typ *cel.Type, fd protoreflect.FieldDescriptor) bool {
	if unknown(typ) {
		return true
	}
	kind := typ.Kind()
	number := kind == types.IntKind || kind == types.UintKind || kind == types.DoubleKind
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return kind == types.BoolKind
	case protoreflect.StringKind:
		return kind == types.StringKind || kind == types.TimestampKind || kind == types.DurationKind
	case protoreflect.BytesKind:
		return kind == types.BytesKind || kind == types.StringKind
	case protoreflect.EnumKind:
		return kind == types.StringKind || number
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return kind == types.MapKind || kind == types.StructKind || wellKnown(fd.Message())
	}
	return number || kind == types.StringKind
}
