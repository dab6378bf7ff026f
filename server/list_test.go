package server_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server"
)

// purse is a hub.Access whose callers have something left when they are asked as often as
// it says.
type purse struct {
	hub.Everything
	left atomic.Int64
}

func (p *purse) Grant(context.Context, hub.Call) (hub.Grant, error) { return p, nil }

func (p *purse) Spent(took time.Duration) error {
	if took == 0 && p.left.Add(-1) < 0 {
		return resource.Errorf(resource.LimitReached, "too dear")
	}
	return nil
}

// TestService_ListWithADearFilter: pages are shorter, and the list comes to its end.
func TestService_ListWithADearFilter(t *testing.T) {
	p := &purse{}
	n := start(t, func(c *hub.Config, _ *server.GRPCConfig) { c.Access = p })
	list := strings.Repeat("1,", 1000)
	for _, id := range []string{"a", "b", "bb", "bbb", "bbbb", "c"} {
		n.put(t, "notes/"+id, `{"id":"`+id+`","l":[`+list+`2]}`)
	}
	r := &watchroutev1.ListRequest{Parent: "notes", Filter: `data.id == "a" || data.id == "c" || data.l.exists(x, data.l.exists(y, x + y == 7))`}
	_, err := n.List(t.Context(), r)
	wantError(t, err, codes.ResourceExhausted, "LIMIT_REACHED", "")
	var got []string
	pages := 0
	for ; pages == 0 || r.PageToken != ""; pages++ {
		p.left.Store(2) // to compile and to look, or to look twice
		res, err := n.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, res := range res.Resources {
			got = append(got, res.Name)
		}
		r.PageToken = res.NextPageToken
		if pages > 5 {
			t.Fatal("it does not end")
		}
	}
	if strings.Join(got, " ") != "notes/a notes/c" || pages < 2 {
		t.Errorf("%v on %d pages", got, pages)
	}
}
