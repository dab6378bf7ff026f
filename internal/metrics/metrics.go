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
	m.registry.MustRegister(m.open, m.closed, m.events, m.bytes, m.resets, m.delivery, m.appends, m.written, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' form.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Collect adds what can only be asked for at the moment of scraping: the lag of
// watches and the head of each collection.
func (m *Metrics) Collect(h *hub.Hub, heads func() map[string]uint64) {
	m.registry.MustRegister(&asked{hub: h, heads: heads,
		lag: prometheus.NewDesc("watchroute_watch_lag_revisions", "How many revisions the slowest open watch is behind its collection.",
			[]string{"collection", "transport"}, nil),
		head: prometheus.NewDesc("watchroute_head_revision", "The newest revision of the collection.", []string{"collection"}, nil),
	})
}

type asked struct {
	hub       *hub.Hub
	heads     func() map[string]uint64
	lag, head *prometheus.Desc
}

func (a *asked) Describe(ch chan<- *prometheus.Desc) { ch <- a.lag; ch <- a.head }

func (a *asked) Collect(ch chan<- prometheus.Metric) {
	for _, l := range a.hub.Lags() {
		ch <- prometheus.MustNewConstMetric(a.lag, prometheus.GaugeValue, float64(l.Most), l.Collection, l.Transport)
	}
	for collection, head := range a.heads() {
		ch <- prometheus.MustNewConstMetric(a.head, prometheus.GaugeValue, float64(head), collection)
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

// Called counts a unary call.
func (m *Metrics) Called(method, code string) { m.requests.WithLabelValues(method, code).Inc() }
