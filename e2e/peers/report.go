package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Result is one line of output. CPU is in seconds over WallS.
type Result struct {
	Peer     string `json:"peer"`
	Scenario string `json:"scenario"`
	Mode     string `json:"mode,omitempty"`
	N        int    `json:"watchers"`
	Conns    int    `json:"conns,omitempty"` // shared connections; 0: one each
	Size     int    `json:"size,omitempty"`
	NA       string `json:"na,omitempty"`

	Updates    int     `json:"updates,omitempty"`
	Deliveries int64   `json:"deliveries,omitempty"`
	PerS       float64 `json:"deliveries_per_s,omitempty"`
	CPUPerM    float64 `json:"server_cpu_s_per_million,omitempty"`
	WallS      float64 `json:"wall_s,omitempty"`
	ServerCPU  float64 `json:"server_cpu_s"`
	ClientCPU  float64 `json:"client_cpu_s"`
	OtherCPU   float64 `json:"other_cpu_s"` // the rest of the machine: noise
	P50        float64 `json:"p50_ms,omitempty"`
	P99        float64 `json:"p99_ms,omitempty"`
	Max        float64 `json:"max_ms,omitempty"`
	Lost       uint64  `json:"lost"`
	Dup        uint64  `json:"dup"`
	OOO        uint64  `json:"out_of_order"`

	ReadyMs         float64 `json:"ready_ms,omitempty"` // s4: all caught up; s5: slowest (x1: median)
	SetupS          float64 `json:"setup_s,omitempty"`  // time to open all watches
	SetupCPUus      float64 `json:"setup_server_cpu_us_per_watcher,omitempty"`
	RSSKiB          int     `json:"rss_kib,omitempty"`
	PeakKiB         int     `json:"peak_rss_kib,omitempty"`
	KiBPerWatcher   float64 `json:"kib_per_watcher,omitempty"`
	KiBPerWatcherGC float64 `json:"kib_per_watcher_after_gc,omitempty"`
	Goroutines      int     `json:"goroutines,omitempty"`
	Notes           string  `json:"notes,omitempty"`
}

func (r *Result) note(s string) {
	if s = strings.TrimSpace(s); r.Notes != "" {
		s = r.Notes + "; " + s
	}
	r.Notes = s
}

func (r *Result) key() string {
	return fmt.Sprintf("%s|%s|%s|%d|%d", r.Scenario, r.Mode, r.Peer, r.N, r.Conns)
}

func readResults(in io.Reader) (rs []*Result, err error) {
	sc := bufio.NewScanner(in)
	for sc.Scan() {
		r := new(Result)
		if err := json.Unmarshal(sc.Bytes(), r); err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, sc.Err()
}

// medians merges results of the same run by the median of each number; a note
// that not all rounds had is followed by how many had it.
func medians(rs []*Result) (out []*Result, rounds int) {
	groups := map[string][]*Result{}
	var order []string
	for _, r := range rs {
		k := r.key()
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], r)
	}
	for _, k := range order {
		g := groups[k]
		rounds = max(rounds, len(g))
		values := map[string][]float64{}
		noted, had := []string{}, map[string]int{}
		for _, r := range g {
			b, _ := json.Marshal(r)
			var m map[string]any
			json.Unmarshal(b, &m)
			for f, v := range m {
				if x, ok := v.(float64); ok {
					values[f] = append(values[f], x)
				}
			}
			for _, n := range strings.Split(r.Notes, "; ") {
				if n == "" {
					continue
				}
				if had[n]++; had[n] == 1 {
					noted = append(noted, n)
				}
			}
		}
		for i, n := range noted {
			if had[n] < len(g) {
				noted[i] = fmt.Sprintf("%s (%d of %d)", n, had[n], len(g))
			}
		}
		m := map[string]any{"peer": g[0].Peer, "scenario": g[0].Scenario, "mode": g[0].Mode, "na": g[0].NA, "notes": strings.Join(noted, "; ")}
		for f, v := range values {
			slices.Sort(v)
			m[f] = v[len(v)/2]
		}
		b, _ := json.Marshal(m)
		r := new(Result)
		if err := json.Unmarshal(b, r); err != nil { // even count of an integer field
			panic(err)
		}
		out = append(out, r)
	}
	return out, rounds
}
