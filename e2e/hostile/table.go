package hostile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Row is what one attack did.
type Row struct {
	Name          string
	Quiet, Attack Latency
	// Before and Peak are the node's resident memory in bytes, CPU is what it computed
	// for how long.
	Before, Peak int64
	CPU, Took    time.Duration
	// Refused has what watchroute_limited_total grew by.
	Refused map[string]int
	Did     string
}

// Ratio is how many times later the neighbours' p99 was.
func (r *Row) Ratio() float64 {
	return float64(r.Attack.P99) / float64(max(r.Quiet.P99, time.Microsecond))
}

func (r *Row) refused() string {
	var parts []string
	for _, limit := range slices.Sorted(maps.Keys(r.Refused)) {
		parts = append(parts, fmt.Sprintf("%s %d", limit, r.Refused[limit]))
	}
	return strings.Join(parts, ", ")
}

// Table gathers rows. Its methods may be called at once.
type Table struct {
	mu   sync.Mutex
	rows []Row
}

// Add adds a row.
func (t *Table) Add(r Row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// String gives the table as Markdown.
func (t *Table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	b.WriteString("| attack | p99 quiet | p99 attacked | times | RSS before | RSS peak | CPU | refused | what was done |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s | %.1f ms | %.1f ms | %.1f | %d MiB | %d MiB | %.0f %% | %s | %s |\n", r.Name, milliseconds(r.Quiet.P99), milliseconds(r.Attack.P99), r.Ratio(),
			r.Before>>20, r.Peak>>20, 100*r.CPU.Seconds()/max(r.Took.Seconds(), 0.001), r.refused(), r.Did)
	}
	return b.String()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
