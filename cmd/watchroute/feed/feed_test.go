package feed

import (
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

func take(steps iter.Seq[Step], n int) []Step {
	var out []Step
	for s := range steps {
		if out = append(out, s); len(out) == n {
			break
		}
	}
	return out
}

// check says what is wrong with the order of steps.
func check(t *testing.T, steps []Step) (ended map[shopv1.OrderStatus]int) {
	t.Helper()
	ended = map[shopv1.OrderStatus]int{}
	state := map[string]shopv1.OrderStatus{}
	var at time.Duration
	for _, s := range steps {
		if s.At < at {
			t.Fatalf("%s comes at %v, after %v", s.OrderID, s.At, at)
		}
		at = s.At
		was, is := state[s.OrderID], s.Order.GetStatus()
		switch {
		case s.Order == nil:
			if next[was] != 0 || was == 0 {
				t.Fatalf("%s is deleted while it is %s", s.OrderID, was)
			}
		case was == 0 && is != shopv1.OrderStatus_PENDING, was != 0 && is != was && is != next[was] && is != shopv1.OrderStatus_CANCELLED,
			was == shopv1.OrderStatus_DELIVERED, was == shopv1.OrderStatus_CANCELLED:
			t.Fatalf("%s goes from %s to %s", s.OrderID, was, is)
		}
		state[s.OrderID] = is
		if s.Order.GetOrderId() != s.OrderID && s.Order != nil {
			t.Fatalf("%s holds %s", s.OrderID, s.Order.GetOrderId())
		}
		if is == shopv1.OrderStatus_DELIVERED || is == shopv1.OrderStatus_CANCELLED {
			ended[is]++
		}
	}
	return ended
}

func same(a, b []Step) bool {
	return slices.EqualFunc(a, b, func(a, b Step) bool {
		return a.At == b.At && a.OrderID == b.OrderID && proto.Equal(a.Order, b.Order)
	})
}

func TestGenerate_WalksOrdersThroughTheirStages(t *testing.T) {
	g := Generated{Seed: 7, Rate: 10, Began: time.Unix(1_800_000_000, 0)}
	steps := take(Generate(g), 5000)
	ended := check(t, steps)
	if ended[shopv1.OrderStatus_DELIVERED] < 300 || ended[shopv1.OrderStatus_CANCELLED] < 10 {
		t.Errorf("few orders end: %v", ended)
	}
	if last := steps[len(steps)-1].At.Seconds(); last < 400 || last > 600 {
		t.Errorf("5000 steps at 10 a second take %v s", last)
	}
	if !same(steps, take(Generate(g), 5000)) {
		t.Error("the same seed gives other steps")
	}
	g.Seed++
	if same(steps, take(Generate(g), 5000)) {
		t.Error("another seed gives the same steps")
	}
}

const purchases = " 00002 19970112  5   77.00\r\n 00001 19970101  1   11.77\r\n 00002 19970112  1   12.00\r\n 00003 19970102  0    0.00\r\n"

func TestReplay_MakesAnOrderOfEachPurchase(t *testing.T) {
	all, err := ReadPurchases(strings.NewReader(purchases))
	if err != nil || len(all) != 4 {
		t.Fatalf("%v, %v", all, err)
	}
	steps := slices.Collect(Replay(all, 1))
	check(t, steps)
	last := map[string]*shopv1.Order{}
	for _, s := range steps {
		last[s.OrderID] = s.Order
	}
	if len(last) != 4 || last["00002-19970112-2"] == nil {
		t.Fatalf("got %v", last)
	}
	o := last["00002-19970112"]
	if o.GetTotal().GetUnits() != 77 || o.GetItems()[0].GetQuantity() != 5 || o.GetItems()[0].GetPrice().GetNanos() != 400_000_000 {
		t.Errorf("got %v", o)
	}
	if !same(steps, slices.Collect(Replay(all, 1))) {
		t.Error("the same seed gives other steps")
	}
}

func TestReplay_OfTheRealPurchases(t *testing.T) {
	f, err := os.Open("../../../../shared/data/CDNOW_master.txt")
	if err != nil {
		t.Skip("the purchases are not here")
	}
	defer f.Close()
	all, err := ReadPurchases(f)
	if err != nil || len(all) != 69_659 {
		t.Fatalf("%d purchases, %v", len(all), err)
	}
	all = all[:10_000]
	ended := check(t, slices.Collect(Replay(all, 1)))
	if n := ended[shopv1.OrderStatus_DELIVERED] + ended[shopv1.OrderStatus_CANCELLED]; n != len(all) {
		t.Errorf("%d of %d orders end", n, len(all))
	}
}

func TestReadPurchases_NamesTheLineThatIsWrong(t *testing.T) {
	for _, line := range []string{"1 19970101 1", "1 19971301 1 1.00", "1 19970101 x 1.00", "1 19970101 1 1.0", "1 19970101 1 -1.00", "1 19970101 -1 1.00"} {
		if _, err := ReadPurchases(strings.NewReader(purchases + line)); err == nil || !strings.Contains(err.Error(), "line 5") {
			t.Errorf("%q: %v", line, err)
		}
	}
}
