package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func tableCmd(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which file?")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	rs, err := readResults(f)
	if err != nil {
		return err
	}
	m, rounds := medians(rs)
	fmt.Printf("Medians of %d rounds. %s\n", rounds, machine())
	table(os.Stdout, m)
	return nil
}

// best gives, of the peers that are not Watchroute, what the cheapest one pays
// with as many watchers and connections: cost tells what a result pays, 0 if that
// is not known.
func best(rs []*Result, like *Result, cost func(*Result) float64) (least float64) {
	for _, r := range rs {
		if c := cost(r); !ours(r.Peer) && r.N == like.N && r.Conns == like.Conns && c > 0 && (least == 0 || c < least) {
			least = c
		}
	}
	return least
}

// table writes Markdown tables, one for each scenario and mode. Where a row of
// Watchroute has a peer to be compared with, the last column says how many times
// the cheapest peer's cost it pays.
func table(w io.Writer, rs []*Result) {
	names := peerNames()
	rs = slices.SortedStableFunc(slices.Values(rs), func(a, b *Result) int {
		return cmp.Or(cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Conns, b.Conns), cmp.Compare(a.N, b.N),
			cmp.Compare(slices.Index(names, a.Peer), slices.Index(names, b.Peer)))
	})
	var titles []string
	by := map[string][]*Result{}
	for _, r := range rs {
		t := strings.ToUpper(r.Scenario)
		switch r.Scenario {
		case "s1":
			t += " fan-out of one resource, " + r.Mode
		case "s2":
			t += " many keys, one watcher each, " + r.Mode
		case "s3":
			t += " idle watchers"
		case "s4":
			t += " resume storm"
		case "s5":
			t += " snapshot"
		}
		if by[t] == nil {
			titles = append(titles, t)
		}
		by[t] = append(by[t], r)
	}
	slices.Sort(titles)
	for _, t := range titles {
		var head string
		var row func(r *Result) string
		of, cost := "CPU per M", func(r *Result) float64 { return r.CPUPerM }
		switch s := by[t][0].Scenario; s {
		case "s1", "s2":
			head = "server CPU s per M | deliveries/s | p50 ms | p99 ms | max ms | lost/dup/ooo | server, client, other cores | server RSS MiB"
			row = func(r *Result) string {
				return fmt.Sprintf("%.1f | %.0f | %.1f | %.1f | %.0f | %d/%d/%d | %.2f, %.2f, %.2f | %d",
					r.CPUPerM, r.PerS, r.P50, r.P99, r.Max, r.Lost, r.Dup, r.OOO, r.ServerCPU/r.WallS, r.ClientCPU/r.WallS, r.OtherCPU/r.WallS, r.RSSKiB/1024)
			}
		case "s3":
			of, cost = "KiB", func(r *Result) float64 { return cmp.Or(r.KiBPerWatcherGC, r.KiBPerWatcher) }
			head = "KiB per watcher | after GC | goroutines | idle server CPU % of a core | opening: CPU µs per watcher | s for all"
			row = func(r *Result) string {
				return fmt.Sprintf("%.1f | %.1f | %d | %.1f | %.0f | %.1f", r.KiBPerWatcher, r.KiBPerWatcherGC, r.Goroutines, 100*r.ServerCPU/r.WallS, r.SetupCPUus, r.SetupS)
			}
		case "s4":
			head = "all caught up ms | half ms | server CPU s | s per M | deliveries/s | lost/dup/ooo | client cores | peak RSS MiB"
			row = func(r *Result) string {
				return fmt.Sprintf("%.0f | %.0f | %.2f | %.1f | %.0f | %d/%d/%d | %.2f | %d", r.ReadyMs, r.P50, r.ServerCPU, r.CPUPerM, r.PerS, r.Lost, r.Dup, r.OOO, r.ClientCPU/r.WallS, r.PeakKiB/1024)
			}
		case "s5":
			head = "complete ms (slowest) | half ms | server CPU s | s per M items | missing/extra | client cores | peak RSS MiB"
			row = func(r *Result) string {
				return fmt.Sprintf("%.0f | %.0f | %.2f | %.1f | %d/%d | %.2f | %d", r.ReadyMs, r.P50, r.ServerCPU, r.CPUPerM, r.Lost, r.Dup, r.ClientCPU/r.WallS, r.PeakKiB/1024)
			}
		}
		fmt.Fprintf(w, "\n### %s\n\n| peer | watchers | conns | %s | notes | of best peer: %s |\n|---|---:|---:|%s---|---:|\n", t, head, of, strings.Repeat("---:|", strings.Count(head, " | ")+1))
		for _, r := range by[t] {
			conns := fmt.Sprint(r.Conns)
			if r.Conns == 0 {
				conns = "each"
			}
			cells := row(r)
			if r.NA != "" {
				cells = "n/a: " + r.NA + strings.Repeat(" |", strings.Count(head, " | "))
			}
			ratio := ""
			if least := best(by[t], r, cost); ours(r.Peer) && least > 0 && r.NA == "" {
				ratio = fmt.Sprintf("%.2f", cost(r)/least)
			}
			fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s |\n", r.Peer, r.N, conns, cells, strings.ReplaceAll(r.Notes, "|", "/"), ratio)
		}
	}
}
