package purchases_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"

	"github.com/watchroute/watchroute/e2e/process"
	"github.com/watchroute/watchroute/e2e/purchases"
)

func TestParse_LinesWithCRLF(t *testing.T) {
	all, err := purchases.Parse(strings.NewReader(" 00002 19970112  5   77.00\r\n 23570 19970326  2   42.96\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[1].Customer != "23570" || all[1].CDs != 2 || all[1].Cents != 4296 || all[1].Date.Format("2006-01-02") != "1997-03-26" {
		t.Fatalf("got %+v", all)
	}
	o := all[0].Order(shopv1.OrderStatus_PENDING)
	if o.GetOrderId() != "p00001" || o.GetTotal().GetUnits() != 77 || o.GetItems()[0].GetPrice().GetNanos() != 400_000_000 {
		t.Fatalf("got %v", o)
	}
}

func TestParse_SaysWhichLineIsWrong(t *testing.T) {
	_, err := purchases.Parse(strings.NewReader(" 00002 19970112  5   77.00\r\n 00002 19970112  5\r\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Fatalf("got %v", err)
	}
}

func TestRead_TheWholeFile(t *testing.T) {
	all, err := purchases.Read(purchases.Path(process.Root(t)))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the real purchases are not here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	customers, ids := map[string]bool{}, map[string]bool{}
	for i := range all {
		customers[all[i].Customer], ids[all[i].OrderID()] = true, true
	}
	if len(all) != purchases.Total || len(ids) != purchases.Total || len(customers) != 23570 {
		t.Fatalf("%d purchases, %d orders, %d customers; the file's description says %d and 23570", len(all), len(ids), len(customers), purchases.Total)
	}
}
