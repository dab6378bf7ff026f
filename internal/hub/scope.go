package hub

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
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
func (s *selection) exact() bool { return s.filter == nil && s.scope.Key() == "" }

// has says whether a name can belong to the selection at all.
func (s *selection) has(id string) bool {
	if s.ids == nil {
		return true
	}
	_, found := slices.BinarySearch(s.ids, id)
	return found
}

// in says whether a state belongs to the selection.
func (s *selection) in(v *schema.Value) bool {
	return v != nil && s.scope.Visible(v) && (s.filter == nil || s.filter.Matches(v))
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
