// Flags is an instance of a program that is configured live: what stands in the collection
// flags decides what it does, from the moment that it is written.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

// Switch turns a feature on.
type Switch struct {
	On bool `json:"on"`
}

// Greeting is how people are greeted.
type Greeting struct {
	Text  string `json:"text"`
	Times int    `json:"times"`
}

// lookup gives a setting. What it does not say is as in otherwise: all of it where there
// is no such setting, or it cannot be read.
func lookup[T any](settings *watchroute.Mirror[json.RawMessage], name string, otherwise T) T {
	setting, ok := settings.Get(name)
	value := otherwise
	if !ok || json.Unmarshal(setting.Value, &value) != nil {
		return otherwise
	}
	return value
}

func main() {
	server := flag.String("server", "127.0.0.1:9090", "the node's gRPC address")
	name := flag.String("name", "instance", "the name of this instance")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client, err := watchroute.Dial(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	changed := make(chan struct{}, 1)
	settings, err := watchroute.NewMirror(ctx, client, "flags", watchroute.MirrorConfig[json.RawMessage]{
		OnChange: func(watchroute.Change[json.RawMessage]) {
			select {
			case changed <- struct{}{}:
			default: // it is told already
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer settings.Close()
	// With the defaults, if the node is not there in time.
	inTime, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := settings.Synced(inTime); err != nil {
		fmt.Printf("%s: no settings yet: %v\n", *name, err)
	}
	for told := ""; ; {
		dark := lookup(settings, "dark-mode", Switch{On: false})
		greeting := lookup(settings, "greeting", Greeting{Text: "Hello", Times: 1})
		if now := fmt.Sprintf("%s: dark mode %v, greeting %q x %d", *name, dark.On, greeting.Text, greeting.Times); now != told {
			fmt.Println(now)
			told = now
		}
		select {
		case <-changed:
		case <-settings.Done():
			if ctx.Err() == nil {
				log.Fatal(settings.Err())
			}
			return
		}
	}
}
