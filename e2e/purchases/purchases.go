// Package purchases reads the real input of the tests: the whole purchase history
// of 23,570 customers of an online shop in 1997 and 1998, and makes orders of it.
//
// The file is not part of the product. It is looked for beside the project, in
// ../shared/data, and where WATCHROUTE_PURCHASES points to.
package purchases

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

// Total is how many purchases the file has.
const Total = 69659

// Purchase is one line of the file.
type Purchase struct {
	Line     int // from 1
	Customer string
	Date     time.Time
	CDs      int32
	Cents    int64
}

// Path gives where the file should be; root is the project's folder.
func Path(root string) string {
	if path := os.Getenv("WATCHROUTE_PURCHASES"); path != "" {
		return path
	}
	return filepath.Join(root, "..", "shared", "data", "CDNOW_master.txt")
}

// Read reads a file of purchases.
func Read(path string) ([]Purchase, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(f)
}

// Parse reads lines such as ` 00001 19970101  1   11.77`: customer, day, number of
// CDs, dollars. Lines end with CR LF.
func Parse(r io.Reader) ([]Purchase, error) {
	var all []Purchase
	for lines, n := bufio.NewScanner(r), 1; ; n++ {
		if !lines.Scan() {
			return all, lines.Err()
		}
		p, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		p.Line = n
		all = append(all, p)
	}
}

func parseLine(line string) (p Purchase, err error) {
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return p, fmt.Errorf("%d fields instead of 4: %q", len(fields), line)
	}
	p.Customer = fields[0]
	if p.Date, err = time.Parse("20060102", fields[1]); err != nil {
		return p, err
	}
	cds, err := strconv.ParseInt(fields[2], 10, 32)
	if err != nil {
		return p, err
	}
	p.CDs = int32(cds)
	whole, part, _ := strings.Cut(fields[3], ".")
	if len(part) != 2 {
		return p, fmt.Errorf("%q is no amount in dollars and cents", fields[3])
	}
	p.Cents, err = strconv.ParseInt(whole+part, 10, 64)
	return p, err
}

// OrderID gives the id of the order, unique in the file.
func (p *Purchase) OrderID() string { return fmt.Sprintf("p%05d", p.Line) }

// Order gives the order at a stage.
func (p *Purchase) Order(status shopv1.OrderStatus) *shopv1.Order {
	money := func(cents int64) *shopv1.Money {
		return &shopv1.Money{CurrencyCode: "USD", Units: cents / 100, Nanos: int32(cents%100) * 10_000_000}
	}
	o := &shopv1.Order{
		OrderId: p.OrderID(), CustomerId: p.Customer, Status: status, Total: money(p.Cents),
		Items:     []*shopv1.Item{{Sku: "CD", Quantity: p.CDs, Price: money(p.Cents / max(1, int64(p.CDs)))}},
		PlaceTime: timestamppb.New(p.Date), StatusTime: timestamppb.New(p.Date.AddDate(0, 0, int(status)-1)),
	}
	if status == shopv1.OrderStatus_OUT_FOR_DELIVERY || status == shopv1.OrderStatus_DELIVERED {
		o.Location = &shopv1.Location{Latitude: 40 + float64(p.Line%100)/10, Longitude: -75 - float64(p.Line%300)/10, Description: "on the way to " + p.Customer}
	}
	return o
}
