package watchroute

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTogether_WhoAsksWhileAnAnswerIsOnItsWayGetsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		ask := together(func(ctx context.Context, refused bool) (string, error) {
			n := asked.Add(1)
			time.Sleep(time.Second)
			return fmt.Sprint(refused, n), nil
		})
		answers := make(chan string, 10)
		for range 3 {
			for _, refused := range []bool{true, false} {
				go func() {
					credential, err := ask(t.Context(), refused)
					answers <- fmt.Sprint(credential, err)
				}()
			}
			synctest.Wait() // so that the first of them is asked first
		}
		count := map[string]int{}
		for range 6 {
			count[<-answers]++
		}
		if len(count) != 2 || asked.Load() != 2 {
			t.Errorf("asked %d times: %v", asked.Load(), count)
		}
		if again, err := ask(t.Context(), true); err != nil || again != "true 3" {
			t.Errorf("afterwards: %q, %v", again, err)
		}
		var calls atomic.Int32
		ask = together(func(ctx context.Context, _ bool) (string, error) {
			if calls.Add(1) == 1 {
				<-ctx.Done()
			}
			return "given", ctx.Err()
		})
		hung, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _, _ = ask(hung, false) }()
		time.Sleep(2 * time.Second)
		if credential, err := ask(t.Context(), false); err != nil || credential != "given" {
			t.Errorf("beside one that hangs: %q, %v", credential, err)
		}
	})
}

func TestTogether_TheProviderGoesOnUntilNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		ask := together(func(ctx context.Context, _ bool) (string, error) {
			<-ctx.Done()
			ended = ctx.Err()
			return "", ended
		})
		one, cancelOne := context.WithCancel(t.Context())
		two, cancelTwo := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		for _, ctx := range []context.Context{one, two} {
			go func() {
				_, err := ask(ctx, false)
				errs <- err
			}()
		}
		synctest.Wait()
		cancelOne()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		if ended != nil {
			t.Fatal("the provider was ended, and somebody waits")
		}
		cancelTwo()
		<-errs
		synctest.Wait()
		if ended == nil {
			t.Error("the provider goes on, and nobody waits")
		}
	})
}
