package hub

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// selection is which changes of a collection a watch has, and in which shape:
// what makes two watches share a view.
type selection struct {
	collection string
	ids        []string // sorted, no id twice; nil: all
	filter     *schema.Filter
	mask       *schema.Mask
	scope      Scope
	every      bool // EVERY_CHANGE
	delta      bool
}

// exact says that the newest value of a name alone tells what to send: no filter
// and no access rule, so whoever held the name has seen it in every state.
func (s *selection) exact() bool { return s.filter == nil && s.scope.Whole() }

// partial says that less than the whole of a value may be shown.
func (s *selection) partial() bool { return s.mask != nil || s.scope.Redacts() || s.scope.Shapes() }

// has says whether a name can belong to the selection at all.
func (s *selection) has(id string) bool {
	if s.ids == nil {
		return true
	}
	_, found := slices.BinarySearch(s.ids, id)
	return found
}

// name gives the name of a resource as it is told.
func (s *selection) name(id string) string { return resource.Shared(s.collection) + "/" + id }

// in says whether a state belongs to the selection.
func (s *selection) in(v *schema.Value) bool {
	return v != nil && s.scope.Visible(v) && (s.filter == nil || s.filter.Matches(s.scope.Shown(v)))
}

// of gives what of a state is sent; nil: it does not belong to the selection.
func (s *selection) of(v *schema.Value) *schema.Value {
	if v == nil || !s.scope.Visible(v) {
		return nil
	}
	v = s.scope.Shown(v)
	if s.filter != nil && !s.filter.Matches(v) {
		return nil
	}
	return s.mask.Apply(s.scope.Shape(v))
}

// term gives a term without which a state does not belong to the selection. One of the
// filter is about what is shown, and finds nothing in what is stored.
func (s *selection) term() (schema.Term, bool) {
	if t, ok := s.scope.Term(); ok || s.scope.Redacts() {
		return t, ok
	}
	return s.filter.Term()
}

// viewKey tells selections apart: two that differ have different sums, as far as
// SHA-256 cut to half of it does.
type viewKey struct {
	sum   [16]byte
	delta bool
}

// key gives the selection's key, and the scope of its tokens, which delta does not
// change.
func (s *selection) key() (key viewKey, scope uint64) {
	var b []byte
	field := func(text string) {
		b = strconv.AppendInt(b, int64(len(text)), 10)
		b = append(append(b, ':'), text...)
	}
	field(s.collection)
	b = strconv.AppendInt(b, int64(len(s.ids)), 10)
	for _, id := range s.ids {
		field(id)
	}
	for _, text := range []string{s.filterText(), s.maskText(), s.scope.Key()} {
		field(text)
	}
	b = strconv.AppendBool(b, s.every)
	sum := sha256.Sum256(b)
	return viewKey{[16]byte(sum[:16]), s.delta}, binary.BigEndian.Uint64(sum[:])
}

func (s *selection) filterText() string {
	if s.filter == nil {
		return ""
	}
	return s.filter.String()
}

func (s *selection) maskText() string {
	if s.mask == nil {
		return ""
	}
	return s.mask.String()
}

func sortedIDs(ids []string) []string {
	if len(ids) == 0 {
		return nil
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

func every(d watchroutev1.Delivery) bool {
	return d == watchroutev1.Delivery_EVERY_CHANGE
}
