package changelogtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
)

var killScenarios = []scenario{
	{"P11_AKilledProcessLosesNothingAcknowledged", killed},
}

// killDir is the variable that makes Main a writer to that folder.
const killDir = "CHANGELOGTEST_KILL_DIR"

func killOptions(dir string) Options {
	return Options{FS: vfs.Default, Dir: dir, Now: time.Now}
}

// writeUntilKilled is the other process. It tells of each acknowledged write on
// its standard output, and ends by itself when nobody reads that.
func writeUntilKilled(e Engine, dir string) {
	l, err := e.Open(context.Background(), killOptions(dir))
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	for i := range crashWriters {
		running.Go(func() {
			err := newWriter(l, i, rand.Uint64()).run(context.Background(), func(a ack) {
				mu.Lock()
				defer mu.Unlock()
				if _, err := fmt.Printf("ack %s %d %s\n", a.collection, a.revision, a.value); err != nil {
					os.Exit(1)
				}
			})
			mu.Lock()
			defer mu.Unlock()
			fmt.Println("failed", err)
		})
	}
	running.Wait()
}

func killed(t *testing.T, e Engine) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	var acks []ack
	var epoch uint64
	past := map[string][]mark{}
	total := 0
	for round := range 15 {
		fresh, err := runAndKill(t.Context(), dir, round)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		acks = append(acks, fresh...)
		total += len(fresh)
		l, err := e.Open(t.Context(), killOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if epoch == 0 {
			epoch = l.Epoch()
		}
		if l.Epoch() != epoch {
			t.Errorf("round %d: the epoch went from %x to %x", round, epoch, l.Epoch())
		}
		if err := verify(t.Context(), l, acks); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		for _, c := range l.Collections() {
			past[c], err = remember(t.Context(), l, c, past[c])
			if err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d writes were acknowledged", total)
}

// A mark is a revision that was once the head, and the digest of all up to it.
type mark struct {
	head   uint64
	digest uint64
}

// remember checks that what was once read is still so, and that reading goes on
// from each revision where it ended; it adds the present head.
func remember(ctx context.Context, l changelog.Log, c string, past []mark) ([]mark, error) {
	var last mark
	for _, m := range append(past, mark{head: l.Bounds(c).Head}) {
		h := fnv.New64a()
		fmt.Fprintln(h, last.digest)
		for change, err := range l.History(ctx, c, changelog.Position{Revision: last.head}, m.head) {
			if err != nil {
				return nil, err
			}
			fmt.Fprintln(h, change.New.ID, change.New.Revision, change.New.UID, change.New.Time, change.New.Absent)
			h.Write(change.New.Data)
		}
		last = mark{m.head, h.Sum64()}
		if m.digest != 0 && m != last {
			return nil, fmt.Errorf("%s: what was read up to %d has changed", c, m.head)
		}
	}
	return append(past, last), nil
}

// runAndKill starts the other process, kills it after a while and returns what it
// told.
func runAndKill(ctx context.Context, dir string, round int) (acks []ack, err error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	left := rand.IntN(600)
	if round%5 == 4 { // while it starts
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		left = 0
	}
	lines := bufio.NewReader(out)
	for ; ; left-- {
		if left == 0 {
			_ = cmd.Process.Kill()
		}
		line, failed := lines.ReadString('\n')
		if failed != nil { // a line that is not whole says nothing
			if failed != io.EOF {
				err = failed
			}
			break
		}
		line = strings.TrimSuffix(line, "\n")
		switch fields := strings.SplitN(line, " ", 4); {
		case fields[0] == "ack" && len(fields) == 4:
			revision, bad := strconv.ParseUint(fields[2], 10, 64)
			if bad != nil {
				err = bad
			}
			acks = append(acks, ack{fields[1], revision, fields[3]})
		default:
			err = fmt.Errorf("the process says %q", line)
		}
	}
	_ = cmd.Wait() // it was killed
	if stderr.Len() > 0 {
		err = fmt.Errorf("the process says %s", stderr.String())
	}
	return acks, err
}
