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

// beginsWithTheNext: a source that is to begin with the next event begins where the broker
// was when it first ran, though nothing had come when the node was killed.
func beginsWithTheNext(w *world) {
	w.look()
	w.publish(w.producer.each())
	w.publish(w.producer.next(500))
	first := w.producer.lasts()
	for key := range first {
		first[key]++
	}
	w.journal.at(first)
	for _, connector := range w.source {
		if settings, ok := connector.(map[string]any); ok && settings["format"] == nil {
			settings["start"] = "LATEST_EVENT"
		}
	}
	w.run()
	w.node.Kill()
	w.publish(w.producer.next(200))
	w.node.Start()
	w.becomes(running)
	w.settles()
}
