package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// params are the load generator's flags.
type params struct {
	Scenario string
	Mode     string        // s1, s2: rate or max
	N        int           // watchers (s5: concurrent new watchers)
	Conns    int           // connections that the watchers share; 0: one each
	Rate     float64       // s1, s2 with Mode rate: updates a second offered
	Window   int           // s1, s2 with Mode max: updates in flight
	Secs     float64       // measured publishing time
	Size     int           // value size in bytes
	Updates  int           // s4: updates missed; s5: items in the collection
	Dials    int           // connections opened at once
	Idle     time.Duration // s3: how long idle watchers are observed
	Profile  string        // write the server's CPU profile of the measured time here
}

// load is one run of one scenario against one server.
type load struct {
	params
	peer  Peer
	addr  string
	pid   int
	debug string
	run   run
}

func (l *load) result() *Result {
	return &Result{Peer: l.peer.Info().Name, Scenario: l.Scenario, Mode: l.Mode, N: l.N, Conns: l.Conns, Size: l.Size}
}

// watcher is one open watch and its check.
type watcher struct {
	t    *tracker
	conn Conn
	w    Watch
}

// each runs f(0..n-1) with at most par at once and returns the first error.
func each(n, par int, f func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	var first atomic.Pointer[error]
	for range min(par, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || first.Load() != nil {
					return
				}
				if err := f(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if e := first.Load(); e != nil {
		return *e
	}
	return nil
}

// open dials the connections and opens n watches, watcher i on key(i).
func (l *load) open(ctx context.Context, n int, key func(i int) string) ([]*watcher, error) {
	ws := make([]*watcher, n)
	nc := n
	if l.Conns > 0 {
		nc = min(l.Conns, n)
	}
	conns := make([]Conn, nc)
	err := each(nc, l.Dials, func(i int) (err error) {
		conns[i], err = l.peer.Dial(ctx, l.addr)
		return
	})
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	err = each(n, l.Dials, func(i int) error {
		w := &watcher{t: &tracker{r: &l.run, id: i}, conn: conns[i%nc]}
		ws[i] = w
		var err error
		w.w, err = w.conn.Watch(ctx, key(i), nil, w.t.sink)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	time.Sleep(500 * time.Millisecond)
	return ws, nil
}

func trackers(ws []*watcher) []*tracker {
	ts := make([]*tracker, len(ws))
	for i, w := range ws {
		ts[i] = w.t
	}
	return ts
}

// broken counts connections that the server closed.
func broken(ws []*watcher, r *Result) {
	seen := map[Conn]bool{}
	var err error
	for _, w := range ws {
		if e := w.conn.Err(); e != nil && !seen[w.conn] {
			seen[w.conn], err = true, e
		}
	}
	if len(seen) > 0 {
		r.note(fmt.Sprintf("%d connections broken: %v", len(seen), err))
	}
}

// profile fetches a CPU profile of the server in the background.
func (l *load) profile() func() {
	if l.Profile == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := debugGet(l.debug, fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(l.Secs))))
		os.WriteFile(l.Profile, []byte(b), 0o644)
	}()
	return func() { <-done }
}

// fanout is s1 (one resource, n watchers) and s2 (n resources, a watcher each).
func (l *load) fanout(ctx context.Context) ([]*Result, error) {
	r := l.result()
	keys, fan, workers := 1, l.N, 1
	if l.Scenario == "s2" {
		keys, fan, workers = l.N, 1, min(64, l.N)
	}
	c0 := readCPU(l.pid)
	ws, err := l.open(ctx, l.N, func(i int) string { return fmt.Sprintf("r.%05d", i%keys) })
	if err != nil {
		return nil, err
	}
	r.SetupS = time.Since(c0.at).Seconds()
	pubs := make([]Conn, min(workers, 4))
	for i := range pubs {
		if pubs[i], err = l.peer.Dial(ctx, l.addr); err != nil {
			return nil, err
		}
	}
	seqs := make([]uint64, keys)
	var published atomic.Int64 // updates acknowledged or in flight
	var late atomic.Int64
	// publish runs all workers for d; worker w owns keys w, w+workers, ...
	publish := func(d time.Duration) error {
		start := time.Now()
		base, p0 := l.run.delivered.Load(), published.Load()
		return each(workers, workers, func(w int) error {
			step := time.Duration(float64(workers) / l.Rate * float64(time.Second))
			due := start.Add(step * time.Duration(w) / time.Duration(workers))
			for k := w; ; k += workers {
				if k >= keys {
					k = w
				}
				if l.Mode == "rate" {
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
					} else if wait < -step {
						late.Add(1)
					}
					due = due.Add(step)
				} else {
					for at := time.Now(); ; time.Sleep(200 * time.Microsecond) {
						if published.Load()-p0-(l.run.delivered.Load()-base)/int64(fan) < int64(l.Window) {
							break
						}
						if time.Since(at) > 3*time.Second {
							return errors.New("stalled: updates in flight were not delivered in 3 s")
						}
					}
				}
				if time.Since(start) > d || ctx.Err() != nil {
					return ctx.Err()
				}
				published.Add(1)
				seqs[k]++
				if err := pubs[w%len(pubs)].Publish(ctx, fmt.Sprintf("r.%05d", k), payload(l.Size, seqs[k], now())); err != nil {
					return fmt.Errorf("publish: %w", err)
				}
			}
		})
	}
	// Warm up, unmeasured; watches opened late may miss some of it.
	if err := publish(time.Second); err != nil {
		return nil, err
	}
	l.run.drain(ctx, published.Load()*int64(fan), time.Second)
	first := slices.Clone(seqs)
	p0, d0 := published.Load(), l.run.delivered.Load()
	late.Store(0)
	h := new(hist)
	l.run.lat.Store(h)
	wait := l.profile()
	c0 = readCPU(l.pid)
	t0 := now()
	err = publish(time.Duration(l.Secs * float64(time.Second)))
	if err != nil {
		r.note(err.Error())
	}
	r.Updates = int(published.Load() - p0)
	all := l.run.drain(ctx, d0+int64(r.Updates*fan), 2*time.Second)
	c1 := readCPU(l.pid)
	r.Deliveries = l.run.delivered.Load() - d0
	r.PerS = float64(r.Deliveries) / (float64(l.run.last.Load()-t0) / 1e9)
	r.usage(c0, c1)
	r.P50, r.P99, r.Max = h.ms(.50), h.ms(.99), h.maxMs()
	ts := trackers(ws)
	for i := range ts { // all keys share the warm-up bound only in s1
		lo, du, oo := counts(ts[i:i+1], first[i%keys], func(int) uint64 { return seqs[i%keys] })
		r.Lost, r.Dup, r.OOO = r.Lost+lo, r.Dup+du, r.OOO+oo
	}
	if !all && r.Lost == 0 {
		r.note("not drained")
	}
	if n := late.Load(); l.Mode == "rate" && int(n) > r.Updates/10 {
		r.note(fmt.Sprintf("publisher late for %d of %d updates", n, r.Updates))
	}
	broken(ws, r)
	wait()
	r.RSSKiB, r.PeakKiB = rssKiB(l.pid)
	return []*Result{r}, nil
}

// idle is s3: what n watchers cost that get no updates.
func (l *load) idle(ctx context.Context) ([]*Result, error) {
	r := l.result()
	gc := func() int {
		debugGet(l.debug, "/debug/gc")
		rss, _ := rssKiB(l.pid)
		return rss
	}
	time.Sleep(time.Second)
	base, _ := rssKiB(l.pid)
	baseGC := gc()
	c0 := readCPU(l.pid)
	ws, err := l.open(ctx, l.N, func(i int) string { return fmt.Sprintf("r.%05d", i) })
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second)
	c1 := readCPU(l.pid)
	r.SetupS = c1.at.Sub(c0.at).Seconds() - 2.5
	r.SetupCPUus = (c1.server - c0.server) / float64(l.N) * 1e6
	c0 = c1
	time.Sleep(l.Idle)
	r.usage(c0, readCPU(l.pid))
	rss, peak := rssKiB(l.pid)
	r.RSSKiB, r.PeakKiB = rss, peak
	r.KiBPerWatcher = float64(rss-base) / float64(l.N)
	if l.debug != "" {
		r.KiBPerWatcherGC = float64(gc()-baseGC) / float64(l.N)
		if f := strings.Fields(debugGet(l.debug, "/debug/pprof/goroutine?debug=1")); len(f) > 3 {
			r.Goroutines, _ = strconv.Atoi(f[3])
		}
	}
	broken(ws, r)
	return []*Result{r}, nil
}

// resume is s4: all watchers leave, miss updates, and return at once.
func (l *load) resume(ctx context.Context) ([]*Result, error) {
	r := l.result()
	if !l.peer.Info().Resume {
		r.NA = "cannot resume"
		return []*Result{r}, nil
	}
	const key, warm = "r.00000", 10
	ws, err := l.open(ctx, l.N, func(int) string { return key })
	if err != nil {
		return nil, err
	}
	pub, err := l.peer.Dial(ctx, l.addr)
	if err != nil {
		return nil, err
	}
	seq := uint64(0)
	put := func(n int) error {
		for range n {
			seq++
			if err := pub.Publish(ctx, key, payload(l.Size, seq, now())); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		return nil
	}
	if err := put(warm); err != nil {
		return nil, err
	}
	if !l.run.drain(ctx, int64(warm*l.N), 3*time.Second) {
		return nil, errors.New("watchers did not get the first updates")
	}
	pos := make([]Pos, l.N)
	for i, w := range ws {
		w.conn.Close()
		pos[i] = w.w.Pos()
	}
	time.Sleep(time.Second) // the server notices
	if err := put(l.Updates); err != nil {
		return nil, err
	}
	r.Updates = l.Updates
	d0 := l.run.delivered.Load()
	wait := l.profile()
	c0 := readCPU(l.pid)
	t0 := now()
	took := make([]float64, l.N)
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var failed atomic.Int64
	each(l.N, l.N, func(i int) error {
		w := ws[i]
		caught := w.t.await(seq)
		var err error
		if w.conn, err = l.peer.Dial(ctx, l.addr); err == nil {
			w.w, err = w.conn.Watch(ctx, key, pos[i], w.t.sink)
		}
		if err != nil {
			failed.Add(1)
			if failed.Load() == 1 {
				r.note(err.Error())
			}
			return nil
		}
		select {
		case <-caught:
			took[i] = float64(now()-t0) / 1e6
		case <-ctx.Done():
			failed.Add(1)
		}
		return nil
	})
	r.ReadyMs = float64(now()-t0) / 1e6
	l.run.drain(ctx, d0+int64(l.Updates*l.N), 500*time.Millisecond)
	c1 := readCPU(l.pid)
	r.Deliveries = l.run.delivered.Load() - d0
	r.PerS = float64(r.Deliveries) / (r.ReadyMs / 1000)
	r.usage(c0, c1)
	slices.Sort(took)
	r.P50, r.P99, r.Max = took[l.N/2], took[l.N*99/100], took[l.N-1]
	r.Lost, r.Dup, r.OOO = counts(trackers(ws), 0, func(int) uint64 { return seq })
	if n := failed.Load(); n > 0 {
		r.note(fmt.Sprintf("%d watchers never caught up", n))
	}
	wait()
	r.RSSKiB, r.PeakKiB = rssKiB(l.pid)
	return []*Result{r}, nil
}

// snapshot is s5: new watchers get a collection's whole state.
func (l *load) snapshot(ctx context.Context) ([]*Result, error) {
	if !l.peer.Info().Snapshot {
		r := l.result()
		r.NA = "no state to read"
		return []*Result{r}, nil
	}
	pub, err := l.peer.Dial(ctx, l.addr)
	if err != nil {
		return nil, err
	}
	err = each(l.Updates, 64, func(i int) error {
		return pub.Publish(ctx, fmt.Sprintf("i.%05d", i), payload(l.Size, uint64(i+1), now()))
	})
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	time.Sleep(2 * time.Second)
	var out []*Result
	for _, n := range []int{1, l.N} {
		r := l.result()
		r.N, r.Mode, r.Updates = n, fmt.Sprintf("x%d", n), l.Updates
		reps := 1
		if n == 1 {
			reps = 5
		}
		var took []float64
		var mu sync.Mutex
		d0 := l.run.delivered.Load()
		wait := func() {}
		if n > 1 {
			wait = l.profile()
		}
		c0 := readCPU(l.pid)
		for range reps {
			t0 := now()
			err := each(n, n, func(i int) error {
				c, err := l.peer.Dial(ctx, l.addr)
				if err != nil {
					return err
				}
				defer c.Close()
				var got atomic.Int64
				err = c.Snapshot(ctx, l.Updates, func(f []byte) {
					k := int64(0)
					scan(f, func(uint64, int64) { k++ })
					got.Add(k)
				})
				if err != nil {
					return err
				}
				l.run.delivered.Add(got.Load())
				mu.Lock()
				defer mu.Unlock()
				took = append(took, float64(now()-t0)/1e6)
				if g := got.Load(); g != int64(l.Updates) {
					r.Lost += uint64(max(0, int64(l.Updates)-g))
					r.Dup += uint64(max(0, g-int64(l.Updates)))
				}
				return nil
			})
			if err != nil {
				r.note(err.Error())
				break
			}
		}
		r.Deliveries = l.run.delivered.Load() - d0
		r.usage(c0, readCPU(l.pid))
		r.PerS = float64(r.Deliveries) / r.WallS
		if len(took) > 0 {
			slices.Sort(took)
			r.P50, r.P99, r.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
			r.ReadyMs = r.Max
			if n == 1 {
				r.ReadyMs = r.P50
			}
		}
		wait()
		r.RSSKiB, r.PeakKiB = rssKiB(l.pid)
		out = append(out, r)
	}
	return out, nil
}

func (l *load) do() ([]*Result, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	switch l.Scenario {
	case "s1", "s2":
		return l.fanout(ctx)
	case "s3":
		return l.idle(ctx)
	case "s4":
		return l.resume(ctx)
	case "s5":
		return l.snapshot(ctx)
	}
	return nil, fmt.Errorf("no scenario %q; have s1 to s5", l.Scenario)
}
