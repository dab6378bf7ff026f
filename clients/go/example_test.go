package watchroute_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func ExampleWatch() {
	address, stop := exampleServer()
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if _, err := watchroute.Put(ctx, client, "orders/42", &shopv1.Order{CustomerId: "7"}); err != nil {
		log.Fatal(err)
	}
	for event, err := range watchroute.Watch[*shopv1.Order](ctx, client, "orders", watchroute.Filter(`data.customer_id == "7"`)) {
		if err != nil {
			log.Fatal(err) // it is of no use to try again
		}
		switch event.Kind {
		case watchroute.Present:
			fmt.Println(event.Name, event.Value.GetStatus())
		case watchroute.Absent:
			fmt.Println(event.Name, "is gone")
		case watchroute.Synced:
			fmt.Println("that is all, changes follow")
			if _, err := watchroute.Put(ctx, client, "orders/42", &shopv1.Order{CustomerId: "7", Status: shopv1.OrderStatus_SHIPPED}); err != nil {
				log.Fatal(err)
			}
		case watchroute.Reset:
			fmt.Println("forget it all")
		}
		if event.Kind == watchroute.Present && event.Value.GetStatus() == shopv1.OrderStatus_SHIPPED {
			break
		}
	}
	// Output:
	// orders/42 ORDER_STATUS_UNSPECIFIED
	// that is all, changes follow
	// orders/42 SHIPPED
}

// A page that is drawn at most ten times in a second, however often things change.
func ExampleBatches() {
	address, stop := exampleServer()
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	for i := range 3 {
		if _, err := watchroute.Put(ctx, client, fmt.Sprint("notes/", i), map[string]int{"n": i}); err != nil {
			log.Fatal(err)
		}
	}
	notes := map[string]int{}
	for batch, err := range watchroute.Batches[map[string]int](ctx, client, "notes", 100*time.Millisecond) {
		if err != nil {
			log.Fatal(err)
		}
		for _, event := range batch {
			switch event.Kind {
			case watchroute.Present:
				notes[event.Name] = event.Value["n"]
			case watchroute.Absent:
				delete(notes, event.Name)
			case watchroute.Reset:
				clear(notes)
			}
		}
		if batch[len(batch)-1].Kind == watchroute.Synced {
			fmt.Println(notes)
			break
		}
	}
	// Output:
	// map[notes/0:0 notes/1:1 notes/2:2]
}

func ExampleNewMirror() {
	address, stop := exampleServer()
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	orders, err := watchroute.NewMirror(ctx, client, "orders", watchroute.MirrorConfig[*shopv1.Order]{
		Indexes: map[string]func(watchroute.Resource[*shopv1.Order]) []string{
			"customer": func(r watchroute.Resource[*shopv1.Order]) []string { return []string{r.Value.GetCustomerId()} },
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	outcome, err := watchroute.Put(ctx, client, "orders/42", &shopv1.Order{CustomerId: "7"})
	if err != nil {
		log.Fatal(err)
	}
	if err := orders.WaitFor(ctx, outcome.Revision); err != nil {
		log.Fatal(err)
	}
	for _, order := range orders.ByIndex("customer", "7") {
		fmt.Println(order.Name)
	}
	// Output:
	// orders/42
}

func ExamplePut() {
	address, stop := exampleServer()
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	type Note struct {
		Text string `json:"text"`
	}
	// With a request id it is safe to try again, and is tried again.
	if _, err := watchroute.Put(ctx, client, "notes/1", Note{"hi"}, watchroute.RequestID(watchroute.NewRequestID())); err != nil {
		log.Fatal(err)
	}
	_, err = watchroute.Put(ctx, client, "notes/1", Note{"me first"}, watchroute.IfNew())
	if e, ok := errors.AsType[*watchroute.Error](err); ok && e.Reason == watchroutev1.ErrorReason_PRECONDITION_FAILED.String() {
		fmt.Println("it exists already, at revision", e.Metadata["revision"])
	}
	note, err := watchroute.Get[Note](ctx, client, "notes/1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(note.Value.Text)
	// Output:
	// it exists already, at revision 1
	// hi
}

// A program that keeps the state itself goes on where it was, also after a restart.
func ExampleKeepToken() {
	address, stop := exampleServer()
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	store := &memory{} // or watchroute.FileStore{Folder: "/var/lib/program"}
	for run := range 2 {
		if _, err := watchroute.Put(context.Background(), client, fmt.Sprint("notes/", run), map[string]int{"run": run}); err != nil {
			log.Fatal(err)
		}
		ctx, quit := context.WithCancel(context.Background())
		for event, err := range watchroute.Watch[map[string]int](ctx, client, "notes", watchroute.KeepToken(store, "notes")) {
			if errors.Is(err, context.Canceled) {
				break
			}
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(run, event.Kind)
			if event.Kind == watchroute.Synced || run == 1 {
				quit()
			}
		}
		quit()
	}
	// Output:
	// 0 PRESENT
	// 0 SYNCED
	// 1 PRESENT
}
