package hub

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Limits of watch requests.
const (
	MaxNames       = 1000
	MaxMinInterval = time.Hour
	MinHeartbeat   = time.Second
	MaxHeartbeat   = 10 * time.Minute
)

// selection checks what a request selects, but for its filter and for what access makes
// of it.
func (h *Hub) selection(tenant string, r *watchroutev1.WatchRequest) (s selection, err error) {
	if s.collection, s.ids, err = Names(r.GetParent(), r.GetNames()); err != nil {
		return s, err
	}
	s.collection = resource.Of(tenant, s.collection)
	values := h.cfg.Schemas.Schema(s.collection)
	if s.mask, err = values.Mask("read_mask", r.GetReadMask().GetPaths()); err != nil {
		return s, err
	}
	if s.mask != nil && r.GetProjection() != "" {
		return s, resource.Errorf(resource.InvalidField, "a read_mask and a projection exclude each other").In("projection")
	}
	if err := checkChoices(r); err != nil {
		return s, err
	}
	s.every, s.delta = every(r.GetDelivery()), r.GetDelta()
	return s, nil
}

// Names checks parent and names of a watch request and gives the collection and
// the ids, sorted; no ids: the whole collection.
func Names(parent string, names []string) (collection string, ids []string, err error) {
	if len(names) == 0 || parent != "" {
		if err := resource.CheckCollection("parent", parent); err != nil {
			return "", nil, err
		}
	}
	if len(names) > MaxNames {
		return "", nil, resource.Errorf(resource.InvalidField, "%d names are given, %d are allowed", len(names), MaxNames).In("names")
	}
	collection = parent
	for i, text := range names {
		field := fmt.Sprintf("names[%d]", i)
		name, err := resource.ParseName(field, text)
		if err != nil {
			return "", nil, err
		}
		if collection == "" {
			collection = name.Collection
		}
		if name.Collection != collection {
			return "", nil, resource.Errorf(resource.InvalidName, "%s is not in the collection %s; one watch is on one collection", name, collection).In(field)
		}
		ids = append(ids, name.ID)
	}
	return collection, sortedIDs(ids), nil
}

// checkChoices refuses values that the contract does not know: a newer client means
// something that this server would not do.
func checkChoices(r *watchroutev1.WatchRequest) error {
	for _, c := range []struct {
		field string
		value protoreflect.Enum
	}{{"delivery", r.GetDelivery()}, {"on_expired", r.GetOnExpired()}, {"from", r.GetFrom()}} {
		if c.value.Descriptor().Values().ByNumber(c.value.Number()) == nil {
			return resource.Errorf(resource.InvalidField, "%d is not a value of %s", c.value.Number(), c.value.Descriptor().Name()).In(c.field)
		}
	}
	return nil
}

// pace checks the times that a request asks for.
func (w *Watch) pace(r *watchroutev1.WatchRequest) (err error) {
	if w.minInterval, err = duration("min_interval", r.GetMinInterval(), 0, 0, MaxMinInterval); err != nil {
		return err
	}
	w.heartbeat, err = duration("heartbeat", r.GetHeartbeat(), w.hub.cfg.Heartbeat, MinHeartbeat, MaxHeartbeat)
	w.failExpired = r.GetOnExpired() == watchroutev1.OnExpired_FAIL
	return err
}

func duration(field string, d *durationpb.Duration, unset, least, most time.Duration) (time.Duration, error) {
	if d == nil {
		return unset, nil
	}
	if v := d.AsDuration(); d.CheckValid() == nil && v >= least && v <= most {
		return v, nil
	}
	return 0, resource.Errorf(resource.InvalidField, "%v is not between %v and %v", d.AsDuration(), least, most).In(field)
}
