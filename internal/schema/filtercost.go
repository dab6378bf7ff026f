package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
	"google.golang.org/protobuf/proto"
)

// A filter comes from a stranger and runs where changes are handed to everybody
// else, on values that the same stranger may have written. CEL's own accounting
// does not suffice: it charges a call when the call is over, and takes the
// comparison of two lists, the size of a string or a time zone for constant. The
// functions here refuse a call that would be too dear before it is made, and
// charge the others for what they take.
const (
	// filterCost bounds one evaluation, in units of roughly 100 ns.
	filterCost = 100_000
	// plainSize is up to which size of a value a plain filter runs without
	// accounting, which takes longer than most filters do.
	plainSize = 4096
	// unit is how many bytes are read for one unit of cost.
	unit = 16
	// maxPattern is how large the patterns of one filter may be together, in
	// instructions.
	maxPattern = 2000
	// maxNesting is how deep a filter may nest. CEL's type checker takes a time
	// that grows with the third power of it.
	maxNesting = 40
	// zoneCost is what it costs to look up a time zone.
	zoneCost = 500
	// boundedMatches is the function and overload that `matches` becomes.
	boundedMatches = "bounded_matches"
	// sortedKeys is the function that gives the keys of a map in order, and anything
	// else as it is. No expression can name it.
	sortedKeys = "@sorted"
	// sortCost is what each key costs then.
	sortCost = 4
)

// inspect refuses what filters may not do, and says whether one is plain: it takes
// a time that grows with its length and the size of the value, and no faster.
func inspect(noun string, root ast.Expr) (plain bool, err error) {
	plain = true
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			plain = false
		case ast.StructKind:
			err = fmt.Errorf("a %s cannot make a message (%s)", noun, e.AsStruct().TypeName())
		case ast.CallKind:
			call := e.AsCall()
			switch call.FunctionName() {
			case operators.Add, sortedKeys:
				plain = false
			case overloads.Matches:
				plain = false
				args := call.Args()
				if last := args[len(args)-1]; last.Kind() != ast.LiteralKind {
					err = fmt.Errorf("the pattern of matches must be a constant")
				}
			}
		}
	}))
	return plain, err
}

// sortRanges makes macros go through the keys of maps in order. Go gives them in
// another one each time, and so would map() and filter(), or an evaluation that ends at
// a failure or at its limit.
func sortRanges(a *ast.AST) {
	fac, id := ast.NewExprFactory(), ast.MaxID(a)
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.ComprehensionKind {
			return
		}
		over := e.AsComprehension().IterRange()
		typ := a.GetType(over.ID())
		if typ.Kind() == types.ListKind {
			return
		}
		id++
		moved := fac.NewUnspecifiedExpr(id)
		moved.SetKindCase(over)
		a.SetType(id, typ)
		if r := a.ReferenceMap()[over.ID()]; r != nil {
			a.SetReference(id, r)
		}
		over.SetKindCase(fac.NewCall(over.ID(), sortedKeys, moved))
		a.SetType(over.ID(), types.DynType)
		a.SetReference(over.ID(), ast.NewFunctionReference(sortedKeys))
	}))
}

// keysInOrder is the function sortedKeys.
func keysInOrder(args ...ref.Val) ref.Val {
	m, ok := args[0].(traits.Mapper)
	if !ok {
		return args[0]
	}
	if sortCost*length(m) > filterCost {
		return types.NewErr("the operation costs too much")
	}
	keys := make([]ref.Val, 0, length(m))
	for it := m.Iterator(); it.HasNext() == types.True; {
		keys = append(keys, it.Next())
	}
	slices.SortFunc(keys, func(a, b ref.Val) int {
		if n := strings.Compare(a.Type().TypeName(), b.Type().TypeName()); n != 0 {
			return n
		}
		if c, ok := a.(traits.Comparer); ok {
			if n, ok := c.Compare(b).(types.Int); ok {
				return int(n)
			}
		}
		return 0
	})
	return types.NewRefValList(types.DefaultTypeAdapter, keys)
}

// metered gives the options of a program that is bounded.
func metered() []cel.ProgramOption {
	m := &meter{patterns: map[string]int{}}
	return []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize),
		cel.CostTracking(m),
		cel.CostLimit(filterCost),
		cel.CustomDecoratorV2(m.bound),
	}
}

// meter prices the calls of one program.
type meter struct {
	patterns map[string]int // their sizes; written while planning, then read
	total    int
}

// bound puts a check before the calls that could take more than a time linear in
// their arguments, or make something larger than these.
func (m *meter) bound(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if ok && call.Function() == sortedKeys {
		return interpreter.NewCall(call.ID(), sortedKeys, sortedKeys, call.Args(), keysInOrder), nil
	}
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	checked := func(price func(a, b ref.Val) int, run func(a, b ref.Val) ref.Val) interpreter.InterpretableV2 {
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
			if price(args[0], args[1]) > filterCost {
				return types.NewErr("the operation costs too much")
			}
			return run(args[0], args[1])
		})
	}
	switch call.Function() {
	case operators.Equals:
		return checked(equalCost, types.Equal), nil
	case operators.NotEquals:
		return checked(equalCost, func(a, b ref.Val) ref.Val {
			if eq, ok := types.Equal(a, b).(types.Bool); ok {
				return !eq
			}
			return types.True
		}), nil
	case operators.In:
		return checked(inCost, func(a, b ref.Val) ref.Val {
			if c, ok := b.(traits.Container); ok {
				return c.Contains(a)
			}
			return types.MaybeNoSuchOverloadErr(b)
		}), nil
	case operators.Add:
		return checked(addCost, func(a, b ref.Val) ref.Val {
			if sum, ok := a.(traits.Adder); ok {
				return sum.Add(b)
			}
			return types.MaybeNoSuchOverloadErr(a)
		}), nil
	case overloads.Matches:
		return m.boundMatches(call)
	}
	return i, nil
}

func (m *meter) boundMatches(call interpreter.InterpretableCall) (interpreter.InterpretableV2, error) {
	c, _ := call.Args()[1].(interpreter.InterpretableConst)
	if c == nil {
		return nil, fmt.Errorf("the pattern of matches must be a constant")
	}
	pattern, ok := c.Value().(types.String)
	if !ok {
		return nil, fmt.Errorf("the pattern of matches must be a string")
	}
	tree, err := syntax.Parse(string(pattern), syntax.Perl)
	if err != nil {
		return nil, err
	}
	size := patternSize(tree)
	if m.total += size; m.total > maxPattern {
		return nil, fmt.Errorf("the pattern %s is too large", clipQuote(string(pattern)))
	}
	re, err := regexp.Compile(string(pattern))
	if err != nil {
		return nil, err
	}
	m.patterns[string(pattern)] = size
	return interpreter.NewCall(call.ID(), boundedMatches, boundedMatches, call.Args(), func(args ...ref.Val) ref.Val {
		text, ok := args[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(args[0])
		}
		if matchCost(size, text) > filterCost {
			return types.NewErr("the operation costs too much")
		}
		return types.Bool(re.MatchString(string(text)))
	}), nil
}

// CallCost implements cost.ActualCostEstimator. Calls on values whose types are
// only known now have no overload, and CEL takes all of them for constant.
func (m *meter) CallCost(function, overload string, args []ref.Val, _ ref.Val) *uint64 {
	n := 1
	switch function {
	case operators.Equals, operators.NotEquals:
		n = equalCost(args[0], args[1])
	case operators.In:
		n = inCost(args[0], args[1])
	case operators.Add:
		n = addCost(args[0], args[1])
	case sortedKeys:
		if m, ok := args[0].(traits.Mapper); ok {
			n += sortCost * length(m)
		}
	case boundedMatches:
		text, _ := args[0].(types.String)
		pattern, _ := args[1].(types.String)
		n = matchCost(m.patterns[string(pattern)], text)
	case overloads.Contains, overloads.StartsWith, overloads.EndsWith:
		if overload != "" {
			return nil
		}
	default:
		for _, arg := range args {
			n += shallow(arg) - 1
		}
		if len(args) == 2 && strings.HasPrefix(function, "get") { // getHours("Europe/Paris")
			n += zoneCost
		}
	}
	price := uint64(n)
	return &price
}

// patternSize is about how many instructions a pattern takes. Its counted
// repetitions are not expanded to find out.
func patternSize(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n += len(re.Rune)
	case syntax.OpCharClass: // looked up by bisection
		n += len(re.Rune) / 64
	}
	for _, sub := range re.Sub {
		n += patternSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

func matchCost(program int, text types.String) int { return 1 + program*len(text)/8 }

// addCost is what it costs to put two strings or lists together.
func addCost(a, b ref.Val) int {
	if _, ok := a.(traits.Lister); ok {
		return 1 + (length(a)+length(b))/unit
	}
	return shallow(a) + shallow(b)
}

// equalCost is what it costs to compare: as much as the lighter one weighs.
func equalCost(a, b ref.Val) int {
	if composite(a) && composite(b) {
		return weigh(b, weigh(a, filterCost))
	}
	return min(shallow(a), shallow(b))
}

// inCost is what it costs to look for a in b.
func inCost(a, b ref.Val) int {
	if _, ok := b.(traits.Mapper); ok {
		return 1
	}
	n := length(b)
	if composite(a) {
		return weigh(b, filterCost)
	}
	return 1 + n*shallow(a)
}

func composite(v ref.Val) bool {
	switch v.(type) {
	case traits.Lister, traits.Mapper:
		return true
	}
	_, ok := v.Value().(proto.Message)
	return ok
}

func length(v ref.Val) int {
	if s, ok := v.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok {
			return int(n)
		}
	}
	return 1
}

func shallow(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return 1 + len(v)/unit
	case types.Bytes:
		return 1 + len(v)/unit
	}
	return 1
}

// weigh walks through a value until it weighs more than most.
func weigh(v ref.Val, most int) int {
	n := shallow(v)
	switch c := v.(type) {
	case traits.Mapper:
		for it := c.Iterator(); it.HasNext() == types.True && n <= most; {
			key := it.Next()
			n += shallow(key)
			if value, ok := c.Find(key); ok {
				n += weigh(value, most-n)
			}
		}
	case traits.Lister:
		for it := c.Iterator(); it.HasNext() == types.True && n <= most; {
			n += weigh(it.Next(), most-n)
		}
	default:
		if m, ok := v.Value().(proto.Message); ok {
			n += proto.Size(m) / (unit / 4)
		}
	}
	return n
}
