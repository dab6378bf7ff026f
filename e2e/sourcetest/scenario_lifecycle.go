package sourcetest

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// isTakenUpAndDown: whatever is done to the source while events come, it goes on where it
// was, and does nothing while it is not there.
func isTakenUpAndDown(w *world) {
	w.look()
	w.run()
	end := w.comes()
	w.write(paused)
	w.becomes(isPaused)
	w.isStill()
	w.write()
	w.becomes(running)

	w.comesOn()
	mark := w.statuses.mark()
	w.must(http.MethodDelete, sourcesOf+"/"+w.id, nil)
	w.saysGone(mark)
	w.isStill()
	w.write()
	w.becomes(running)

	w.comesOn()
	for i := range 3 { // each is another source than the one before, and is taken up anew
		w.write(func(source map[string]any) { source["note"] = fmt.Sprint(i) })
	}
	end()
	w.settles()
}

// comes lets events come in the background, and returns in the middle of them. Those that
// are posted come before it returns: they need the node.
func (w *world) comes() (end func()) {
	w.Helper()
	if w.connector.Posts {
		w.publish(w.producer.next(w.soon()))
		return func() {}
	}
	end = w.publishing()
	w.reaches(w.soon())
	return end
}

// comesOn returns when some more have come.
func (w *world) comesOn() {
	w.Helper()
	if w.connector.Posts {
		w.publish(w.producer.next(100))
		return
	}
	w.reaches(w.soon())
}

// isStill checks that nothing happens to things while events are published.
func (w *world) isStill() {
	w.Helper()
	before := w.head()
	if !w.connector.Posts {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		seen := w.journal.events()
		if !w.producer.wait(ctx, func() bool { return w.producer.made >= seen+ahead-chunk }) {
			w.Fatalf("nobody publishes")
		}
	}
	if after := w.head(); after != before {
		w.Errorf("things have changed %d times while nothing reads", after-before)
	}
}

// saysGone waits until the source has no status any more.
func (w *world) saysGone(mark int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !w.statuses.wait(ctx, func() bool { return len(w.statuses.all) > mark && w.statuses.lastLocked() == nil }) {
		w.Fatalf("the source is deleted, and its status is still there: %s", w.statuses.text())
	}
	if a := w.call(http.MethodGet, statusOf+"/"+w.id, nil); a.status != http.StatusNotFound {
		w.Errorf("the status of a source that is deleted: %d %s", a.status, a.Data)
	}
}

// nodeIsRestarted: in order, in the middle of what there is to read.
func nodeIsRestarted(w *world) {
	w.look()
	w.run()
	w.interrupt(2, func() { w.node.Stop() }, w.node.Start)
	w.settles()
}

// nodeIsKilled: by SIGKILL, in the middle of what there is to read, and now and then once
// more while it starts.
func nodeIsKilled(w *world) {
	w.look()
	w.run()
	w.interrupt(w.connector.Kills-1, w.node.Kill, func() {
		w.node.Start()
		if w.chance.IntN(3) == 0 {
			<-time.After(time.Duration(w.chance.IntN(300)) * time.Millisecond)
			w.node.Kill()
			w.node.Start()
		}
	})
	w.settles()
}

// backlog is how much there is to read when a node comes back.
const backlog = 800

// interrupt ends the node and starts it, once and then so often in the middle of a backlog,
// while events come.
func (w *world) interrupt(times int, stop, start func()) {
	w.Helper()
	if w.connector.Posts {
		end := w.publishing()
		for range times + 1 {
			w.reaches(w.soon())
			stop()
			start()
		}
		end()
		return
	}
	end := func() {}
	for range times {
		stop()
		end()
		w.publish(w.producer.next(backlog))
		start()
		end = w.publishing()
		w.reaches(w.journal.events() + 1 + w.chance.IntN(backlog/2))
	}
	stop()
	start()
	end()
}
