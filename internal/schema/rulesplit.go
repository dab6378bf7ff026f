package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// node is part of a rule as a tree of questions, each of which is answered by yes or
// no: whether an expression yields true, or, with want unset, whether it yields
// false. One that fails yields neither. That turns CEL's logic, which has failures
// as a third value, into plain logic without negation: it is true that a || b is
// false where it is true that a is false and that b is.
type node struct {
	op    op
	want  bool     // of ask and look
	kids  []*node  // of all, some and choose
	expr  ast.Expr // of ask, look and choose's condition
	slot  int      // of ask and choose's condition
	index int      // of look: which one it is
	slots []int    // of look: what it reads of the caller
	equal *equal   // of look; nil: not a comparison that has a term
}

type op byte

const (
	always op = 'T'
	never  op = 'F'
	all    op = '&'
	some   op = '|'
	choose op = '?' // the condition depends on the caller alone
	ask    op = 'a' // depends on the caller alone
	look   op = 'l' // looks at the value
)

// equal compares what a path leads to with a constant, or with what is in a slot.
type equal struct {
	path Path
	slot int // -1: none
	key  Key
}

// builder takes a checked rule apart, and makes programs of its parts.
type builder struct {
	env   *cel.Env
	ast   *ast.AST
	fac   ast.ExprFactory
	maxID int64
	asks  []cel.Program
	looks int
}

func newBuilder(env *cel.Env, a *ast.AST) *builder {
	return &builder{env: env, ast: a, fac: ast.NewExprFactory(), maxID: ast.MaxID(a)}
}

// split turns an expression into a node. Parts that depend on the caller alone
// become variables in it.
func (b *builder) split(e ast.Expr, want bool) (*node, error) {
	if b.needs(e, nil)&needsOther == 0 {
		slot, err := b.hoist(e)
		return &node{op: ask, want: want, expr: e, slot: slot}, err
	}
	if e.Kind() != ast.CallKind {
		return b.look(e, want)
	}
	args := e.AsCall().Args()
	n := &node{}
	switch name := e.AsCall().FunctionName(); {
	case name == operators.LogicalNot:
		return b.split(args[0], !want)
	case name == operators.LogicalAnd || name == operators.LogicalOr:
		n.op = some
		if (name == operators.LogicalAnd) == want {
			n.op = all
		}
	case name == operators.Conditional && b.needs(args[0], nil)&needsOther == 0:
		slot, err := b.hoist(args[0])
		if err != nil {
			return nil, err
		}
		n.op, n.expr, n.slot = choose, args[0], slot
		args = args[1:]
	default:
		return b.look(e, want)
	}
	for _, arg := range args {
		kid, err := b.split(arg, want)
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
	}
	return n, nil
}

func (b *builder) look(e ast.Expr, want bool) (*node, error) {
	first := len(b.asks)
	if err := b.hoistIn(e); err != nil {
		return nil, err
	}
	n := &node{op: look, want: want, expr: e, index: b.looks}
	b.looks++
	for slot := first; slot < len(b.asks); slot++ {
		n.slots = append(n.slots, slot)
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Equals {
		n.equal = b.equal(e.AsCall().Args(), n.slots)
	}
	return n, nil
}

func (b *builder) equal(args []ast.Expr, slots []int) *equal {
	for i, arg := range args {
		path, ok := pathOf(arg)
		if !ok {
			continue
		}
		eq := &equal{path: Path(strings.Join(path, pathSeparator)), slot: -1}
		other := args[1-i]
		if len(slots) == 1 && other.Kind() == ast.IdentKind && other.AsIdent() == slotName(slots[0]) {
			eq.slot = slots[0]
			return eq
		}
		if eq.key, ok = constant(b.ast, other); ok {
			return eq
		}
	}
	return nil
}

// What an expression needs to be evaluated.
const (
	needsAuth = 1 << iota
	needsOther
)

// needs finds the variables of an expression. local are those that comprehensions
// in it have introduced.
func (b *builder) needs(e ast.Expr, local []string) (needs int) {
	if e.Kind() == ast.IdentKind {
		name := e.AsIdent()
		r := b.ast.ReferenceMap()[e.ID()]
		switch {
		case slices.Contains(local, name) || r != nil && r.Value != nil || b.ast.GetType(e.ID()).Kind() == types.TypeKind:
			return 0
		case name == "auth":
			return needsAuth
		}
		return needsOther
	}
	if e.Kind() == ast.ComprehensionKind {
		c := e.AsComprehension()
		inside := append(slices.Clone(local), c.IterVar(), c.IterVar2(), c.AccuVar())
		needs = b.needs(c.IterRange(), local) | b.needs(c.AccuInit(), local)
		return needs | b.needs(c.LoopCondition(), inside) | b.needs(c.LoopStep(), inside) | b.needs(c.Result(), inside)
	}
	for _, child := range children(e) {
		needs |= b.needs(child, local)
	}
	return needs
}

// children gives the expressions that one is made of.
func children(e ast.Expr) (out []ast.Expr) {
	switch e.Kind() {
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.CallKind:
		if call := e.AsCall(); call.IsMemberFunction() {
			return append([]ast.Expr{call.Target()}, call.Args()...)
		}
		return e.AsCall().Args()
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			out = append(out, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		return []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()}
	}
	return out
}

// hoistIn makes variables of the largest parts that depend on the caller alone.
// Variables of a comprehension around a part count as something else.
func (b *builder) hoistIn(e ast.Expr) error {
	if b.needs(e, nil) == needsAuth {
		_, err := b.hoist(e)
		return err
	}
	if e.Kind() == ast.ComprehensionKind {
		if c := e.AsComprehension(); c.IterVar() == "auth" || c.IterVar2() == "auth" {
			return fmt.Errorf("a variable of a macro cannot be named auth")
		}
	}
	for _, child := range children(e) {
		if err := b.hoistIn(child); err != nil {
			return err
		}
	}
	return nil
}

// hoist makes a program of an expression, and a variable of the expression.
func (b *builder) hoist(e ast.Expr) (slot int, err error) {
	p, err := b.plan(b.fac.CopyExpr(e))
	if err != nil {
		return 0, err
	}
	run := p.metered
	if p.plain != nil {
		run = p.plain
	}
	slot = len(b.asks)
	b.asks = append(b.asks, run)
	e.SetKindCase(b.fac.NewIdent(e.ID(), slotName(slot)))
	b.ast.SetReference(e.ID(), ast.NewIdentReference(slotName(slot), nil))
	if b.ast.GetType(e.ID()).Kind() == types.TypeKind { // CEL takes such a variable for the name of a type
		b.ast.SetType(e.ID(), types.DynType)
	}
	return slot, nil
}

// program makes a program of a node, which must not be one without a question.
func (b *builder) program(n *node) (program, error) {
	id := b.maxID
	return b.plan(b.expr(n, &id))
}

func (b *builder) plan(e ast.Expr) (program, error) {
	plain, err := inspect("rule", e)
	if err != nil {
		return program{}, err
	}
	return plan(b.env, ast.NewCheckedAST(ast.NewAST(e, b.ast.SourceInfo()), b.ast.TypeMap(), b.ast.ReferenceMap()), plain)
}

// expr gives an expression that yields true where the answer is yes.
func (b *builder) expr(n *node, id *int64) ast.Expr {
	call := func(function string, args ...ast.Expr) ast.Expr {
		*id++
		return b.fac.NewCall(*id, function, args...)
	}
	if n.op == ask || n.op == look {
		if n.want {
			return n.expr
		}
		return call(operators.LogicalNot, n.expr)
	}
	args := make([]ast.Expr, 0, len(n.kids)+1)
	if n.op == choose {
		args = append(args, n.expr)
	}
	for _, kid := range n.kids {
		args = append(args, b.expr(kid, id))
	}
	switch n.op {
	case all:
		return call(operators.LogicalAnd, args...)
	case some:
		return call(operators.LogicalOr, args...)
	}
	return call(operators.Conditional, args...)
}

// Outcomes of an ask.
const (
	yes    = 'T'
	no     = 'F'
	failed = 'E'
	other  = '.'
)

func outcomeOf(v ref.Val) byte {
	switch {
	case v == types.True:
		return yes
	case v == types.False:
		return no
	case types.IsUnknownOrError(v):
		return failed
	}
	return other
}

var (
	alwaysNode = &node{op: always}
	neverNode  = &node{op: never}
)

func constantNode(yes bool) *node {
	if yes {
		return alwaysNode
	}
	return neverNode
}

// fold gives what is left of a node when the asks have come out, by slot.
func (n *node) fold(outcomes []byte) *node {
	switch n.op {
	case ask:
		want := byte(no)
		if n.want {
			want = yes
		}
		return constantNode(outcomes[n.slot] == want)
	case look:
		if n.equal != nil && n.equal.slot >= 0 && outcomes[n.equal.slot] == failed {
			return neverNode
		}
		return n
	case choose:
		switch outcomes[n.slot] {
		case yes:
			return n.kids[0].fold(outcomes)
		case no:
			return n.kids[1].fold(outcomes)
		}
		return neverNode
	}
	ends, drops := never, always
	if n.op == some {
		ends, drops = always, never
	}
	var kids []*node
	for _, kid := range n.kids {
		switch kid = kid.fold(outcomes); {
		case kid.op == ends:
			return kid
		case kid.op == drops:
		case kid.op == n.op:
			kids = append(kids, kid.kids...)
		default:
			kids = append(kids, kid)
		}
	}
	switch len(kids) {
	case 0:
		return constantNode(drops == always)
	case 1:
		return kids[0]
	}
	return &node{op: n.op, kids: kids}
}

// shape is what is left of a rule for all callers of whom its asks say the same.
type shape struct {
	root *node
	text string // equal for equal shapes of one rule
	used []int  // the slots that it reads
	// terms are comparisons that it cannot do without; those with what is known of
	// the caller, which tell more, come first.
	terms []*equal
	program
	all  bool // the program reads every slot
	vars sync.Pool
}

func newShape(root *node) *shape {
	sh := &shape{root: root, vars: sync.Pool{New: func() any { return new(ruleVars) }}}
	var text []byte
	var walk func(n *node)
	walk = func(n *node) {
		if n.op == look {
			text = strconv.AppendBool(strconv.AppendInt(text, int64(n.index), 10), n.want)
			sh.used = append(sh.used, n.slots...)
			return
		}
		text = append(text, byte(n.op), '(')
		for _, kid := range n.kids {
			walk(kid)
			text = append(text, ' ')
		}
		text = append(text, ')')
	}
	walk(root)
	sh.text = string(text)

	needed := []*node{root}
	if root.op == all {
		needed = root.kids
	}
	for _, n := range needed {
		if n.op == look && n.want && n.equal != nil {
			sh.terms = append(sh.terms, n.equal)
		}
	}
	slices.SortStableFunc(sh.terms, func(a, b *equal) int { return cmp.Compare(min(b.slot, 0), min(a.slot, 0)) })
	return sh
}
