// Command peers measures Watchroute beside the systems that a user could pick in
// its place, and how its cost grows. See README.md.
package main

import (
	"fmt"
	"os"
)

const usageText = `usage:
  peers list                      the peers
  peers run [flags]               servers and load for all peers and scenarios
  peers run -short                the short set, about 5 minutes
  peers serve NAME [flags]        one server, until it is interrupted
  peers load NAME -addr A [flags] one scenario against a running server
  peers table FILE                medians of the JSON lines in FILE as tables
  peers curves -out DIR [flags]   how Watchroute's cost grows: points, and a drawing of each curve
  peers plot FILE DIR             draw the points of FILE
  peers floor [flags]             what one write to one loopback socket costs
`

func main() {
	raiseFiles()
	commands := map[string]func(args []string) error{
		"list": list, "serve": serve, "load": loadCmd, "run": runAll, "table": tableCmd,
		"curves": curvesCmd, "plot": plotCmd, "floor": floor, "floor-sink": floorSink,
	}
	var command func([]string) error
	if len(os.Args) > 1 {
		command = commands[os.Args[1]]
	}
	if command == nil {
		fmt.Fprint(os.Stderr, usageText)
		os.Exit(2)
	}
	if err := command(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func list([]string) error {
	for _, n := range peerNames() {
		fmt.Printf("%-20s %s\n", n, peers[n].Info().About)
	}
	return nil
}
