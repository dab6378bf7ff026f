package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/shop/event"
)

// withKafka does something while a Kafka runs: the one at an address, or one of its own in a
// folder.
func withKafka(ctx context.Context, address, folder string, do func(address string) error) (err error) {
	if address != "" {
		return do(address)
	}
	fmt.Fprintln(os.Stderr, "starting Kafka, which takes some seconds ...")
	t := &untested{}
	return errors.Join(t.run(func() {
		b := brokers.Kafka(t, brokers.Options{Dir: folder, Settings: []string{fmt.Sprintf("num.partitions=%d", event.Partitions)}})
		if ctx.Err() == nil {
			err = do(b.Addr)
		}
	}), err)
}

// untested is the testing.TB of a program: package brokers is made for tests, and asks for
// one. What it does not ask for is not here, and would panic.
type untested struct {
	testing.TB
	cleanups []func()
	failures []error
}

// run does something as a test would be run: it may be left by Fatal or Skip, and its
// cleanups are run.
func (t *untested) run(f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for len(t.cleanups) > 0 {
				last := t.cleanups[len(t.cleanups)-1]
				t.cleanups = t.cleanups[:len(t.cleanups)-1]
				last()
			}
		}()
		f()
	}()
	<-done
	return errors.Join(t.failures...)
}

func (t *untested) Name() string                 { return "shop" }
func (t *untested) Helper()                      {}
func (t *untested) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *untested) Failed() bool                 { return len(t.failures) > 0 }
func (t *untested) Logf(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }

func (t *untested) Errorf(format string, a ...any) {
	t.failures = append(t.failures, fmt.Errorf(format, a...))
}

func (t *untested) Fatal(a ...any) { t.Fatalf("%s", fmt.Sprint(a...)) }

func (t *untested) Fatalf(format string, a ...any) {
	t.Errorf(format, a...)
	runtime.Goexit()
}

func (t *untested) Skip(a ...any) {
	t.Fatal(strings.TrimPrefix(fmt.Sprint(a...), "SKIP: "))
}
