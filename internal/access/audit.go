package access

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
)

// mostRecords is how many records wait to be written.
const mostRecords = 8192

// auditor writes records from a goroutine of its own: who decides does not wait for a
// disk or a pipe. What does not fit in is counted, and said as soon as there is room.
type auditor struct {
	handler slog.Handler // nil: nobody wants them
	records chan slog.Record
	lost    atomic.Uint64
	stop    chan struct{}
	done    sync.WaitGroup
	once    sync.Once
}

func newAuditor(l *slog.Logger) *auditor {
	a := &auditor{}
	if l == nil {
		return a
	}
	a.handler, a.records, a.stop = l.Handler(), make(chan slog.Record, mostRecords), make(chan struct{})
	a.done.Go(func() {
		for {
			select {
			case r := <-a.records:
				a.write(r)
			case <-a.stop:
				for len(a.records) > 0 {
					a.write(<-a.records)
				}
				return
			}
		}
	})
	return a
}

func (a *auditor) write(r slog.Record) {
	if n := a.lost.Swap(0); n > 0 {
		gap := slog.NewRecord(time.Now(), slog.LevelError, "lost", 0)
		gap.AddAttrs(slog.Uint64("records", n))
		_ = a.handler.Handle(context.Background(), gap) // there is nobody to tell
	}
	_ = a.handler.Handle(context.Background(), r)
}

func (a *auditor) add(r slog.Record) {
	select {
	case a.records <- r:
	default:
		a.lost.Add(1)
	}
}

// close writes what waits. What is added later is not written.
func (a *auditor) close() {
	if a.handler == nil {
		return
	}
	a.once.Do(func() { close(a.stop) })
	a.done.Wait()
}

// audit records what was decided, or what happened. Neither credentials nor values are
// part of it, ever.
func (c *Control) audit(what string, p *Principal, caller *Caller, args ...any) {
	if c.auditor.handler == nil {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, what, 0)
	r.AddAttrs(slog.String("subject", p.Subject), slog.String("tenant", p.Tenant), slog.String("method", p.Method.String()))
	if p.ID != "" {
		r.AddAttrs(slog.String("credential", p.ID))
	}
	if caller.address.IsValid() {
		r.AddAttrs(slog.String("address", caller.address.String()))
	}
	r.Add(args...)
	c.auditor.add(r)
}

// refused records a refusal.
func (c *Control) refused(caller *Caller, verb, collection, transport string, err error) {
	c.audit("refused", caller.Principal(), caller, "verb", verb, "collection", collection, "transport", transport, "reason", resource.AsError(err).Reason.String())
}

// Refused records that a guard has refused a write.
func (c *Control) Refused(ctx context.Context, collection, transport string, err error) {
	if caller := From(ctx); caller != nil {
		c.refused(caller, "write", collection, transport, err)
	}
}
