package access

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/watchroute/watchroute/gen/go/shop/v1" // the collection orders
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// world is a Control, a hub that asks it, and their log.
type world struct {
	t       *testing.T
	log     *local.Log
	schemas *schema.Registry
	control *Control
	hub     *hub.Hub
	screen  *screen
	root    *Caller // an operator
}

// setup is what a world is made of.
type setup struct {
	ControlConfig
	ring int64 // of the hub: what is older is read from the log
}

// inWorld runs a test in virtual time, with credentials required.
func inWorld(t *testing.T, test func(*world), change ...func(*setup)) {
	t.Helper()
	_ = ecKey() // not in the bubble
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change...)
		test(w)
	})
}

func newWorld(t *testing.T, change ...func(*setup)) *world {
	t.Helper()
	w := &world{t: t, log: changelogtest.NewMem(t), screen: &screen{}, schemas: must(schema.NewRegistry(protoregistry.GlobalFiles))}
	issuer := fromFile(t, ecKey().Public())
	issuer.OperatorRole = "root"
	cfg := setup{ControlConfig: ControlConfig{Log: w.log, Schemas: w.schemas, Required: true, Credentials: Config{Issuers: []Issuer{issuer}},
		Logger: slog.New(slog.NewTextHandler(w.screen, nil))}}
	for _, c := range change {
		c(&cfg)
	}
	w.start(cfg)
	w.root = w.caller(jwt.MapClaims{"sub": "root", "roles": "root"})
	return w
}

func (w *world) start(cfg setup) {
	w.t.Helper()
	var err error
	if w.control, err = New(w.t.Context(), cfg.ControlConfig); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.control.Close)
	if w.hub, err = hub.New(hub.Config{Log: w.log, Schemas: w.schemas, Access: w.control, RingBytes: cfg.ring}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.hub.Close)
	w.control.Attach(w.hub)
}

// token makes a JWT that counts here.
func token(claims jwt.MapClaims) string {
	return sign(jwt.SigningMethodES256, ecKey(), nil, claimsOf(claims))
}

// caller is who presents a token with some claims; nil: nobody.
func (w *world) caller(claims jwt.MapClaims, change ...func(*Presented)) *Caller {
	w.t.Helper()
	var in Presented
	if claims != nil {
		in.Secret = token(claims)
	}
	for _, c := range change {
		c(&in)
	}
	return w.enters(in)
}

// named is a caller of a subject.
func (w *world) named(subject string) *Caller {
	w.t.Helper()
	return w.caller(jwt.MapClaims{"sub": subject})
}

func (w *world) enters(in Presented) *Caller {
	w.t.Helper()
	c, err := w.control.Enter(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// refusesToEnter checks that a call is refused.
func (w *world) refusesToEnter(in Presented, reason resource.Reason) {
	w.t.Helper()
	if _, err := w.control.Enter(w.t.Context(), in); !resource.HasReason(err, reason) {
		w.t.Errorf("Enter: got %v, want %v", err, reason)
	}
}

func at(address string) func(*Presented) {
	return func(p *Presented) { p.Address = netip.MustParseAddr(address) }
}

func namingTenant(tenant string) func(*Presented) {
	return func(p *Presented) { p.Tenant = tenant }
}

// put writes a value to the log, as somebody would whom nobody asks; "" deletes it.
func (w *world) put(collection, id, json string) uint64 {
	w.t.Helper()
	return w.store(collection, changelog.Op{ID: id, Data: []byte(json), Delete: json == ""})
}

// set writes a message to the log, around Check. nil deletes it.
func (w *world) set(collection, id string, m proto.Message) uint64 {
	w.t.Helper()
	if m == nil {
		return w.store(collection, changelog.Op{ID: id, Delete: true})
	}
	return w.store(collection, opOf(id, m))
}

func opOf(id string, m proto.Message) changelog.Op {
	return changelog.Op{ID: id, Type: string(m.ProtoReflect().Descriptor().FullName()), Data: must(proto.MarshalOptions{Deterministic: true}.Marshal(m))}
}

func opJSON(id, json string) changelog.Op { return changelog.Op{ID: id, Data: []byte(json)} }

func deletion(id string) changelog.Op { return changelog.Op{ID: id, Delete: true} }

func (w *world) store(collection string, op changelog.Op) uint64 {
	w.t.Helper()
	res, err := w.log.Write(w.t.Context(), changelog.Write{Collection: collection, Ops: []changelog.Op{op}})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.Revision
}

// policy sets who may do what, as an operator does.
func (w *world) policy(p *watchroutev1.CollectionAccess) {
	w.t.Helper()
	if err := w.write(w.root, CollectionsCollection, opOf(p.GetCollection(), p)); err != nil {
		w.t.Fatal(err)
	}
}

// write is a write as a server does it.
func (w *world) write(c *Caller, collection string, op changelog.Op) error {
	return w.writeOver(c, "grpc", collection, op)
}

func (w *world) writeOver(c *Caller, transport, collection string, op changelog.Op) error {
	ctx := With(w.t.Context(), c)
	ops := []changelog.Op{op}
	guard, _, err := w.control.Guard(ctx, collection, transport)
	if err != nil {
		return err
	}
	if err := w.control.Check(ctx, collection, ops); err != nil {
		return err
	}
	_, err = w.log.Write(ctx, changelog.Write{Collection: resource.Of(c.Tenant(), collection), Ops: ops, Guard: guard})
	return err
}

// reading is a policy whose rule is asked whatever somebody wants to read.
func reading(collection, rule string) *watchroutev1.CollectionAccess {
	return &watchroutev1.CollectionAccess{Collection: collection, Rules: &watchroutev1.AccessRules{Get: rule}}
}

// own lets everybody see what is theirs, and auditors see all.
const own = `data.owner == auth.sub || "auditor" in auth.roles`

// list gives what a caller sees of a collection beside watches, as a server does it.
func (w *world) list(c *Caller, verb hub.Verb, collection string) (map[string]string, error) {
	w.t.Helper()
	collection = resource.Of(c.Tenant(), collection)
	s, _, err := w.hub.Scope(With(w.t.Context(), c), hub.Call{Collection: collection, Verb: verb})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for rec, err := range w.log.List(w.t.Context(), collection, "", w.log.Bounds(collection).Head) {
		if err != nil {
			w.t.Fatal(err)
		}
		if v := w.schemas.Schema(collection).Value(rec); s.Visible(v) {
			out[rec.ID] = string(s.Shown(v).JSON())
		}
	}
	return out, nil
}

// reads checks what a caller gets and lists: `id json`, by id.
func (w *world) reads(c *Caller, collection string, want ...string) {
	w.t.Helper()
	for _, verb := range []hub.Verb{hub.Get, hub.List} {
		found, err := w.list(c, verb, collection)
		if err != nil {
			w.t.Errorf("%s: %v", verbs[verb], err)
			continue
		}
		var got []string
		for id, text := range found {
			got = append(got, id+" "+text)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			w.t.Errorf("%s:\ngot  %q\nwant %q", verbs[verb], got, want)
		}
	}
}

// stream is a watch, with what it has said.
type stream struct {
	t     *testing.T
	world *world
	w     *hub.Watch
	text  string // all that it said, ever
	lines []string
	token string
	err   error
}

func (w *world) open(c *Caller, transport string, r *watchroutev1.WatchRequest) (*stream, error) {
	ctx := With(w.t.Context(), c)
	tenant, err := w.control.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	watch, err := w.hub.Open(ctx, hub.Request{Watch: r, Tenant: tenant, Codec: lines{}, Transport: transport})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { watch.Close(nil) })
	return &stream{t: w.t, world: w, w: watch}, nil
}

func (w *world) watch(c *Caller, collection string, change ...func(*watchroutev1.WatchRequest)) *stream {
	w.t.Helper()
	r := &watchroutev1.WatchRequest{Parent: collection}
	for _, f := range change {
		f(r)
	}
	s, err := w.open(c, "grpc", r)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// refusesWatch checks that a watch is refused, and gives the error.
func (w *world) refusesWatch(c *Caller, collection string, reason resource.Reason) *resource.Error {
	w.t.Helper()
	_, err := w.open(c, "grpc", &watchroutev1.WatchRequest{Parent: collection})
	if !resource.HasReason(err, reason) {
		w.t.Errorf("watching %s: got %v, want %v", collection, err, reason)
		return &resource.Error{}
	}
	return resource.AsError(err)
}

func resuming(token string) func(*watchroutev1.WatchRequest) {
	return func(r *watchroutev1.WatchRequest) {
		r.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}
	}
}

func filtered(filter string) func(*watchroutev1.WatchRequest) {
	return func(r *watchroutev1.WatchRequest) { r.Filter = filter }
}

// read takes all that the watch has to say until nothing in the world moves any more.
func (s *stream) read() {
	s.t.Helper()
	synctest.Wait()
	for s.err == nil {
		frames, err := s.w.Next(nil, hub.Unlimited)
		for _, f := range frames {
			s.text += string(f.Bytes)
			for line := range strings.Lines(string(f.Bytes)) {
				line = strings.TrimSuffix(line, "\n")
				if token, ok := strings.CutPrefix(line, "token "); ok {
					s.token = token
				} else {
					s.lines = append(s.lines, line)
				}
			}
		}
		if err != nil {
			s.err = err
			s.w.Close(err)
		}
		if len(frames) == 0 {
			return
		}
	}
}

// says checks what the watch has said since it was asked before.
func (s *stream) says(want ...string) {
	s.t.Helper()
	s.read()
	if s.err != nil {
		s.t.Errorf("the watch has ended: %v", s.err)
	}
	if !slices.Equal(s.lines, want) {
		s.t.Errorf("got  %q\nwant %q", s.lines, want)
	}
	s.lines = nil
}

// begins checks the snapshot.
func (s *stream) begins(want ...string) {
	s.t.Helper()
	s.says(append(append([]string{"started SNAPSHOT"}, want...), "snapshot_end")...)
}

// restarts checks the snapshot after a reset for access.
func (s *stream) restarts(want ...string) {
	s.t.Helper()
	s.says(append(append([]string{"reset ACCESS"}, want...), "snapshot_end")...)
}

// ends checks that the watch is over, and that it has said nothing before.
func (s *stream) ends(reason resource.Reason) {
	s.t.Helper()
	s.read()
	if !resource.HasReason(s.err, reason) || len(s.lines) > 0 {
		s.t.Errorf("got %v after %q, want %v", s.err, s.lines, reason)
	}
}

// lines is a codec for people.
type lines struct{}

func (lines) Name() string { return "lines" }
func (lines) Joins() bool  { return false }

func (lines) Append(dst []byte, m *hub.Message) []byte {
	switch m.Kind {
	case hub.Started:
		dst = fmt.Appendf(dst, "started %s\n", m.Mode)
	case hub.Reset:
		dst = fmt.Appendf(dst, "reset %s\n", m.Reason)
	case hub.Events:
		for i := range m.Events {
			e := &m.Events[i]
			_, id, _ := strings.Cut(e.Name, "/")
			dst = fmt.Appendf(dst, "%s %s@%d", e.Cause, id, e.Revision)
			if e.Value != nil {
				dst = fmt.Appendf(dst, " %s", e.Value.JSON())
			}
			if e.Updated != nil {
				dst = fmt.Appendf(dst, " of %s", e.Updated)
			}
			dst = append(dst, '\n')
		}
	default:
		dst = fmt.Appendf(dst, "%s\n", m.Kind)
	}
	if m.Token != "" {
		dst = fmt.Appendf(dst, "token %s\n", m.Token)
	}
	return dst
}
