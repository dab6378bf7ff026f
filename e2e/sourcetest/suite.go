package sourcetest

import (
	"os"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// Connector says what the suite must know of a connector and its fixture.
type Connector struct {
	// Open starts the real broker, or skips the test.
	Open func(testing.TB) Broker
	// Poison is found in the bytes of what Broker.Poison publishes.
	Poison string
	// Starts says that the source may begin with the next event: it has `start`.
	Starts bool
	// Posts says that events are posted to the node: nobody keeps them while it is away.
	Posts bool
	// Advertises says that the broker tells its clients where to connect to, so that they
	// go past a forwarder.
	Advertises bool
	// Groups says that several nodes share what is read.
	Groups bool
	// Kills is how often the node is killed, where the broker takes its time to believe it:
	// in full always 5. Default: 5.
	Kills int
}

// scenario is one test of the suite.
type scenario struct {
	name    string
	variant process.Variant
	run     func(*world)
	skip    func(Connector) string // why it makes no sense; empty: it does
}

func scenarios() []scenario {
	posts := func(c Connector) string {
		if c.Posts {
			return "events are posted to the node: there is no broker"
		}
		return ""
	}
	starts := func(c Connector) string {
		if !c.Starts {
			return "it cannot be told where to begin"
		}
		return ""
	}
	direct := func(c Connector) string {
		if c.Posts || c.Advertises {
			return "nothing can stand between the node and the broker"
		}
		return ""
	}
	groups := func(c Connector) string {
		if !c.Groups {
			return "its nodes share nothing"
		}
		return ""
	}
	return []scenario{
		{name: "KeepsTheOrderOfEachKey", variant: process.Race, run: keepsOrder},
		{name: "BeginsLate", variant: process.Race, run: beginsLate, skip: posts},
		{name: "BeginsWithTheNext", variant: process.Race, run: beginsWithTheNext, skip: starts},
		{name: "NodeIsKilled", variant: process.Race, run: nodeIsKilled},
		{name: "NodeIsRestarted", variant: process.Race, run: nodeIsRestarted},
		{name: "BrokerIsKilled", variant: process.Race, run: brokerIsKilled, skip: posts},
		{name: "AcknowledgementsAreLost", variant: process.Race, run: acknowledgementsAreLost, skip: direct},
		{name: "BacksOff", variant: process.Race, run: backsOff},
		{name: "IsTakenUpAndDown", variant: process.Race, run: isTakenUpAndDown},
		{name: "Poison", variant: process.Race, run: poison},
		{name: "GroupIsHandedOver", variant: process.Race, run: groupIsHandedOver, skip: groups},
		{name: "GroupMemberIsKilled", variant: process.Race, run: groupMemberIsKilled, skip: groups},
		{name: "Drain", variant: process.Plain, run: drain},
		{name: "Latency", variant: process.Plain, run: latency},
	}
}

// Run runs the suite.
func Run(t *testing.T, c Connector) {
	if c.Kills == 0 || full() {
		c.Kills = 5
	}
	first := c.Open(t)
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			if s.skip != nil {
				if why := s.skip(c); why != "" {
					t.Skip(why)
				}
			}
			var b Broker
			if of, ok := first.(Sharer); ok {
				b = of.Another(t)
			} else {
				b = c.Open(t)
			}
			s.run(newWorld(t, c, b, s.variant))
		})
	}
}

// full says whether the measuring scenarios take their full size.
func full() bool { return os.Getenv("WATCHROUTE_SOURCETEST") == "full" }
