package local

import "time"

const (
	// A group of so many writes shares its fsync well enough.
	gathered = 64
	// So many writes must be expected within the commit delay for it to be used.
	worthwhile = 4
	// What is known of the writes that come is the average of about so many commits.
	memory = 128
)

// gather lets writes wait for others, so that they share a commit and its fsync.
//
// Writers that wait for an answer before they go on come back right after a commit;
// nothing is gained by waiting for others. So what counts is who comes while a commit
// runs: such a write did not wait for its answer. The next group waits for as many
// writes as are known to be under way: those of the last group, whose writers may come
// back, and those that came meanwhile. It waits about as long as a commit takes, or,
// if many come by themselves, for the commit delay. Both times begin with the end of
// the last commit: a write after a quiet spell is committed at once, as is a single
// writer's every write.
//
// PostgreSQL's commit_delay and Kafka's linger.ms are such waits, of a fixed length.
type gather struct {
	delay time.Duration // the most; 0: none
	timer *time.Timer

	ended time.Time     // the last commit
	took  time.Duration // the last commit
	want  int           // in the next group
	// Averages: how many writes come while a commit runs, and how long that is. At the
	// beginning none has come in the delay.
	came, running float64
}

func newGather(delay time.Duration) *gather {
	g := &gather{delay: delay, timer: time.NewTimer(time.Hour), running: float64(delay)}
	g.timer.Stop()
	return g
}

// wait returns when the next group is to be taken. There is a write in the queue.
func (g *gather) wait(q *queue) {
	if g.want <= 1 || g.delay == 0 {
		return
	}
	most := min(2*g.took, g.delay)
	if g.came*float64(g.delay) >= worthwhile*g.running {
		most = g.delay
	}
	if left := most - time.Since(g.ended); left > 0 {
		g.timer.Reset(left)
		q.await(g.want, g.timer.C)
		g.timer.Stop()
	}
}

// committed notes a commit of so many writes, and how many came while it ran.
func (g *gather) committed(writes, came int, began, ended time.Time) {
	g.took = ended.Sub(began)
	g.running += (float64(g.took) - g.running) / memory
	g.came += (float64(came) - g.came) / memory
	g.want = min(writes+came, gathered)
	g.ended = ended
}
