package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/browser"
	"github.com/watchroute/watchroute/e2e/hostile"
	"github.com/watchroute/watchroute/e2e/process"
	"github.com/watchroute/watchroute/e2e/shop/event"
	"github.com/watchroute/watchroute/e2e/shop/stack"
)

// shopTime bounds what happens once Kafka and Chromium are there.
const shopTime = time.Minute

// street is a shop with its Watchroute.
type street struct {
	t    *testing.T
	ctx  context.Context
	node *process.Server
	shop *stack.Stack
}

// newStreet starts all of it. Tokens count for so short a time that pages and watchers
// have to renew them all along.
func newStreet(t *testing.T) *street {
	t.Helper()
	kafka := brokers.Kafka(t, brokers.Options{Settings: []string{fmt.Sprintf("num.partitions=%d", event.Partitions)}})
	ctx, cancel := context.WithTimeout(t.Context(), shopTime)
	t.Cleanup(cancel)
	template, err := os.ReadFile("shop/watchroute.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	s := &street{t: t, ctx: ctx}
	s.node = process.Place(t, process.Options{Variant: process.Race, Args: []string{"--config", filepath.Join(folder, "watchroute.yaml")}})
	s.shop, err = stack.Prepare(ctx, stack.Config{Folder: folder, Template: template, Brokers: []string{kafka.Addr}, Watchroute: s.node.HTTP, Pages: "127.0.0.1:0",
		Customers: []string{"ada", "grace"}, Packing: time.Second, Loading: time.Second, Driving: time.Second, TokenLife: 6 * time.Second,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.shop.Close)
	s.node.Start()
	s.shop.Start()
	return s
}

// await waits until something is so, within the time of the whole test.
func (s *street) await(what string, is func() bool) {
	s.t.Helper()
	for !is() {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("there are %v for all of it; it ended while waiting for %s", shopTime, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// call makes a request of the shop or of the node and gives the answer's status and body.
func (s *street) call(method, url, token, body string, header ...string) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(s.ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// post makes a request of the shop and gives a field of the answer.
func (s *street) post(path, field, token, body string, header ...string) (string, error) {
	status, answer, err := s.call("POST", s.shop.URL+path, token, body, header...)
	if err != nil {
		return "", err
	}
	var fields map[string]any
	if err := json.Unmarshal(answer, &fields); status != http.StatusOK || err != nil {
		return "", fmt.Errorf("%s: status %d, %s", path, status, answer)
	}
	return fmt.Sprint(fields[field]), nil
}

// login gives a token.
func (s *street) login(who string) string {
	s.t.Helper()
	token, err := s.post("/login", "token", "", who)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// place places an order and gives its id.
func (s *street) place(customer string, header ...string) string {
	s.t.Helper()
	id, err := s.post("/orders", "orderId", s.login(`{"customer": "`+customer+`"}`), `{"items": [{"sku": "tea", "quantity": 2}]}`, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// orderBook is what a service that watches for the warehouse was told.
type orderBook struct {
	mu     sync.Mutex
	orders map[string][]watchroute.Resource[*shopv1.Order] // by id, as it went on
	states []watchroute.State
	err    error // why the watch ended
}

// follow watches every change by gRPC until the context ends, with a fresh token for each
// connection.
func (s *street) follow() *orderBook {
	s.t.Helper()
	l := &orderBook{orders: map[string][]watchroute.Resource[*shopv1.Order]{}}
	client := watchroute.New(s.node.Dial(), watchroute.WithBackoff(50*time.Millisecond, time.Second),
		watchroute.WithCredential(func(context.Context, bool) (string, error) {
			return s.post("/login", "token", "", `{"warehouse": true}`)
		}),
		watchroute.WithOnState(func(c watchroute.StateChange) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.states = append(l.states, c.State)
		}))
	ctx, cancel := context.WithCancel(s.ctx)
	var work sync.WaitGroup
	work.Go(func() {
		for event, err := range watchroute.Watch[*shopv1.Order](ctx, client, "orders", watchroute.EveryChange()) {
			l.apply(event, err)
		}
	})
	s.t.Cleanup(func() {
		cancel()
		work.Wait()
		_ = client.Close()
	})
	return l
}

func (l *orderBook) apply(e watchroute.Event[*shopv1.Order], err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	if err == nil && e.Kind == watchroute.Present {
		id := e.Value.GetOrderId()
		l.orders[id] = append(l.orders[id], e.Resource)
	}
}

// steps gives the statuses of each order, as they were told.
func (l *orderBook) steps() map[string][]shopv1.OrderStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string][]shopv1.OrderStatus{}
	for id, told := range l.orders {
		for _, r := range told {
			all[id] = append(all[id], r.Value.GetStatus())
		}
	}
	return all
}

// traces gives the trace to which each step of an order belongs.
func (l *orderBook) traces(id string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.orders[id] {
		all = append(all, event.Trace(r.Labels["traceparent"]).ID())
	}
	return all
}

// wentOn checks that the watcher began anew at no time.
func (l *orderBook) wentOn(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	resumed := 0
	for i, state := range l.states {
		if state == watchroute.Resuming {
			resumed++
		}
		if state == watchroute.Resetting || state == watchroute.Snapshot && i > 1 {
			t.Errorf("the watcher did not go on where it was: %v", l.states)
			break
		}
	}
	if l.err != nil {
		t.Errorf("the watcher's watch ended: %v", l.err)
	}
	t.Logf("the watcher came back %d times", resumed)
}

// customers gives who has which orders.
func (l *orderBook) customers() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(l.orders)) {
		c := l.orders[id][0].Value.GetCustomerId()
		all[c] = append(all[c], id)
	}
	return all
}

// wholeWay are the steps of an order.
var wholeWay = []shopv1.OrderStatus{shopv1.OrderStatus_PENDING, shopv1.OrderStatus_SHIPPED, shopv1.OrderStatus_OUT_FOR_DELIVERY, shopv1.OrderStatus_DELIVERED}

// told gives what a customer's page says has happened, by order.
func told(p *browser.Page) map[string][]string {
	var lines [][2]string
	p.Eval(&lines, `[...document.querySelectorAll("#news li")].map((e) => [e.dataset.order, e.textContent.split(": ").at(-1)])`)
	all := map[string][]string{}
	for _, l := range lines {
		all[l[0]] = append(all[l[0]], l[1])
	}
	return all
}

// board gives the orders that the warehouse's page shows, by status.
func board(p *browser.Page) (b map[string][]string) {
	p.Eval(&b, `Object.fromEntries([...document.querySelectorAll("section[data-status]")].map((s) =>
		[s.dataset.status, [...s.querySelectorAll("[data-order]")].map((e) => e.dataset.order).sort()]))`)
	return b
}

func shows(p *browser.Page, text string) func() bool {
	return func() bool { return strings.Contains(p.Text(), text) }
}

// TestShop: services that know nothing of Watchroute tell each other by Kafka what happens
// to orders. A customer's page shows each step of their own, the warehouse's page all
// orders, while pages are reloaded, tokens expire and Watchroute is killed.
func TestShop_EachStepIsSeenOnceByWhoMaySeeIt(t *testing.T) {
	b := browser.Start(t)
	s := newStreet(t)
	watcher := s.follow()
	ada, grace, warehouse := b.Open(s.shop.URL+"/customer.html?customer=ada"), b.Open(s.shop.URL+"/customer.html?customer=grace"), b.Open(s.shop.URL+"/warehouse.html")
	for _, p := range []*browser.Page{ada, grace, warehouse} {
		s.await("a page to be live", func() (live bool) { // not by its text: orders are "delivered"
			p.Eval(&live, `document.getElementById("state").textContent.startsWith("live")`)
			return live
		})
	}

	const trace = "0af7651916cd43dd8448eb211c80319c"
	first := s.place("ada", "traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	strangers := s.place("grace")
	s.await("ada's first order to be shipped", func() bool { return slices.Contains(told(ada)[first], "Shipped") })
	if status, answer, err := s.call("GET", s.node.URL("/v1/orders/"+strangers), s.login(`{"customer": "ada"}`), ""); err != nil || status != http.StatusNotFound || bytes.Contains(answer, []byte("tea")) {
		t.Errorf("grace's order is shown to ada: status %d, %s, %v", status, answer, err)
	}

	ada.Eval(nil, "void setTimeout(() => location.reload(), 20)")
	s.await("ada's page to go on after it was reloaded", shows(ada, "went on where it was"))

	s.place("ada")
	s.place("grace")
	s.await("a parcel on the van", func() bool { return len(board(warehouse)["OUT_FOR_DELIVERY"]) > 0 })
	s.node.Kill()
	for _, p := range []*browser.Page{ada, grace, warehouse} {
		s.await("a page to notice that Watchroute is gone", shows(p, "connecting again"))
	}
	ada.Eval(nil, `document.getElementById("order").click()`) // the shop goes on without it
	s.node.Start()

	s.await("everything to be delivered", func() bool {
		all := watcher.steps()
		for _, steps := range all {
			if steps[len(steps)-1] != shopv1.OrderStatus_DELIVERED {
				return false
			}
		}
		return len(all) == 5
	})
	for id, steps := range watcher.steps() {
		if !slices.Equal(steps, wholeWay) {
			t.Errorf("the watcher was told of %s: %v", id, steps)
		}
	}
	watcher.wentOn(t)
	if got := watcher.traces(first); !slices.Equal(got, []string{trace, trace, trace, trace}) {
		t.Errorf("the steps of ada's first order belong to the traces %q, want %s", got, trace)
	}

	owners := watcher.customers()
	if len(owners["ada"]) != 3 || len(owners["grace"]) != 2 {
		t.Errorf("the orders are %v", owners)
	}
	for customer, p := range map[string]*browser.Page{"ada": ada, "grace": grace} {
		s.await(customer+"'s page to show everything as delivered", func() bool { return strings.Count(p.Text(), ": Delivered") >= len(owners[customer]) })
		news := told(p)
		if got := slices.Sorted(maps.Keys(news)); !slices.Equal(got, owners[customer]) {
			t.Errorf("%s's page tells of %v, theirs are %v", customer, got, owners[customer])
		}
		for id, steps := range news {
			if !slices.Equal(steps, []string{"Placed", "Shipped", "Out for delivery", "Delivered"}) {
				t.Errorf("%s's page tells of %s: %q", customer, id, steps)
			}
		}
	}
	all := slices.Sorted(maps.Keys(watcher.steps()))
	s.await("the warehouse's page to show everything as delivered", func() bool { return slices.Equal(board(warehouse)["DELIVERED"], all) })
	for status, orders := range board(warehouse) {
		if status != "DELIVERED" && len(orders) > 0 {
			t.Errorf("the warehouse's page shows %v as %s", orders, status)
		}
	}

	dead, err := watchroutev1.NewResourceServiceClient(s.node.Dial()).List(hostile.Bearer(s.ctx, s.login(`{"operator": true}`)), &watchroutev1.ListRequest{Parent: "system.deadletters"})
	if err != nil || len(dead.GetResources()) > 0 {
		t.Errorf("dead letters: %v, %v", dead.GetResources(), err)
	}
}
