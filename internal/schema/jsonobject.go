package schema

import (
	"bytes"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// manyMembers is from how many members on an object finds them by a map.
const manyMembers = 32

// jsonObject is a JSON object for CEL: the map that decode makes of it, but read only as
// far as somebody asks, which most mappings do for a few fields of many. What it gives
// out shares nothing with the text, but other objects do. Unlike that map it must not be
// used by two goroutines at once.
type jsonObject struct {
	raw     []byte
	depth   int
	next    int          // where the first member begins that is not in members
	members []jsonMember // in their order
	byName  map[string]int
}

type jsonMember struct {
	at, colon, end int32 // of the name in its quotes, behind that, and behind the value
	escaped        bool  // the name
	merged         bool  // for mergePatch
	val            ref.Val
}

// key gives the name in its quotes, value the text of the value.
func (o *jsonObject) key(m *jsonMember) []byte   { return o.raw[m.at:m.colon] }
func (o *jsonObject) value(m *jsonMember) []byte { return o.raw[m.colon+1 : m.end] }

// jsonVal gives a JSON value for CEL. It equals what decode gives.
func jsonVal(raw []byte, depth int) ref.Val {
	if len(raw) == 0 || depth > MaxDepth {
		return types.NullValue
	}
	switch raw[0] {
	case '{':
		return &jsonObject{raw: raw, depth: depth, next: 1}
	case '[':
		list := []ref.Val{}
		for v := range elements(raw) {
			list = append(list, jsonVal(v, depth+1))
		}
		return types.NewRefValList(types.DefaultTypeAdapter, list)
	case '"':
		return types.String(keyText(raw))
	}
	return types.DefaultTypeAdapter.NativeToValue(decode(raw, depth))
}

// more reads one more member; false: there is none.
func (o *jsonObject) more() bool {
	at := o.next
	if at >= len(o.raw) || o.raw[at] != '"' {
		return false
	}
	colon := skip(o.raw, at)
	end := skip(o.raw, colon+1)
	if o.next = end + 1; end < len(o.raw) && o.raw[end] != ',' {
		o.next = len(o.raw)
	}
	if end <= colon+1 {
		return false
	}
	if o.members == nil {
		o.members = make([]jsonMember, 0, 8)
	}
	o.members = append(o.members, jsonMember{at: int32(at), colon: int32(colon), end: int32(end), escaped: bytes.IndexByte(o.raw[at:colon], '\\') >= 0})
	if len(o.members) > manyMembers {
		o.note()
	}
	return true
}

// note puts the last member into the map, or all, if there is none yet.
func (o *jsonObject) note() {
	i := len(o.members) - 1
	if o.byName == nil {
		i, o.byName = 0, make(map[string]int, 4*manyMembers)
	}
	for ; i < len(o.members); i++ {
		o.byName[keyText(o.key(&o.members[i]))] = i
	}
}

func (o *jsonObject) named(m *jsonMember, name []byte) bool {
	key := o.key(m)
	if m.escaped {
		return keyText(key) == string(name)
	}
	return len(key) == len(name)+2 && bytes.Equal(key[1:len(key)-1], name)
}

// find gives a member; nil: there is none.
func (o *jsonObject) find(name []byte) *jsonMember {
	if o.byName != nil {
		if i, ok := o.byName[string(name)]; ok {
			return &o.members[i]
		}
	} else {
		for i := range o.members {
			if o.named(&o.members[i], name) {
				return &o.members[i]
			}
		}
	}
	for o.more() {
		if last := &o.members[len(o.members)-1]; o.named(last, name) {
			return last
		}
	}
	return nil
}

// FindStringKey gives the value of a member, as CEL asks for it where the name is a
// constant.
func (o *jsonObject) FindStringKey(name string) (any, bool) {
	m := o.find([]byte(name))
	if m == nil {
		return nil, false
	}
	if m.val == nil {
		m.val = jsonVal(o.value(m), o.depth+1)
	}
	return m.val, true
}

// Find implements traits.Mapper.
func (o *jsonObject) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, ok := o.FindStringKey(string(name))
	if !ok {
		return nil, false
	}
	return v.(ref.Val), true
}

// Get implements traits.Indexer.
func (o *jsonObject) Get(key ref.Val) ref.Val {
	v, ok := o.Find(key)
	if !ok {
		return types.ValOrErr(v, "no such key: %v", key)
	}
	return v
}

// Contains implements traits.Container.
func (o *jsonObject) Contains(key ref.Val) ref.Val {
	name, ok := key.(types.String)
	return types.Bool(ok && o.find([]byte(name)) != nil)
}

// Size implements traits.Sizer.
func (o *jsonObject) Size() ref.Val {
	for o.more() {
	}
	return types.Int(len(o.members))
}

// IsZeroValue implements traits.Zeroer.
func (o *jsonObject) IsZeroValue() bool { return len(o.members) == 0 && !o.more() }

// Iterator implements traits.Iterable.
func (o *jsonObject) Iterator() traits.Iterator {
	o.Size()
	names := make([]ref.Val, len(o.members))
	for i := range names {
		names[i] = types.String(keyText(o.key(&o.members[i])))
	}
	return types.NewRefValList(types.DefaultTypeAdapter, names).Iterator()
}

// Equal implements ref.Val.
func (o *jsonObject) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || o.Size() != m.Size() {
		return types.False
	}
	for i := range o.members {
		name := types.String(keyText(o.key(&o.members[i])))
		theirs, ok := m.Find(name)
		if !ok {
			return types.False
		}
		if ours, _ := o.Find(name); types.Equal(ours, theirs) == types.False {
			return types.False
		}
	}
	return types.True
}

// Type implements ref.Val.
func (o *jsonObject) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (o *jsonObject) Value() any { return decode(o.raw, o.depth) }

// ConvertToNative implements ref.Val.
func (o *jsonObject) ConvertToNative(to reflect.Type) (any, error) {
	return types.DefaultTypeAdapter.NativeToValue(o.Value()).ConvertToNative(to)
}

// ConvertToType implements ref.Val.
func (o *jsonObject) ConvertToType(to ref.Type) ref.Val {
	if to == types.MapType {
		return o
	}
	return types.DefaultTypeAdapter.NativeToValue(o.Value()).ConvertToType(to)
}

// String is for messages of errors.
func (o *jsonObject) String() string { return string(o.raw) }
