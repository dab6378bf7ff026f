package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"time"
)

func loadCmd(args []string) error {
	p, args, err := named(args)
	if err != nil {
		return err
	}
	l := &load{peer: p}
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	fs.StringVar(&l.addr, "addr", "", "the server's address as its READY line gives it")
	fs.IntVar(&l.pid, "pid", 0, "the server's process id, for CPU and memory")
	fs.StringVar(&l.debug, "debug", "", "the server's debug address, optional")
	fs.StringVar(&l.Scenario, "scenario", "s1", "s1 fan-out, s2 many keys, s3 idle, s4 resume storm, s5 snapshot")
	fs.StringVar(&l.Mode, "mode", "", "s1, s2: rate or max (default rate)")
	fs.IntVar(&l.N, "n", 0, "watchers (default s1 1000, s2 10000, s3 5000, s4 1000, s5 100)")
	fs.IntVar(&l.Conns, "conns", 0, "connections that the watchers share; 0: one each")
	fs.Float64Var(&l.Rate, "rate", 0, "mode rate: updates a second (default s1 20, s2 2000)")
	fs.IntVar(&l.Window, "window", 0, "mode max: updates in flight (default s1 16, s2 1024)")
	fs.Float64Var(&l.Secs, "secs", 5, "s1, s2: measured seconds")
	fs.IntVar(&l.Size, "size", 0, "value bytes (default 256, s5 1024)")
	fs.IntVar(&l.Updates, "updates", 0, "s4: missed updates (1000); s5: items (10000)")
	fs.IntVar(&l.Dials, "dials", 64, "connections opened at once")
	fs.DurationVar(&l.Idle, "idle", 5*time.Second, "s3: how long to observe")
	fs.StringVar(&l.Profile, "profile", "", "write a CPU profile of the server to this file")
	fs.Parse(args)
	if l.addr == "" {
		return fmt.Errorf("load needs -addr")
	}
	def := map[string]params{
		"s1": {N: 1000, Rate: 20, Window: 16, Size: 256, Mode: "rate"},
		"s2": {N: 10000, Rate: 2000, Window: 1024, Size: 256, Mode: "rate"},
		"s3": {N: 5000, Size: 256},
		"s4": {N: 1000, Size: 256, Updates: 1000},
		"s5": {N: 100, Size: 1024, Updates: 10000},
	}[l.Scenario]
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&l.N, def.N)
	orInt(&l.Window, def.Window)
	orInt(&l.Size, def.Size)
	orInt(&l.Updates, def.Updates)
	if l.Rate == 0 {
		l.Rate = def.Rate
	}
	if l.Mode == "" {
		l.Mode = def.Mode
	}
	rs, err := l.do()
	if err != nil {
		return err
	}
	for _, r := range rs {
		b, _ := json.Marshal(r)
		fmt.Printf("%s\n", b)
	}
	return nil
}
