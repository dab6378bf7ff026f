package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// Config is what a Manager needs. Log and Schemas must be set.
type Config struct {
	Log     changelog.Log
	Schemas *schema.Registry
	// Connectors make sources, by the name of their field in watchroute.v1.Source.
	Connectors map[string]Connector
	// Sources are those of the configuration; those of system.sources with the same id win.
	Sources []*watchroutev1.Source
	// MaxValueBytes bounds the values that mappings make. Default: 1 MiB.
	MaxValueBytes int
	// Observer is told what sources do. Default: nobody is.
	Observer Observer
	// Logger gets what operators must know. Default: slog.Default().
	Logger *slog.Logger

	now func() time.Time
}

// Observer is told what sources do. Its methods must not block.
type Observer interface {
	// SourceTook: so many events are durable, which made changes, or dead letters, or had been
	// taken before.
	SourceTook(source string, events, changes, dead, duplicates int)
	// SourceIs gives a status that has changed, and SourceGone says that there is none any
	// more.
	SourceIs(*watchroutev1.SourceStatus)
	SourceGone(source string)
}

type nobody struct{}

func (nobody) SourceTook(string, int, int, int, int) {}
func (nobody) SourceIs(*watchroutev1.SourceStatus)   {}
func (nobody) SourceGone(string)                     {}

// Manager runs the sources of system.sources and of the configuration, from Start to
// Close.
type Manager struct {
	cfg         Config
	fixed       map[string]*watchroutev1.Source
	ctx         context.Context
	cancel      context.CancelFunc
	work        sync.WaitGroup
	unsubscribe func()
	signal      chan struct{}

	// runners and statuses are the follower's, but for the map of runners itself.
	statuses map[string]*status

	mu      sync.Mutex
	runners map[string]*runner
	dirty   map[string]struct{} // sources that may have changed
	replays map[string]struct{} // dead letters that somebody wants to be tried again
	begun   bool                // what there was at the start was seen to
}

// New makes a Manager. Its errors name the sources of the configuration that are wrong.
func New(cfg Config) (*Manager, error) {
	if cfg.Log == nil || cfg.Schemas == nil {
		return nil, errors.New("sources: Log and Schemas must be set")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if cfg.MaxValueBytes == 0 {
		cfg.MaxValueBytes = 1 << 20
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
	m := &Manager{cfg: cfg, fixed: map[string]*watchroutev1.Source{}, signal: make(chan struct{}, 1), statuses: map[string]*status{},
		runners: map[string]*runner{}, dirty: map[string]struct{}{}, replays: map[string]struct{}{}}
	var errs []error
	for i, s := range cfg.Sources {
		if _, err := cfg.compile(s); err != nil {
			errs = append(errs, within(err, fmt.Sprintf("sources[%d].", i)))
		}
		if m.fixed[s.GetSourceId()] != nil {
			errs = append(errs, resource.Errorf(resource.InvalidField, "the id %q is given twice", s.GetSourceId()).In(fmt.Sprintf("sources[%d].source_id", i)))
		}
		m.fixed[s.GetSourceId()] = s
	}
	return m, errors.Join(errs...)
}

// Start takes up the sources, and follows what becomes of them.
func (m *Manager) Start(ctx context.Context) error {
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.unsubscribe = m.cfg.Log.Subscribe(m.publish)
	for id := range m.fixed {
		m.dirty[id] = struct{}{}
	}
	// Statuses of sources that are gone go, too.
	for _, collection := range []string{Collection, StatusOf, DeadLettersOf} {
		if err := m.load(ctx, collection); err != nil {
			m.unsubscribe()
			m.cancel()
			return err
		}
	}
	m.see() // who posts to a source finds it as soon as the node is ready
	m.work.Go(m.follow)
	return nil
}

func (m *Manager) load(ctx context.Context, collection string) error {
	head := m.cfg.Log.Bounds(collection).Head
	if head == 0 {
		return nil
	}
	for rec, err := range m.cfg.Log.List(ctx, collection, "", head) {
		if err != nil {
			return fmt.Errorf("%s: %w", collection, err)
		}
		m.note(collection, rec)
	}
	return nil
}

// Close ends all sources. Nothing of them is under way when it returns.
func (m *Manager) Close() {
	if m.cancel == nil {
		return
	}
	m.unsubscribe()
	m.cancel()
	m.work.Wait()
	for _, r := range m.runners {
		r.stop()
	}
}

// publish is called by the log's sequencer.
func (m *Manager) publish(b *changelog.Batch) {
	if b.Collection != Collection && b.Collection != DeadLettersOf {
		return
	}
	for i := range b.Changes {
		m.note(b.Collection, b.Changes[i].New)
	}
	m.wake()
}

func (m *Manager) note(collection string, rec *changelog.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if collection != DeadLettersOf {
		m.dirty[rec.ID] = struct{}{}
		return
	}
	letter := new(watchroutev1.DeadLetter)
	if !rec.Absent && proto.Unmarshal(rec.Data, letter) == nil && letter.GetReplay() {
		m.replays[rec.ID] = struct{}{}
	}
}

func (m *Manager) wake() {
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// follow does what has changed, and writes statuses.
func (m *Manager) follow() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.signal:
		case <-tick.C:
		}
		m.see()
	}
}

// see does what has changed, once.
func (m *Manager) see() {
	m.mu.Lock()
	dirty, replays := m.dirty, m.replays
	m.dirty, m.replays = map[string]struct{}{}, map[string]struct{}{}
	m.mu.Unlock()
	for id := range dirty {
		m.retry("a source", id, m.dirty, m.reconcile(id))
	}
	for id := range replays {
		m.retry("a dead letter", id, m.replays, m.replay(id))
	}
	m.mu.Lock()
	m.begun = true
	m.mu.Unlock()
	m.tell()
}

// retry lets what failed be done again with the next tick.
func (m *Manager) retry(what, id string, again map[string]struct{}, err error) {
	if err == nil || m.ctx.Err() != nil {
		return
	}
	m.cfg.Logger.Error(what+" could not be seen to", "id", id, "error", err)
	m.mu.Lock()
	defer m.mu.Unlock()
	again[id] = struct{}{}
}

// read gives a source as it is now; nil: there is none.
func (m *Manager) read(id string) (*watchroutev1.Source, error) {
	rec, err := m.cfg.Log.Get(m.ctx, Collection, id, 0)
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.Absent {
		return m.fixed[id], nil
	}
	s := new(watchroutev1.Source)
	return s, proto.Unmarshal(rec.Data, s)
}

// reconcile runs a source as it is now.
func (m *Manager) reconcile(id string) error {
	s, err := m.read(id)
	if err != nil {
		return err
	}
	m.mu.Lock()
	r := m.runners[id]
	m.mu.Unlock()
	if r != nil && s != nil && proto.Equal(r.source, s) {
		return nil
	}
	if r != nil {
		r.stop()
	}
	if s == nil {
		m.mu.Lock()
		delete(m.runners, id)
		m.mu.Unlock()
		delete(m.statuses, id)
		m.cfg.Observer.SourceGone(id)
		_, err := m.cfg.Log.Write(m.ctx, changelog.Write{Collection: StatusOf, Ops: []changelog.Op{{ID: id, Delete: true}}})
		return err
	}
	st := m.statuses[id]
	if st == nil {
		st = newStatus(id, m.cfg.now, m.wake)
		m.statuses[id] = st
	}
	r = m.run(s, st)
	m.mu.Lock()
	m.runners[id] = r
	m.mu.Unlock()
	return nil
}

// tell writes the statuses that have changed.
func (m *Manager) tell() {
	var ops []changelog.Op
	var of []*status
	for id, st := range m.statuses {
		news := st.news()
		if news == nil {
			continue
		}
		m.cfg.Observer.SourceIs(news)
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(news)
		if err != nil { // an error's text that is not UTF-8
			news.Error = fmt.Sprintf("%q", news.GetError())
			data, _ = proto.MarshalOptions{Deterministic: true}.Marshal(news)
		}
		ops = append(ops, changelog.Op{ID: id, Type: string(news.ProtoReflect().Descriptor().FullName()), Data: data})
		of = append(of, st)
	}
	if len(ops) == 0 {
		return
	}
	if _, err := m.cfg.Log.Write(m.ctx, changelog.Write{Collection: StatusOf, Ops: ops}); err != nil {
		for _, st := range of {
			st.again()
		}
	}
}

// replay tries a dead letter again.
func (m *Manager) replay(id string) error {
	rec, err := m.cfg.Log.Get(m.ctx, DeadLettersOf, id, 0)
	if err != nil || rec == nil || rec.Absent {
		return err
	}
	letter := new(watchroutev1.DeadLetter)
	if err := proto.Unmarshal(rec.Data, letter); err != nil || !letter.GetReplay() {
		return err
	}
	a := &application{again: letter, event: &Event{Topic: letter.GetTopic(), Partition: letter.GetPartition(), Position: letter.GetPosition(), ID: letter.GetEventId(),
		Key: letter.GetKey(), Value: letter.GetValue(), Headers: letter.GetHeaders(), ContentType: letter.GetContentType()}}
	if letter.GetEventTime() != nil {
		a.event.Time = letter.GetEventTime().AsTime()
	}
	var u changelog.Unit
	s, err := m.read(letter.GetSourceId())
	if err != nil {
		return err
	}
	a.sink = &sink{cfg: &m.cfg, id: letter.GetSourceId()}
	if s == nil {
		u.Writes = []changelog.Write{a.letter(resource.Errorf(resource.NotFound, "there is no source %q any more", letter.GetSourceId()))}
	} else if a.sink.spec, err = m.cfg.compile(s); err != nil {
		u.Writes = []changelog.Write{a.letter(err)}
	} else {
		u = a.unit()
	}
	_, err = m.cfg.Log.WriteAll(m.ctx, []changelog.Unit{u}, nil)
	return err
}

// Handler gives what takes requests for a source, such as a webhook. The errors' reasons
// are NotFound, and StoreUnavailable where it does not run now.
func (m *Manager) Handler(id string) (http.Handler, error) {
	m.mu.Lock()
	r, begun := m.runners[id], m.begun
	m.mu.Unlock()
	if r != nil {
		if h := r.handler(); h != nil {
			return h, nil
		}
	}
	if r != nil && r.source.GetWebhook() == nil || r == nil && begun {
		return nil, resource.Errorf(resource.NotFound, "no source %q takes requests", id).With("name", Collection+"/"+id)
	}
	return nil, resource.Errorf(resource.StoreUnavailable, "the source %q does not run now", id).After(time.Second)
}

// Checks say what is wrong with what is to be written to the manager's collections, by
// collection, and set what is the server's to set.
func (m *Manager) Checks() map[string]func(context.Context, *changelog.Op) error {
	return map[string]func(context.Context, *changelog.Op) error{
		Collection:    m.checkSource,
		DeadLettersOf: m.checkDeadLetter,
		StatusOf: func(context.Context, *changelog.Op) error {
			return resource.Errorf(resource.PermissionDenied, "the server writes %s itself", StatusOf)
		},
	}
}

const data = "resource.data"

func (m *Manager) checkSource(_ context.Context, op *changelog.Op) error {
	s := new(watchroutev1.Source)
	if err := proto.Unmarshal(op.Data, s); err != nil {
		return err
	}
	if _, err := m.cfg.compile(s); err != nil {
		return within(err, data+".")
	}
	return nil
}

// checkDeadLetter lets a dead letter be replayed, and nothing else of it be changed.
func (m *Manager) checkDeadLetter(ctx context.Context, op *changelog.Op) error {
	want, letter := new(watchroutev1.DeadLetter), new(watchroutev1.DeadLetter)
	if err := proto.Unmarshal(op.Data, want); err != nil {
		return err
	}
	if !want.GetReplay() {
		return resource.Errorf(resource.InvalidField, "only replay can be set; deleting drops a dead letter").In(data + ".replay")
	}
	rec, err := m.cfg.Log.Get(ctx, DeadLettersOf, op.ID, 0)
	if err != nil {
		return err
	}
	if rec == nil || rec.Absent {
		return resource.Errorf(resource.NotFound, "there is no dead letter %q", op.ID).In("resource.name")
	}
	if err := proto.Unmarshal(rec.Data, letter); err != nil {
		return err
	}
	letter.Replay = true
	op.Labels = nil
	op.Data, err = proto.MarshalOptions{Deterministic: true}.Marshal(letter)
	return err
}
