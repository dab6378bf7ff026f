package main

import (
	"strings"
	"testing"
)

func TestTable_ComparesWithTheCheapestPeerOfTheSameSize(t *testing.T) {
	result := func(peer string, conns int, cpu float64) *Result {
		return &Result{Peer: peer, Scenario: "s1", Mode: "max", N: 1000, Conns: conns, CPUPerM: cpu, WallS: 1}
	}
	var out strings.Builder
	table(&out, []*Result{
		result("etcd", 0, 30), result("gosse", 0, 8), result("wr-sse", 0, 4), result("wr-ws", 0, 2),
		result("etcd", 4, 2), result("wr-grpc", 4, 3), result("wr-longpoll", 7, 3),
	})
	for peer, ratio := range map[string]string{"wr-sse": "0.50", "wr-ws": "0.25", "wr-grpc": "1.50", "wr-longpoll": "", "gosse": ""} {
		found := false
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "| "+peer+" |") {
				found = true
				if !strings.HasSuffix(line, "| "+ratio+" |\n") {
					t.Errorf("%s is not compared as %q: %s", peer, ratio, line)
				}
			}
		}
		if !found {
			t.Errorf("no row of %s in\n%s", peer, out.String())
		}
	}
}
