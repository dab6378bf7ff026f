package schema

import (
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// residualCache is how many residuals a rule keeps for callers to come.
const residualCache = 4096

// Residual is a rule for one caller. It is immutable, a few hundred bytes large, and
// shared by callers of whom the rule sees the same.
type Residual struct {
	shape *shape
	vals  []ref.Val // by slot; nil: not read
	key   string
	term  Term // no path: none
	// only: the residual is the term, and what stands at its path equals this string
	// or bool, or does not.
	only ref.Val
}

var (
	everybody = Residual{shape: newShape(alwaysNode)}
	nobody    = Residual{shape: newShape(neverNode), key: "never"}
)

func newResidual(r *Rule, sh *shape, vals []ref.Val, text []byte) *Residual {
	res := &Residual{shape: sh, vals: vals}
	if !sh.all {
		res.vals = make([]ref.Val, len(vals))
		for _, slot := range sh.used {
			res.vals[slot] = vals[slot]
		}
	}
	h := sha256.New()
	h.Write([]byte(strconv.Itoa(len(r.text)) + ":" + r.text))
	h.Write(text)
	res.key = base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
	for _, eq := range sh.terms {
		key := eq.key
		if eq.slot >= 0 {
			var ok bool
			if key, ok = keyOf(vals[eq.slot]); !ok {
				continue
			}
		}
		res.term = Term{eq.path, key}
		if sh.root.op == look && eq.slot >= 0 {
			switch vals[eq.slot].(type) {
			case types.String, types.Bool:
				res.only = vals[eq.slot]
			}
		}
		break
	}
	return res
}

// Always: everything may be seen, no value needs to be looked at.
func (r *Residual) Always() bool { return r.shape.root.op == always }

// Never: nothing may be seen.
func (r *Residual) Never() bool { return r.shape.root.op == never }

// Key is equal only for residuals that say the same of every value, also in another
// process; empty for Always. It depends on the rule's text and on what the residual
// needs to know of the caller: two with the same role share a key.
func (r *Residual) Key() string { return r.key }

// Term gives a term that the residual cannot do without, as Filter.Term: of
// data.customer_id == auth.sub it is data.customer_id == "alice".
func (r *Residual) Term() (Term, bool) { return r.term, r.term.Path != "" }

// Matches evaluates the residual on the whole value as it was written, whatever a
// Mask or a Redaction left of it. An evaluation that fails, costs too much or yields
// anything but true says no. A rule for writes that reads `old` or `request` fails.
func (r *Residual) Matches(v *Value) bool {
	switch {
	case r.Always():
		return true
	case r.Never():
		return false
	}
	v = v.original()
	if r.only != nil {
		return v.find(r.term.Path) == r.only
	}
	vars := r.shape.vars.Get().(*ruleVars)
	*vars = ruleVars{v: v, r: r}
	matches := r.shape.holds(vars, len(v.rec.Data))
	*vars = ruleVars{}
	r.shape.vars.Put(vars)
	return matches
}

// Write is a write that a rule is asked about.
type Write struct {
	// Data is the value that is to be written, or the present one where it is to be
	// deleted. It is the whole value as it was written, whatever was hidden of it.
	Data *Value
	Old  *Value // the present one; nil: none
	Request
}

// Allows evaluates the residual of a rule for writes, as Matches does.
func (r *Residual) Allows(w *Write) bool {
	switch {
	case r.Always():
		return true
	case r.Never():
		return false
	}
	vars := &ruleVars{v: w.Data.original(), r: r, write: w}
	size := len(vars.v.rec.Data)
	if w.Old != nil {
		vars.old = w.Old.original()
		size += len(vars.old.rec.Data)
	}
	return r.shape.holds(vars, size)
}

// ruleVars resolves the variables of what is left of a rule.
type ruleVars struct {
	v, old *Value
	r      *Residual
	write  *Write // nil: not asked about one
}

// ResolveName implements interpreter.Activation.
func (a *ruleVars) ResolveName(name string) (any, bool) {
	switch {
	case name[0] == '@':
		slot := 0
		for _, digit := range []byte(name[1:]) {
			slot = 10*slot + int(digit-'0')
		}
		return a.r.vals[slot], true
	case a.write != nil && name == "old":
		if a.old == nil {
			return types.NullValue, true
		}
		return a.old.celData(), true
	case a.write != nil && name == "request":
		return &a.write.Request, true
	}
	return (*activation)(a.v).ResolveName(name)
}

// Parent implements interpreter.Activation.
func (a *ruleVars) Parent() interpreter.Activation { return nil }

// residuals keeps the residuals that were lately asked for.
type residuals struct {
	known map[string]*list.Element
	order list.List // of *keptResidual, the most recently used first
}

type keptResidual struct {
	text string
	r    *Residual
}

func (rs *residuals) get(text []byte) *Residual {
	e := rs.known[string(text)]
	if e == nil {
		return nil
	}
	rs.order.MoveToFront(e)
	return e.Value.(*keptResidual).r
}

func (rs *residuals) keep(text string, r *Residual) {
	if rs.known == nil {
		rs.known = map[string]*list.Element{}
	}
	rs.known[text] = rs.order.PushFront(&keptResidual{text, r})
	if rs.order.Len() > residualCache {
		oldest := rs.order.Remove(rs.order.Back()).(*keptResidual)
		delete(rs.known, oldest.text)
	}
}

// appendCanonical appends a text that only values have in common that no expression
// tells apart.
func appendCanonical(dst []byte, v ref.Val) []byte {
	text := func(kind byte, s string) []byte {
		dst = strconv.AppendInt(append(dst, kind), int64(len(s)), 10)
		return append(append(dst, ':'), s...)
	}
	switch v := v.(type) {
	case types.String:
		return text('s', string(v))
	case types.Bytes:
		return text('b', string(v))
	case *types.Err:
		return append(dst, 'e')
	case traits.Mapper:
		var entries []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			entries = append(entries, string(appendCanonical(appendCanonical(nil, key), v.Get(key))))
		}
		slices.Sort(entries)
		dst = append(dst, '{')
		for _, entry := range entries {
			dst = append(dst, entry...)
		}
		return append(dst, '}')
	case traits.Lister:
		dst = append(dst, '[')
		for it := v.Iterator(); it.HasNext() == types.True; {
			dst = appendCanonical(dst, it.Next())
		}
		return append(dst, ']')
	}
	return text('o', v.Type().TypeName()+" "+fmt.Sprint(v.Value()))
}
