package schema

import (
	"strconv"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/watchroute/watchroute/internal/resource"
)

// Rule is a compiled access rule. Its expression is compiled once, with the parts
// that depend on the caller alone taken out: they are evaluated when a caller comes,
// and what is left of the rule for that caller shares its program with all others
// for whom the same is left.
type Rule struct {
	text  string
	build *builder
	root  *node
	asks  []cel.Program // the parts that depend on the caller alone, by slot
	whole program       // of root, where there are too many shapes

	mu        sync.Mutex // held for moments only
	shapes    map[string]*shape
	residuals residuals
}

// Rule compiles an access rule: an expression over what a filter knows and `auth`.
// With writes, `old` and `request` are known too, and it is asked with
// Residual.Allows. field is where the rule stands, for the error, whose reason is
// InvalidFilter and which has `line` and `column`, from 1. The limits are those of
// filters. Rules are not shared: compiling one takes about a millisecond.
func (s *Schema) Rule(field, expr string, writes bool) (*Rule, error) {
	if len(expr) > MaxFilter {
		return nil, resource.Errorf(resource.InvalidFilter, "the rule has %d bytes, %d are allowed", len(expr), MaxFilter).In(field)
	}
	base, err := s.filters.environment()
	if err != nil {
		return nil, resource.Errorf(resource.Internal, "rules cannot be compiled").Because(err).In(field)
	}
	env, err := ruleEnvironment(base, s.desc, writes)
	if err != nil {
		return nil, resource.Errorf(resource.Internal, "rules cannot be compiled").Because(err).In(field)
	}
	a, _, bad := checkBool(env, "rule", expr)
	if bad != nil {
		return nil, bad.In(field)
	}
	b := newBuilder(env, a)
	r := &Rule{text: expr, build: b, shapes: map[string]*shape{}}
	r.root, err = b.split(a.Expr(), true)
	if err == nil {
		r.asks = b.asks
		r.whole, err = b.program(r.root)
	}
	if err != nil {
		return nil, at(resource.Errorf(resource.InvalidFilter, "%s", oneLine(err.Error())), 1, 1).In(field)
	}
	return r, nil
}

// String gives the expression.
func (r *Rule) String() string { return r.text }

// For gives what is left of the rule for one caller; nil stands for one of whom
// nothing is known. It takes microseconds, and callers of whom the rule sees the
// same mostly share one residual. It keeps what it needs of auth, which must not be
// changed afterwards.
func (r *Rule) For(auth *Auth) *Residual {
	if auth == nil {
		auth = &Auth{}
	}
	vals := make([]ref.Val, len(r.asks))
	var space [32]byte
	outcomes := space[:0]
	for i, ask := range r.asks {
		out, _, err := ask.Eval((*authVars)(auth))
		if err != nil {
			out = types.WrapErr(err)
		}
		vals[i] = out
		outcomes = append(outcomes, outcomeOf(out))
	}
	sh := r.shapeOf(outcomes)
	switch sh.root.op {
	case always:
		return &everybody
	case never:
		return &nobody
	}
	text := append(make([]byte, 0, 128), sh.text...)
	for _, slot := range sh.used {
		text = appendCanonical(text, vals[slot])
	}
	r.mu.Lock()
	known := r.residuals.get(text)
	r.mu.Unlock()
	if known != nil {
		return known
	}
	made := newResidual(r, sh, vals, text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.residuals.get(text); known != nil { // somebody else was faster
		return known
	}
	r.residuals.keep(string(text), made)
	return made
}

// ruleShapes is for how many combinations of what callers may do a rule keeps a
// program.
const ruleShapes = 256

// shapeOf gives what is left of the rule where its asks come out like this.
func (r *Rule) shapeOf(outcomes []byte) *shape {
	r.mu.Lock()
	known, full := r.shapes[string(outcomes)], len(r.shapes) >= ruleShapes
	r.mu.Unlock()
	if known != nil {
		return known
	}
	sh := newShape(r.root.fold(outcomes))
	if full {
		sh.program, sh.all = r.whole, true
		return sh
	}
	if sh.root.op != always && sh.root.op != never {
		var err error
		if sh.program, err = r.build.program(sh.root); err != nil {
			sh.program, sh.all = r.whole, true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.shapes[string(outcomes)]; known != nil { // somebody else was faster
		return known
	}
	r.shapes[string(outcomes)] = sh
	return sh
}

// authVars resolves the variable of an ask.
type authVars Auth

// ResolveName implements interpreter.Activation.
func (a *authVars) ResolveName(name string) (any, bool) { return (*Auth)(a), name == "auth" }

// Parent implements interpreter.Activation.
func (a *authVars) Parent() interpreter.Activation { return nil }

// slotName is the variable that stands for an ask in what is left of a rule. No
// expression can name it.
func slotName(slot int) string { return "@" + strconv.Itoa(slot) }
