package local_test

import (
	"testing"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
)

func TestWrite_CanBeReadBack(t *testing.T) {
	l := changelogtest.NewMem(t)
	ctx := t.Context()
	res, err := l.Write(ctx, changelog.Write{Collection: "orders", Ops: []changelog.Op{{ID: "1", Data: []byte(`{}`)}, {ID: "2", Data: []byte(`{"a":1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(ctx, changelog.Write{Collection: "orders", Ops: []changelog.Op{{ID: "1", Delete: true}}}); err != nil {
		t.Fatal(err)
	}
	t.Log(res.Revision, res.Time, res.Records[0], l.Bounds("orders"))
	for r, err := range l.List(ctx, "orders", "", 1) {
		t.Log(r, err)
	}
	for r, err := range l.Latest(ctx, "orders", changelog.Position{}, 2) {
		t.Log(r, err)
	}
	for r, err := range l.History(ctx, "orders", changelog.Position{}, 2) {
		t.Log(r, err)
	}
}
