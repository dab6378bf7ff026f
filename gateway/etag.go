package gateway

import (
	"net/http"
	"strings"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// etags is an If-Match or If-None-Match header (RFC 9110, section 13.1).
type etags struct {
	any  bool // `*`
	tags []string
}

func (e *etags) empty() bool { return !e.any && len(e.tags) == 0 }

// match says whether the header names a state. Weak validators count as strong
// ones: a proxy that compresses makes ours weak, and they name the same state.
func (e *etags) match(etag string) bool {
	for _, t := range e.tags {
		if t == etag {
			return true
		}
	}
	return e.any
}

func parseETags(h http.Header, name string) (e etags, err error) {
	bad := func() (etags, error) {
		return etags{}, resource.Errorf(resource.InvalidField, `the header %s is not * or etags in quotes, such as "1k2j3"`, name).In(name)
	}
	rest := strings.TrimSpace(strings.Join(h.Values(name), ","))
	if rest == "*" {
		return etags{any: true}, nil
	}
	for rest != "" {
		quoted, isQuoted := strings.CutPrefix(strings.TrimPrefix(rest, "W/"), `"`)
		tag, after, ok := strings.Cut(quoted, `"`)
		if !isQuoted || !ok {
			return bad()
		}
		e.tags = append(e.tags, tag)
		rest = strings.TrimLeft(after, " \t")
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return bad()
		}
		rest = strings.TrimLeft(rest, ", \t")
	}
	return e, nil
}

// precondition adds what the headers demand to what a write's parameters demand.
func (c *call) precondition(p *watchroutev1.Precondition) (*watchroutev1.Precondition, error) {
	if c.ifMatch.empty() && c.ifNoneMatch.empty() {
		return p, nil
	}
	field := "If-Match"
	if c.ifMatch.empty() {
		field = "If-None-Match"
	}
	switch {
	case !c.ifMatch.empty() && !c.ifNoneMatch.empty():
		return nil, resource.Errorf(resource.InvalidField, "If-Match and If-None-Match exclude each other").In(field)
	case p.GetCondition() != nil:
		return nil, resource.Errorf(resource.InvalidField, "%s and the parameter precondition exclude each other", field).In(field)
	case c.ifNoneMatch.any:
		return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}, nil
	case !c.ifNoneMatch.empty():
		return nil, resource.Errorf(resource.InvalidField, "If-None-Match of a write must be *").In(field)
	case c.ifMatch.any || len(c.ifMatch.tags) != 1:
		return nil, resource.Errorf(resource.InvalidField, "If-Match takes one etag").In(field)
	}
	return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Etag{Etag: c.ifMatch.tags[0]}}, nil
}

// noConditions refuses the headers where nothing would heed them.
func (c *call) noConditions() error {
	if c.ifMatch.empty() && c.ifNoneMatch.empty() {
		return nil
	}
	return resource.Errorf(resource.InvalidField, "a batch takes its preconditions with its operations, not as headers").In("If-Match")
}
