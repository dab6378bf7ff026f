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
	Name string
	// Quiet, Elsewhere and Attack are the neighbours' latencies without an attack, in one
	// on another node of the same machine, and in one on theirs.
	Quiet, Elsewhere, Attack Latency
	// Before and Peak are the node's resident memory in bytes, CPU is what it computed
	// for how long.
	Before, Peak int64
	CPU, Took    time.Duration
	// Refused has what watchroute_limited_total grew by.
	Refused map[string]int
	Did     string
}

// Ratio is how many times later than in quiet the neighbours' p99 was.
func (r *Row) Ratio() float64 { return times(r.Attack.P99, r.Quiet.P99) }

// Share is how many times later it was than with the attack elsewhere: what the node adds
// to what the machine takes.
func (r *Row) Share() float64 { return times(r.Attack.P99, r.Elsewhere.P99) }

// Others is what other processes took of a processor, in the attack or in the control.
func (r *Row) Others() float64 { return max(r.Elsewhere.Others, r.Attack.Others) }

// times gives 0 where there is nothing to compare with.
func times(d, base time.Duration) float64 {
	if base <= 0 {
		return 0
	}
	return float64(d) / float64(base)
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
	b.WriteString("| attack | p99 quiet | p99 elsewhere | p99 attacked | times quiet | times elsewhere | others | RSS before | RSS peak | CPU | refused | what was done |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s | %.1f ms | %.1f ms | %.1f ms | %.1f | %.1f | %.0f %% | %d MiB | %d MiB | %.0f %% | %s | %s |\n", r.Name, milliseconds(r.Quiet.P99), milliseconds(r.Elsewhere.P99),
			milliseconds(r.Attack.P99), r.Ratio(), r.Share(), 100*r.Others(), r.Before>>20, r.Peak>>20, 100*r.CPU.Seconds()/max(r.Took.Seconds(), 0.001), r.refused(), r.Did)
	}
	return b.String()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
