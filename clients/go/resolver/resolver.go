package resolver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

// Scheme is that of the targets.
const Scheme = "watchroute"

// Builder implements resolver.Builder, for grpc.WithResolvers. Its fields are not changed
// once it is used.
type Builder struct {
	// Client watches. It must be set.
	Client *watchroute.Client
	// Filter gives the CEL expression that selects the resources of a service. Default:
	// `data.service == "SERVICE"`.
	Filter func(service string) string
	// Addresses gives the addresses, HOST:PORT, that a value holds. Default: its string
	// `address`, where it has one.
	Addresses func(value json.RawMessage) []string
	// Options are further ones of the watch.
	Options []watchroute.WatchOption
}

// Scheme implements resolver.Builder.
func (b *Builder) Scheme() string { return Scheme }

// Build implements resolver.Builder. An error means that the target or the options are
// wrong.
func (b *Builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	collection, service, _ := strings.Cut(strings.TrimPrefix(target.URL.Path, "/"), "/")
	if b.Client == nil || collection == "" {
		return nil, errors.New("resolver: a client and a target such as watchroute:///COLLECTION/SERVICE are needed")
	}
	options := b.Options
	if service != "" {
		filter := b.Filter
		if filter == nil {
			filter = ofService
		}
		options = append(slices.Clone(options), watchroute.Filter(filter(service)))
	}
	r := &watching{conn: cc, addresses: b.Addresses, changed: make(chan struct{}, 1), done: make(chan struct{})}
	if r.addresses == nil {
		r.addresses = addressOf
	}
	var err error
	r.mirror, err = watchroute.NewMirror(context.Background(), b.Client, collection, watchroute.MirrorConfig[json.RawMessage]{
		OnChange: func(watchroute.Change[json.RawMessage]) {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		},
	}, options...)
	if err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

func ofService(service string) string { return "data.service == " + strconv.Quote(service) }

func addressOf(value json.RawMessage) []string {
	var endpoint struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(value, &endpoint); err != nil || endpoint.Address == "" {
		return nil
	}
	return []string{endpoint.Address}
}

// watching is the resolver of one connection.
type watching struct {
	mirror    *watchroute.Mirror[json.RawMessage]
	conn      resolver.ClientConn
	addresses func(json.RawMessage) []string
	changed   chan struct{}
	done      chan struct{}

	last []string
}

// run tells the connection of addresses until the mirror ends.
func (r *watching) run() {
	defer close(r.done)
	if r.mirror.Synced(context.Background()) == nil {
		r.update(true)
	}
	for {
		select {
		case <-r.changed:
			r.update(false)
		case <-r.mirror.Done():
			r.conn.ReportError(r.mirror.Err())
			return
		}
	}
}

// update tells the addresses, if they are others than before.
func (r *watching) update(first bool) {
	var now []string
	for _, endpoint := range r.mirror.List() {
		now = append(now, r.addresses(endpoint.Value)...)
	}
	slices.Sort(now)
	now = slices.Compact(now)
	if !first && slices.Equal(now, r.last) {
		return
	}
	r.last = now
	state := resolver.State{}
	for _, address := range now {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	_ = r.conn.UpdateState(state) // of no address: the connection says so to its calls
}

// ResolveNow implements resolver.Resolver: there is nothing to ask for.
func (r *watching) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements resolver.Resolver.
func (r *watching) Close() {
	r.mirror.Close()
	<-r.done
}
