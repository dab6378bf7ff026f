package node

import (
	"context"
	"fmt"
	"time"
)

// Stop ends the node in order, as the package says, and waits for all of it. It
// takes at most the drain time, and is immediate once ctx has ended. Stopping
// twice is fine.
func (n *Node) Stop(ctx context.Context) error {
	n.stopping.Do(func() { n.stopped = n.stop(ctx) })
	return n.stopped
}

func (n *Node) stop(ctx context.Context) error {
	began := time.Now()
	// Each step may use what is left up to its share of the time.
	until := func(share float64) (context.Context, context.CancelFunc) {
		return context.WithDeadline(ctx, began.Add(time.Duration(share*float64(n.cfg.DrainTime))))
	}
	n.ready.Store(false)
	n.health.Shutdown()
	n.logger.Info("draining", "watches", n.hub.Count(), "at_most", n.cfg.DrainTime)

	if n.certificates != nil {
		n.serving.Go(n.certificates.Close) // which may wait for what ACME does
	}
	n.serving.Go(n.sources.Close)
	n.hub.Drain(n.cfg.DrainSpread)
	left := n.awaitWatches(until(0.5))
	callsCut := n.stopGRPC(until(0.75))
	requestsCut := n.stopHTTP(until(1))
	if n.debug != nil {
		_ = n.debug.Close()
	}
	n.serving.Wait()
	n.hub.Close()
	n.closeControl()
	if err := n.log.Close(); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	n.logger.Info("stopped", "took", time.Since(began).Round(time.Millisecond), "watches_cut", left, "grpc_cut", callsCut, "http_cut", requestsCut)
	return nil
}

// awaitWatches waits until no watch is open and the last gRPC-Web call has said so, as
// stopGRPC would cut it, and says how many watches still are.
func (n *Node) awaitWatches(ctx context.Context, cancel context.CancelFunc) int {
	defer cancel()
	await(ctx, func() bool { return n.hub.Count() == 0 && n.front.Calls() == 0 })
	return n.hub.Count()
}

// stopGRPC lets calls finish, and says whether some had to be cut.
func (n *Node) stopGRPC(ctx context.Context, cancel context.CancelFunc) (cut bool) {
	defer cancel()
	done := make(chan struct{})
	go func() {
		n.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return false
	case <-ctx.Done():
		n.grpc.Stop()
		<-done
		return true
	}
}

// cutTime is how long a request has to notice that it was cut.
const cutTime = time.Second

// stopHTTP lets requests finish, and says whether some had to be cut.
func (n *Node) stopHTTP(ctx context.Context, cancel context.CancelFunc) (cut bool) {
	defer cancel()
	over := func() bool { return n.requests.Load() == 0 }
	// WebSockets of sessions have left HTTP, but their requests have not ended.
	cut = n.http.Shutdown(ctx) != nil || !await(ctx, over)
	cut = n.front.Shutdown(ctx) || cut
	n.cut()
	_ = n.http.Close()
	if cut {
		notice, cancel := context.WithTimeout(context.Background(), cutTime)
		defer cancel()
		if !await(notice, over) {
			n.logger.Error("requests did not end when they were cut", "requests", n.requests.Load())
		}
	}
	return cut
}

// await says whether a condition came true before the context ended.
func await(ctx context.Context, condition func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return condition()
		}
	}
	return true
}
