package server

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

// List implements ResourceService.List.
func (s *Service) List(ctx context.Context, r *watchroutev1.ListRequest) (*watchroutev1.ListResponse, error) {
	collection := r.GetParent()
	if err := resource.CheckCollection("parent", collection); err != nil {
		return nil, err
	}
	if r.GetPageSize() < 0 {
		return nil, resource.Errorf(resource.InvalidField, "the page size is %d; 1 to %d, or 0 for %d", r.GetPageSize(), MaxPageSize, DefaultPageSize).In("page_size")
	}
	key, scope, grant, err := s.scope(ctx, collection, hub.List, r.GetProjection())
	if err != nil {
		return nil, err
	}
	if err := s.mustExist("parent", key); err != nil {
		return nil, err
	}
	values := s.cfg.Schemas.Schema(collection)
	filter, err := s.cfg.Hub.Filter(ctx, grant, values, r.GetFilter())
	if err != nil {
		return nil, err
	}
	page := pageToken{epoch: s.cfg.Log.Epoch(), query: queryHash(collection, r.GetFilter(), r.GetProjection())}
	if r.GetPageToken() != "" {
		if err := page.parse(r.GetPageToken()); err != nil {
			return nil, err
		}
	} else {
		if err := s.cfg.Hub.AwaitRevision(ctx, key, r.GetMinRevision()); err != nil {
			return nil, err
		}
		page.revision = s.cfg.Log.Bounds(key).Head
	}
	size := int(min(r.GetPageSize(), MaxPageSize))
	if size == 0 {
		size = DefaultPageSize
	}
	out := &watchroutev1.ListResponse{Revision: page.revision, ResumeToken: s.cfg.Hub.ListToken(ctx, key, r.GetProjection(), filter, page.revision)}
	if page.revision == 0 {
		return out, nil
	}
	search := func() error { return nil }
	if filter != nil {
		look, err := s.cfg.Hub.Look(ctx, grant, filter)
		if err != nil {
			return nil, err
		}
		defer look.End()
		search = func() error { return look.Next(ctx) }
	}
	begun, looked := page.after, page.after
	for rec, err := range s.cfg.Log.List(ctx, key, page.after, page.revision) {
		if resource.HasReason(err, resource.Compacted) && r.GetPageToken() != "" {
			return nil, resource.Errorf(resource.Compacted, "the revision that the pages are of is no longer retained; list anew").In("page_token")
		}
		if err != nil {
			return nil, err
		}
		if err := search(); err != nil {
			if looked == begun || !resource.HasReason(err, resource.LimitReached) {
				return nil, err
			}
			page.after = looked // the page is shorter (AIP-158)
			out.NextPageToken = page.String()
			break
		}
		looked = rec.ID
		v := values.Value(rec)
		if !scope.Visible(v) {
			continue
		}
		if v = scope.Shown(v); filter != nil && !filter.Matches(v) {
			continue
		}
		if len(out.Resources) == size {
			out.NextPageToken = page.String()
			break
		}
		out.Resources = append(out.Resources, s.resource(ctx, scope.Shape(v)))
		page.after = rec.ID
	}
	return out, nil
}

// pageToken is where a list goes on.
type pageToken struct {
	epoch    uint64
	query    uint64 // hash of what is listed
	revision uint64 // that all pages are of
	after    string // the last id of the page before
}

func queryHash(collection, filter, projection string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(collection + "\x00" + filter + "\x00" + projection))
	return h.Sum64()
}

// pageTokenVersion begins a page token; no resume token begins so.
const pageTokenVersion = 'p'

// String gives the opaque form.
func (t *pageToken) String() string {
	b := []byte{pageTokenVersion}
	for _, n := range []uint64{t.epoch, t.query, t.revision} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, t.after...))
}

// parse reads the opaque form; epoch and query must be those of t.
func (t *pageToken) parse(text string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= 25 || b[0] != pageTokenVersion || resource.CheckID("", string(b[25:])) != nil {
		return resource.Errorf(resource.InvalidToken, "not a page token of this service").In("page_token")
	}
	b = b[1:]
	if binary.BigEndian.Uint64(b) != t.epoch {
		return resource.Errorf(resource.EpochChanged, "the page token is from another life of the log; list anew").In("page_token")
	}
	if binary.BigEndian.Uint64(b[8:]) != t.query {
		return resource.Errorf(resource.InvalidToken, "the page token belongs to a list with another parent, filter or projection").In("page_token")
	}
	t.revision, t.after = binary.BigEndian.Uint64(b[16:]), string(b[24:])
	return nil
}
