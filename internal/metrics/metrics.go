// Package metrics is what a node tells Prometheus. One Metrics is made for a
// node, with a registry of its own; there is no global state. All methods may be
// called at once and none blocks.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
)

// Metrics implements hub.Observer and counts what the server and the gateway do.
// docs/operations.md documents each metric.
type Metrics struct {
	registry *prometheus.Registry

	open     *prometheus.GaugeVec
	closed   *prometheus.CounterVec
	events   *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	resets   *prometheus.CounterVec
	delivery *prometheus.HistogramVec
	appends  *prometheus.HistogramVec
	written  *prometheus.CounterVec
	requests *prometheus.CounterVec
	limited  *prometheus.CounterVec

	sourceEvents *prometheus.CounterVec
	sourceState  *prometheus.GaugeVec
	sourceLag    *prometheus.GaugeVec
}

// New makes the metrics of one node, with those of the Go runtime and the process.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "watchroute_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "watchroute_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14)}, labels)
	}
	m.open = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "watchroute_watches_open", Help: "Watches that are open."}, []string{"collection", "transport"})
	m.closed = counter("watches_closed_total", "Watches that ended, by reason.", "collection", "transport", "reason")
	m.events = counter("events_sent_total", "Events handed to transports.", "collection", "transport")
	m.bytes = counter("bytes_sent_total", "Bytes of frames handed to transports.", "collection", "transport")
	m.resets = counter("resets_total", "Watches that had to begin anew, by reason.", "collection", "transport", "reason")
	m.delivery = histogram("delivery_seconds", "From the write of a live change to its hand-over to a transport.", "transport")
	m.appends = histogram("append_seconds", "From a write's arrival until it was durable and acknowledged.", "collection")
	m.written = counter("writes_total", "Writes, by outcome: OK or a reason.", "collection", "outcome")
	m.requests = counter("requests_total", "Unary calls, by method and gRPC code.", "method", "code")
	m.limited = counter("limited_total", "What was refused because a limit was reached, by limit.", "limit")
	m.sourceEvents = counter("source_events_total", "Events of sources, by outcome: taken, changes (that they made), dead_letter, duplicate.", "source", "outcome")
	m.sourceState = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "watchroute_source_state", Help: "1 for the state that a source is in."}, []string{"source", "state"})
	m.sourceLag = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "watchroute_source_lag_events", Help: "Events that a broker has and the source has not, where the broker tells."}, []string{"source"})
	m.registry.MustRegister(m.sourceEvents, m.sourceState, m.sourceLag, m.limited, m.open, m.closed, m.events, m.bytes, m.resets, m.delivery, m.appends, m.written, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' form.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Collect adds what can only be asked for at the moment of scraping: the lag of
// watches, the head of each collection, and what is kept in memory.
func (m *Metrics) Collect(h *hub.Hub, heads func() map[string]uint64) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("watchroute_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&asked{hub: h, heads: heads,
		lag:      desc("watch_lag_revisions", "How many revisions the slowest open watch is behind its collection.", "collection", "transport"),
		lags:     desc("watch_lag", "How many revisions each open watch is behind its collection.", "collection", "transport"),
		head:     desc("head_revision", "The newest revision of the collection.", "collection"),
		memory:   desc("memory_bytes", "What is kept in memory for watches.", "what"),
		trimmed:  desc("ring_trimmed_total", "Batches that left memory for the bound on it."),
		segments: desc("snapshot_segments_total", "Parts of snapshots: made, shared with another watch, dropped for the bound on memory.", "what"),
	})
}

type asked struct {
	hub                                        *hub.Hub
	heads                                      func() map[string]uint64
	lag, lags, head, memory, trimmed, segments *prometheus.Desc
}

func (a *asked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{a.lag, a.lags, a.head, a.memory, a.trimmed, a.segments} {
		ch <- d
	}
}

func (a *asked) Collect(ch chan<- prometheus.Metric) {
	for _, l := range a.hub.Lags() {
		ch <- prometheus.MustNewConstMetric(a.lag, prometheus.GaugeValue, float64(l.Most), l.Collection, l.Transport)
		buckets := map[float64]uint64{}
		n := uint64(0)
		for i, most := range hub.LagBounds {
			n += l.Watches[i]
			buckets[float64(most)] = n
		}
		n += l.Watches[len(hub.LagBounds)]
		ch <- prometheus.MustNewConstHistogram(a.lags, n, float64(l.Sum), buckets, l.Collection, l.Transport)
	}
	for collection, head := range a.heads() {
		ch <- prometheus.MustNewConstMetric(a.head, prometheus.GaugeValue, float64(head), collection)
	}
	ring, trimmed := a.hub.Memory()
	s := a.hub.SnapshotStats()
	ch <- prometheus.MustNewConstMetric(a.memory, prometheus.GaugeValue, float64(ring), "ring")
	ch <- prometheus.MustNewConstMetric(a.memory, prometheus.GaugeValue, float64(s.Bytes), "snapshots")
	ch <- prometheus.MustNewConstMetric(a.trimmed, prometheus.CounterValue, float64(trimmed))
	for what, n := range map[string]uint64{"made": s.Made, "shared": s.Shared, "dropped": s.Dropped} {
		ch <- prometheus.MustNewConstMetric(a.segments, prometheus.CounterValue, float64(n), what)
	}
}

// WatchOpened implements hub.Observer.
func (m *Metrics) WatchOpened(collection, transport string) {
	m.open.WithLabelValues(collection, transport).Inc()
}

// WatchClosed implements hub.Observer.
func (m *Metrics) WatchClosed(collection, transport, reason string) {
	m.open.WithLabelValues(collection, transport).Dec()
	m.closed.WithLabelValues(collection, transport, reason).Inc()
}

// Meter implements hub.Observer.
func (m *Metrics) Meter(collection, transport string) hub.Meter {
	return &meter{m.events.WithLabelValues(collection, transport), m.bytes.WithLabelValues(collection, transport), m.delivery.WithLabelValues(transport)}
}

type meter struct {
	events, bytes prometheus.Counter
	delivery      prometheus.Observer
}

func (m *meter) Sent(events, bytes int) {
	m.events.Add(float64(events))
	m.bytes.Add(float64(bytes))
}

func (m *meter) Delivered(ago time.Duration) { m.delivery.Observe(ago.Seconds()) }

// WatchReset implements hub.Observer.
func (m *Metrics) WatchReset(collection, transport string, reason watchroutev1.Reset_Reason) {
	m.resets.WithLabelValues(collection, transport, reason.String()).Inc()
}

// Written counts a write; outcome is OK or the reason of its error.
func (m *Metrics) Written(collection, outcome string, took time.Duration) {
	m.written.WithLabelValues(collection, outcome).Inc()
	if outcome == "OK" {
		m.appends.WithLabelValues(collection).Observe(took.Seconds())
	}
}

// Limited counts what a limit has refused.
func (m *Metrics) Limited(limit string) { m.limited.WithLabelValues(limit).Inc() }

// Called counts a unary call.
func (m *Metrics) Called(method, code string) { m.requests.WithLabelValues(method, code).Inc() }

// SourceTook counts events of a source.
func (m *Metrics) SourceTook(source string, events, changes, dead, duplicates int) {
	for outcome, n := range map[string]int{"taken": events, "changes": changes, "dead_letter": dead, "duplicate": duplicates} {
		m.sourceEvents.WithLabelValues(source, outcome).Add(float64(n))
	}
}

// SourceIs tells how a source is.
func (m *Metrics) SourceIs(s *watchroutev1.SourceStatus) {
	m.sourceState.DeletePartialMatch(prometheus.Labels{"source": s.GetSourceId()})
	m.sourceState.WithLabelValues(s.GetSourceId(), s.GetState().String()).Set(1)
	if len(s.GetLag()) == 0 {
		return
	}
	sum := int64(0)
	for _, n := range s.GetLag() {
		sum += n
	}
	m.sourceLag.WithLabelValues(s.GetSourceId()).Set(float64(sum))
}

// SourceGone forgets a source.
func (m *Metrics) SourceGone(source string) {
	of := prometheus.Labels{"source": source}
	m.sourceState.DeletePartialMatch(of)
	m.sourceLag.DeletePartialMatch(of)
	m.sourceEvents.DeletePartialMatch(of)
}
