package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// growthLine is a line of BenchmarkGrowth: what grows, how many, and ns of one write.
var growthLine = regexp.MustCompile(`(?m)^BenchmarkGrowth/(.+)/(\d+)-\d+\s+\d+\s+([0-9.]+) ns/op`)

// measureHub runs the hub's own benchmark, in the process and with a log in memory:
// what a write costs beside watches that it does not concern.
func (c *curves) measureHub() error {
	const names, filters = "other-names", "filters"
	c.about(point{Curve: names, Title: "One write and its delivery, beside watches of other names (in the process)", XLabel: "watches of other names", YLabel: "µs", LogX: true})
	c.about(point{Curve: filters, Title: "One write and its delivery, beside watches with filters that do not match (in the process)", XLabel: "distinct filters", YLabel: "µs", LogX: true, LogY: true})
	root, err := repository()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(c.ctx, "go", "test", "./internal/hub", "-run", "^$", "-bench", "^BenchmarkGrowth$", "-benchtime", "0.5s")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	found := growthLine.FindAllStringSubmatch(string(out), -1)
	if len(found) == 0 {
		return fmt.Errorf("no result in %q", out)
	}
	for _, m := range found {
		n, _ := strconv.ParseFloat(m[2], 64) // digits
		ns, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return err
		}
		curve, series := filters, strings.ReplaceAll(strings.TrimPrefix(m[1], "filters_"), "_", " ")
		if m[1] == "other_names" {
			curve, series = names, ""
		}
		c.point(curve, series, n, ns/1000)
	}
	return nil
}
