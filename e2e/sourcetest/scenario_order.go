package sourcetest

// keepsOrder: some thousand events of twenty keys, at random, at once and little by little.
func keepsOrder(w *world) {
	w.look()
	w.run()
	w.publish(w.producer.next(1000))
	end := w.publishing()
	w.reaches(2000)
	end()
	w.settles()
}

// beginsLate: what was published before the source begins is seen, or its last state, and
// what comes in the middle of that.
func beginsLate(w *world) {
	w.look()
	w.publish(w.producer.next(1000))
	if w.broker.Snapshots() {
		w.journal.from(w.producer.lasts())
	}
	w.write()
	w.publish(w.producer.next(500))
	w.becomes(running)
	w.settles()
}
