package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// curvesFile is the file with the points of all curves, in the folder of -out.
const curvesFile = "curves.jsonl"

// curves measures how Watchroute's cost grows, against the real binary, and
// writes points as it goes.
type curves struct {
	ctx context.Context
	out *os.File

	watchers  []int         // sizes of "watchers"
	secs      float64       // measured time of a size, and of a run of "access"
	stall     time.Duration // length of each run of "stalled"
	slow      time.Duration // how long "slow" writes
	resources []int         // sizes of "collection"

	principals, rounds int // of "access"
}

// parts are what can be measured, in this order.
var parts = []struct {
	name, about string
	run         func(*curves) error
}{
	{"watchers", "CPU of one delivery, for 10 to 15,000 watchers of one resource", (*curves).measureWatchers},
	{"stalled", "memory and latency while some of 1000 watchers do not read", (*curves).measureStalled},
	{"slow", "a reader a hundred times slower than the writer", (*curves).measureSlow},
	{"access", "10,000 watchers that a rule restricts to what is theirs, and their revocation", (*curves).measureAccess},
	{"hub", "a write beside watches that it does not concern, in the process", (*curves).measureHub},
	{"collection", "memory, restart and snapshot of up to 1,000,000 resources", (*curves).measureCollection},
}

func curvesCmd(args []string) error {
	fs := flag.NewFlagSet("curves", flag.ExitOnError)
	c := &curves{}
	var names, abouts []string
	for _, p := range parts {
		names, abouts = append(names, p.name), append(abouts, fmt.Sprintf("%s: %s", p.name, p.about))
	}
	dir := fs.String("out", "", "folder for the points ("+curvesFile+") and the drawings")
	only := fs.String("only", strings.Join(names, ","), "which parts; "+strings.Join(abouts, "; "))
	watchers := fs.String("watchers", "10,100,1000,5000,15000", "watchers: how many")
	resources := fs.String("resources", "10000,100000,300000,1000000", "collection: how many")
	fs.Float64Var(&c.secs, "secs", 5, "watchers, access: measured seconds of each run")
	fs.IntVar(&c.principals, "principals", 10_000, "access: how many watchers")
	fs.IntVar(&c.rounds, "rounds", 2, "access: how many runs without and with rules, by turns")
	fs.DurationVar(&c.stall, "stall", 70*time.Second, "stalled: length of each of the four runs")
	fs.DurationVar(&c.slow, "slow", 20*time.Second, "slow: how long the writer writes")
	fs.Parse(args)
	if *dir == "" {
		return errors.New("curves needs -out")
	}
	var err error
	if c.watchers, err = numbers(*watchers); err != nil {
		return err
	}
	if c.resources, err = numbers(*resources); err != nil {
		return err
	}
	if c.principals < 2 || c.rounds < 1 {
		return errors.New("access needs 2 principals and a round")
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(*dir, curvesFile)
	if c.out, err = os.Create(path); err != nil {
		return err
	}
	defer c.out.Close()
	var stop context.CancelFunc
	c.ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	binary, err := watchrouteBinary(c.ctx)
	if err != nil {
		return err
	}
	os.Setenv(binaryVariable, binary)
	fmt.Println(machine())
	var failed error
	for _, p := range parts {
		if !strings.Contains(","+*only+",", ","+p.name+",") {
			continue
		}
		if err := p.run(c); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		if c.ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed, plotCmd([]string{path, *dir}))
}

func numbers(list string) (out []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of 1 or more", text)
		}
		out = append(out, n)
	}
	return out, nil
}

func (c *curves) write(p point) {
	b, err := json.Marshal(p)
	if err != nil { // an infinite number
		fmt.Fprintln(os.Stderr, "peers:", err)
		return
	}
	fmt.Printf("%s\n", b)
	fmt.Fprintf(c.out, "%s\n", b)
}

// about begins a curve.
func (c *curves) about(p point) { c.write(p) }

func (c *curves) point(curve, series string, x, y float64) {
	c.write(point{Curve: curve, Series: series, X: x, Y: y})
}

// note says what is not in a curve, or what happened meanwhile.
func (c *curves) note(curve, format string, args ...any) {
	c.write(point{Curve: curve, Note: fmt.Sprintf(format, args...)})
}

// serve runs f beside a server of its own, with further flags, whose folder is removed
// afterwards.
func (c *curves) serve(f func(s *watchroute) error, flags ...string) error {
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := startWatchroute(c.ctx, dir, flags...)
	if err != nil {
		return err
	}
	defer s.Stop(0)
	return f(s)
}

// memory is the server's RSS in MiB; settled, where the server has a debug
// address, is what remains of it after garbage was collected and given back.
func memory(s *watchroute) float64 {
	rss, _ := rssKiB(s.Pid)
	return float64(rss) / 1024
}

func settled(s *watchroute) float64 {
	debugGet(s.Debug, "/debug/gc")
	return memory(s)
}
