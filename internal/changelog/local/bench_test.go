package local_test

import (
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/local"
)

var writerCounts = []int{1, 16, 128}

const (
	benchNames = 10_000
	benchValue = 1024
)

// BenchmarkWrite is acknowledged, synced writes of 1 KB values to 10,000 names,
// with the server's commit delay. Beside it, BenchmarkRawFsync is what the disk could do at most.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range writerCounts {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l, err := local.Open(b.Context(), local.Config{Dir: b.TempDir(), CommitDelay: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			value := randomValue()
			perWriter(b, writers, func(i int64) error {
				data := append([]byte(nil), value...)
				copy(data, fmt.Sprintf("%016d", i)) // no write changes nothing
				_, err := l.Write(b.Context(), changelog.Write{Collection: "orders", Ops: []changelog.Op{
					{ID: fmt.Sprintf("order-%d", i%benchNames), Data: data},
				}})
				return err
			})
		})
	}
}

// BenchmarkRawFsync appends the same bytes to a file; one committer takes all that
// wait and syncs once for them.
func BenchmarkRawFsync(b *testing.B) {
	for _, writers := range writerCounts {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "log"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			value := randomValue()
			type request struct{ done chan error }
			waiting := make(chan request, 2*writers)
			var committer sync.WaitGroup
			committer.Go(func() {
				var buf []byte
				var group []request
				for r := range waiting {
					buf, group = append(buf[:0], value...), append(group[:0], r)
					for more := true; more; {
						select {
						case r, open := <-waiting:
							if more = open; open {
								buf, group = append(buf, value...), append(group, r)
							}
						default:
							more = false
						}
					}
					_, err := f.Write(buf)
					if err == nil {
						err = f.Sync()
					}
					for _, r := range group {
						r.done <- err
					}
				}
			})
			perWriter(b, writers, func(int64) error {
				r := request{make(chan error, 1)}
				waiting <- r
				return <-r.done
			})
			close(waiting)
			committer.Wait()
		})
	}
}

func randomValue() []byte {
	value := make([]byte, benchValue)
	_, _ = rand.Read(value)
	return value
}

// perWriter shares b.N calls among so many goroutines and reports calls per second.
func perWriter(b *testing.B, writers int, call func(i int64) error) {
	b.ReportAllocs()
	b.SetBytes(benchValue)
	var next atomic.Int64
	var wg sync.WaitGroup
	cpu := cpuTime()
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N)/1000, "cpu-us/write")
}

// cpuTime is what the process has used so far. Other processes blur it less than
// they do the time that passes.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The reads run over 10,000 names that were each written five times.
func benchmarkRead(b *testing.B, read func(l *local.Log) (records int)) {
	l, err := local.Open(b.Context(), local.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	value := randomValue()
	for i := range 5 * benchNames / 100 {
		w := changelog.Write{Collection: "orders"}
		for j := range 100 {
			data := append([]byte(nil), value...)
			copy(data, fmt.Sprintf("%016d", i))
			w.Ops = append(w.Ops, changelog.Op{ID: fmt.Sprintf("order-%d", (i*100+j)%benchNames), Data: data})
		}
		if _, err := l.Write(b.Context(), w); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	records := 0
	for b.Loop() {
		records += read(l)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
	b.ReportMetric(float64(records)/float64(b.N), "records")
}

func count[T any](b *testing.B, seq iter.Seq2[T, error]) (n int) {
	for _, err := range seq {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	return n
}

// BenchmarkLatest reads the state: four records of five are passed over.
func BenchmarkLatest(b *testing.B) {
	benchmarkRead(b, func(l *local.Log) int {
		return count(b, l.Latest(b.Context(), "orders", changelog.Position{}, l.Bounds("orders").Head))
	})
}

// BenchmarkLatestTail reads the last 1,000 changes.
func BenchmarkLatestTail(b *testing.B) {
	benchmarkRead(b, func(l *local.Log) int {
		head := l.Bounds("orders").Head
		return count(b, l.Latest(b.Context(), "orders", changelog.Position{Revision: head - 10}, head))
	})
}

// BenchmarkHistory reads every change with what was before.
func BenchmarkHistory(b *testing.B) {
	benchmarkRead(b, func(l *local.Log) int {
		return count(b, l.History(b.Context(), "orders", changelog.Position{}, l.Bounds("orders").Head))
	})
}

// BenchmarkList reads the state by name, now and as of two fifths of the history,
// where each name takes three more steps down.
func BenchmarkList(b *testing.B) {
	for _, back := range []uint64{0, 300} {
		b.Run(fmt.Sprintf("back=%d", back), func(b *testing.B) {
			benchmarkRead(b, func(l *local.Log) int {
				return count(b, l.List(b.Context(), "orders", "", l.Bounds("orders").Head-back))
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	i := 0
	benchmarkRead(b, func(l *local.Log) int {
		i += 7919
		if r, err := l.Get(b.Context(), "orders", fmt.Sprintf("order-%d", i%benchNames), 0); err != nil || r == nil {
			b.Fatal(r, err)
		}
		return 1
	})
}
