package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// In a run with access all principals are of one tenant; the operator is not.
const (
	accessTenant   = "t1"
	accessSecret   = "a secret that is known to the load generator only"
	accessSettings = `issuers:
  - issuer: peers
    audiences: [watchroute]
    secret-file: %s
    operator-role: operator
collections:
  - collection: ` + wrCollection + `
    rules:
      get: data.owner == auth.sub
      write: '"writer" in auth.roles'
`
	accessSize = 300
	accessRate = 2000 // writes a second
	accessCuts = 200  // principals that are revoked one after the other
)

// accessTotal is what all rounds with access, or all without, have measured.
type accessTotal struct {
	cpu        float64
	deliveries int64
	kib        float64 // of a watcher, the most
	lat        hist
}

// measureAccess compares watchers that a rule restricts to what is theirs with watchers
// whose own filter does, and then revokes who the former are.
func (c *curves) measureAccess() error {
	const cpu, latency, memory, cut = "access-cpu", "access-latency", "access-memory", "access-revocation"
	if room := openFiles() - 200; c.principals > room {
		c.note(cpu, "%d principals are left out: the limit on open files leaves room for %d", c.principals, room)
		return nil
	}
	c.about(point{Curve: cpu, Title: fmt.Sprintf("Server CPU of a delivery and its write, %d watchers of what is theirs (SSE)", c.principals), XLabel: "round", YLabel: "µs"})
	c.about(point{Curve: latency, Title: "Their latency", XLabel: "round", YLabel: "ms"})
	c.about(point{Curve: memory, Title: "Server memory of a watcher after GC", XLabel: "round", YLabel: "KiB"})
	c.about(point{Curve: cut, Title: fmt.Sprintf("From writing a revocation to the end of the stream, one of %d", c.principals), XLabel: "% of the streams", YLabel: "ms"})
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	secret, settings := filepath.Join(dir, "secret"), filepath.Join(dir, "access.yaml")
	err = errors.Join(os.WriteFile(secret, []byte(accessSecret), 0o600), os.WriteFile(settings, fmt.Appendf(nil, accessSettings, secret), 0o600))
	if err != nil {
		return err
	}
	names := []string{"filter", "access"}
	var totals [2]accessTotal
	var cuts, all []float64
	for round := 1; round <= c.rounds; round++ {
		for on, name := range names {
			flags := []string{"--connection-rate", "0", "--call-rate", "0"}
			if on == 1 {
				flags = append(flags, "--access", settings)
			}
			err := c.serve(func(s *watchroute) error {
				ctx, cancel := context.WithTimeout(c.ctx, 10*time.Minute)
				defer cancel()
				a := &accessRun{server: s, on: on == 1, streams: make([]*accessStream, c.principals)}
				defer a.close()
				r, err := a.deliver(ctx, c.secs, &totals[on])
				if r != nil {
					c.note(cpu, "round %d, %s: %d updates, %d deliveries; lost %d, doubled %d, out of order %d, somebody else's %d; opened in %.1f s; %s",
						round, name, r.Updates, r.Deliveries, r.Lost, r.Dup, r.OOO, a.foreign.Load(), r.SetupS, r.Notes)
				}
				if err != nil {
					return err
				}
				x := float64(round)
				c.point(cpu, name, x, r.CPUPerM)
				c.point(latency, name+", p50", x, r.P50)
				c.point(latency, name+", p99", x, r.P99)
				c.point(memory, name, x, r.KiBPerWatcherGC)
				if on == 0 {
					return nil
				}
				took, err := a.revokeSome(ctx)
				if err != nil {
					return err
				}
				cuts = append(cuts, took...)
				took, err = a.revokeAll(ctx)
				if err != nil {
					return err
				}
				all = append(all, took[len(took)-1])
				c.note(cut, "round %d: of %d streams that are revoked at once the first ends after %.0f ms, half of them after %.0f, the last after %.0f",
					round, len(took), took[0], took[len(took)/2], took[len(took)-1])
				return nil
			}, flags...)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round, name, err)
			}
		}
	}
	slices.Sort(cuts)
	at := func(percent int) float64 { return cuts[min(len(cuts)*percent/100, len(cuts)-1)] }
	for percent := range 101 {
		c.point(cut, "", float64(percent), at(percent))
	}
	for on, name := range names {
		t := &totals[on]
		c.note(cpu, "%s, all rounds: %.1f CPU s per million, p50 %.1f ms, p99 %.1f ms, %.2f KiB a watcher", name, t.perMillion(), t.lat.ms(.50), t.lat.ms(.99), t.kib)
	}
	c.note(cpu, "access costs %.2f times what the filter does", totals[1].perMillion()/totals[0].perMillion())
	c.note(cut, "%d revocations, one after the other: p50 %.1f ms, p99 %.1f ms, the longest %.1f ms; all at once: %.0f ms", len(cuts), at(50), at(99), at(100), slices.Max(all))
	return nil
}

func (t *accessTotal) perMillion() float64 { return t.cpu / float64(t.deliveries) * 1e6 }

// accessRun is one server with its watchers.
type accessRun struct {
	run
	server  *watchroute
	on      bool
	streams []*accessStream
	foreign atomic.Int64 // values that came to somebody whose they are not
}

// accessStream is one principal's watch of the collection.
type accessStream struct {
	*lifetime
	tracker
	owner []byte // as it stands in what is this principal's

	ended chan struct{} // closed after the last byte, once the rest is set
	said  string        // how the server ended it
	at    int64
}

func accessOwner(i int) string { return fmt.Sprintf("u%05d", i) }

// bearer makes a credential with HS256.
func bearer(subject, tenant string, roles ...string) string {
	enc := base64.RawURLEncoding.EncodeToString
	issued := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": "peers", "aud": "watchroute", "sub": subject, "tenant": tenant, "roles": roles, "iat": issued, "exp": issued + 3600})
	if err != nil {
		panic(err)
	}
	text := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc(claims)
	mac := hmac.New(sha256.New, []byte(accessSecret))
	mac.Write([]byte(text))
	return "Bearer " + text + "." + enc(mac.Sum(nil))
}

func presenting(ctx context.Context, credential string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", credential)
}

// open opens the watch of a principal: of the whole collection, with a filter or a
// credential.
func (a *accessRun) open(i int) error {
	owner := accessOwner(i)
	s := &accessStream{lifetime: newLifetime(), tracker: tracker{r: &a.run, id: i}, owner: fmt.Appendf(nil, `"owner":"%s"`, owner), ended: make(chan struct{})}
	q := url.Values{"delivery": {"EVERY_CHANGE"}, "from": {"NOW"}}
	credential := ""
	if a.on {
		credential = "Authorization: " + bearer(owner, accessTenant) + "\r\n"
	} else {
		q.Set("filter", fmt.Sprintf("data.owner == %q", owner))
	}
	a.streams[i] = s
	br, err := s.requestBy(new(net.Dialer), a.server.HTTP, "GET "+wrAllPath+"?"+q.Encode()+" HTTP/1.1\r\nAccept: text/event-stream\r\n"+credential, nil)
	if err != nil {
		return err
	}
	w := &wrSSEWatch{wrWatch: wrWatch{sink: func(line []byte) {
		if !bytes.Contains(line, s.owner) {
			a.foreign.Add(1)
		}
		s.sink(line)
	}}}
	if err := w.until("started", br); err != nil {
		return err
	}
	go s.follow(w, br)
	return nil
}

// follow reads to the last byte.
func (s *accessStream) follow(w *wrSSEWatch, br *bufio.Reader) {
	defer close(s.ended)
	err := w.until("", br)
	if string(w.event) == "closed" {
		s.said = err.Error()
		_, err = io.Copy(io.Discard, br)
	}
	s.at = now()
	s.fail(err)
}

func (s *accessStream) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (a *accessRun) close() {
	for _, s := range a.streams {
		if s != nil {
			s.cancel()
		}
	}
}

// deliver opens all watches, and writes to what is theirs at a rate. The CPU of a delivery
// is with that of its write, as in scenario s2.
func (a *accessRun) deliver(ctx context.Context, secs float64, total *accessTotal) (*Result, error) {
	n := len(a.streams)
	workers := min(64, n)
	pubs := make([]*wrPublisher, min(4, workers))
	for i := range pubs {
		pubs[i] = &wrPublisher{addr: a.server.GRPC}
		defer pubs[i].close()
	}
	if a.on {
		ctx = presenting(ctx, bearer("writer", accessTenant, "writer"))
	}
	seqs := make([]uint64, n) // of each owner; its worker only writes it
	var updates, late atomic.Int64
	put := func(worker, i int) error {
		seqs[i]++
		updates.Add(1)
		owner := accessOwner(i)
		value := append(fmt.Appendf(nil, `{"owner":"%s",`, owner), payload(accessSize-len(owner)-11, seqs[i], now())[1:]...)
		return pubs[worker%len(pubs)].Publish(ctx, owner, value)
	}
	publish := func(d time.Duration) error {
		begin, step := time.Now(), time.Duration(float64(workers)/accessRate*float64(time.Second))
		return each(workers, workers, func(w int) error {
			for due := begin.Add(step * time.Duration(w) / time.Duration(workers)); due.Sub(begin) < d; due = due.Add(step) {
				time.Sleep(time.Until(due))
				if time.Since(due) > step {
					late.Add(1)
				}
				if err := put(w, w+workers*rand.N((n-w+workers-1)/workers)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := each(workers, workers, func(w int) error {
		for i := w; i < n; i += workers {
			if err := put(w, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := &Result{N: n, Size: accessSize}
	before, begin := settled(a.server), time.Now()
	if err := each(n, 64, a.open); err != nil {
		return nil, err
	}
	r.SetupS = time.Since(begin).Seconds()
	r.KiBPerWatcherGC = (settled(a.server) - before) * 1024 / float64(n)
	updates.Store(0)
	if err := publish(time.Second); err != nil { // to warm up
		return nil, err
	}
	a.drain(ctx, updates.Load(), 2*time.Second)
	updates.Store(0)
	late.Store(0)
	first, d0 := slices.Clone(seqs), a.delivered.Load()
	h := new(hist)
	a.lat.Store(h)
	c0 := readCPU(a.server.Pid)
	if err := publish(time.Duration(secs * float64(time.Second))); err != nil {
		return nil, err
	}
	r.Updates = int(updates.Load())
	a.drain(ctx, d0+updates.Load(), 2*time.Second)
	c1 := readCPU(a.server.Pid)
	r.Deliveries = a.delivered.Load() - d0
	r.usage(c0, c1)
	r.P50, r.P99 = h.ms(.50), h.ms(.99)
	ended := 0
	for i, s := range a.streams {
		lost, dup, ooo := counts([]*tracker{&s.tracker}, first[i], func(int) uint64 { return seqs[i] })
		r.Lost, r.Dup, r.OOO = r.Lost+lost, r.Dup+dup, r.OOO+ooo
		if s.hasEnded() {
			ended++
		}
	}
	if late := late.Load(); int(late) > r.Updates/10 {
		r.note(fmt.Sprintf("the publisher was late for %d of %d updates", late, r.Updates))
	}
	if foreign := a.foreign.Load(); r.Lost+r.Dup+r.OOO > 0 || foreign > 0 || ended > 0 {
		return r, fmt.Errorf("not every update came once, in order, and to whom it belongs; %d streams have ended", ended)
	}
	total.cpu += r.ServerCPU
	total.deliveries += r.Deliveries
	total.kib = max(total.kib, r.KiBPerWatcherGC)
	total.lat.merge(h)
	return r, nil
}

// revoke writes a revocation as an operator does, and gives when it began.
func (a *accessRun) revoke(ctx context.Context, p *wrPublisher, id string, r *watchroutev1.Revocation) (t0 int64, err error) {
	cc, err := p.conn()
	if err != nil {
		return 0, err
	}
	data, err := anypb.New(r)
	if err != nil {
		return 0, err
	}
	t0 = now()
	return t0, cc.Invoke(ctx, wrService+"Put", &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: "system.revocations/" + id, Data: data}}, new(frame))
}

// took gives how long after t0 the stream of a revoked principal has ended, in ms.
func (s *accessStream) took(ctx context.Context, t0 int64) (float64, error) {
	select {
	case <-s.ended:
	case <-ctx.Done():
		return 0, fmt.Errorf("a revoked stream goes on: %w", ctx.Err())
	}
	if !strings.Contains(s.said, "CREDENTIAL_REVOKED") || s.Err() != nil {
		return 0, fmt.Errorf("a revoked stream ended otherwise: %q, %v", s.said, s.Err())
	}
	return float64(s.at-t0) / 1e6, nil
}

// revokeSome revokes some principals, one after the other, and checks that all others stay.
func (a *accessRun) revokeSome(ctx context.Context) (took []float64, err error) {
	ctx = presenting(ctx, bearer("root", "", "operator"))
	p := &wrPublisher{addr: a.server.GRPC}
	defer p.close()
	if _, err := a.revoke(ctx, p, "nobody", &watchroutev1.Revocation{Tenant: accessTenant, Target: &watchroutev1.Revocation_Subject{Subject: "nobody"}}); err != nil {
		return nil, err
	}
	some := rand.Perm(len(a.streams))[:min(accessCuts, len(a.streams)/2)]
	for _, i := range some {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		t0, err := a.revoke(ctx, p, accessOwner(i), &watchroutev1.Revocation{Tenant: accessTenant, Target: &watchroutev1.Revocation_Subject{Subject: accessOwner(i)}})
		if err == nil {
			var ms float64
			ms, err = a.streams[i].took(ctx, t0)
			took = append(took, ms)
		}
		cancel()
		if err != nil {
			return nil, err
		}
	}
	ended := 0
	for _, s := range a.streams {
		if s.hasEnded() {
			ended++
		}
	}
	if ended != len(some) {
		return nil, fmt.Errorf("%d principals were revoked, and %d streams have ended", len(some), ended)
	}
	return took, nil
}

// revokeAll revokes the tenant, and gives how long each of the streams that are still open
// takes, the shortest first.
func (a *accessRun) revokeAll(ctx context.Context) (took []float64, err error) {
	ctx, cancel := context.WithTimeout(presenting(ctx, bearer("root", "", "operator")), time.Minute)
	defer cancel()
	p := &wrPublisher{addr: a.server.GRPC}
	defer p.close()
	var open []*accessStream
	for _, s := range a.streams {
		if !s.hasEnded() {
			open = append(open, s)
		}
	}
	t0, err := a.revoke(ctx, p, "all", &watchroutev1.Revocation{Tenant: accessTenant, Target: &watchroutev1.Revocation_WholeTenant{WholeTenant: true}})
	if err != nil {
		return nil, err
	}
	for _, s := range open {
		ms, err := s.took(ctx, t0)
		if err != nil {
			return nil, err
		}
		took = append(took, ms)
	}
	slices.Sort(took)
	return took, nil
}
