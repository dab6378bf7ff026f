package clientpage

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/browser"
	"github.com/watchroute/watchroute/e2e/conformance"
	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// patience is how long anything may take.
const patience = time.Minute

// world is a node behind a proxy, and somebody who writes.
type world struct {
	*testing.T
	node  *process.Server
	proxy *conformance.Proxy
	*conformance.Writer
	pages string // their URL
	tabs  []*tab
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root := process.Root(t)
	if _, err := os.Stat(filepath.Join(root, "clients/ts/dist/index.js")); err != nil {
		process.Skip(t, "the TypeScript client is not built; `make test-clients` does it")
	}
	out := t.TempDir()
	if text, err := exec.CommandContext(t.Context(), "node", filepath.Join(root, "e2e/clientpage/bundle.mjs"), out).CombinedOutput(); err != nil {
		t.Fatalf("bundle.mjs: %v\n%s", err, text)
	}
	pages := httptest.NewServer(http.FileServer(http.Dir(out)))
	t.Cleanup(pages.Close)
	node := process.Start(t, process.Options{Args: []string{"--auto-create", "--allowed-origins", pages.URL}})
	return &world{T: t, node: node, proxy: conformance.NewProxy(t, node.HTTP), Writer: conformance.NewWriter(t, node.URL(""), "notes"), pages: pages.URL}
}

func (w *world) url(via string) string {
	return w.pages + "/page.html?" + url.Values{"base": {"http://" + w.proxy.Address}, "via": {via}}.Encode()
}

// tab is a page and what it has told.
type tab struct {
	*browser.Page
	name   string
	ledger conformance.Ledger
	told   []*conformance.Event // what the writer need not have heard of yet
	states []string
	ways   []string
	via    string
}

func (w *world) tab(name string, p *browser.Page) *tab {
	x := &tab{Page: p, name: name, ledger: conformance.Ledger{Journal: w.Journal, Every: true}}
	w.tabs = append(w.tabs, x)
	return x
}

// take checks what the tab has told since it was asked last.
func (w *world) take(x *tab) {
	w.Helper()
	var news struct {
		Told         []*conformance.Event
		States, Ways []string
		Via, Failure string
	}
	x.Eval(&news, "take()")
	x.told = append(x.told, news.Told...)
	for last := w.Last(); len(x.told) > 0 && x.told[0].Revision <= last; x.told = x.told[1:] {
		if err := x.ledger.Tell(x.told[0]); err != nil {
			w.Fatalf("tab %s: %v", x.name, err)
		}
	}
	x.states, x.ways, x.via = append(x.states, news.States...), news.Ways, news.Via
	if news.Failure != "" {
		w.Fatalf("tab %s: the watch ended: %s", x.name, news.Failure)
	}
}

// until takes what a tab tells until something holds.
func (w *world) until(x *tab, what string, holds func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); ; {
		w.take(x)
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("tab %s does not come to this in %v: %s; by %s, its last states: %v; %v", x.name, patience, what, x.via, x.states[max(0, len(x.states)-12):], x.ledger.Whole())
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-w.Context().Done():
			return
		}
	}
}

// settles compares what all tabs have told and hold with what was written, and with what
// the server has.
func (w *world) settles() {
	w.Helper()
	state, revision := w.List()
	for _, x := range w.tabs {
		w.until(x, "all that was written is told", func() bool { return x.ledger.Whole() == nil })
		var held struct {
			Revision  uint64 `json:"revision,string"`
			Resources map[string]struct {
				Revision uint64 `json:"revision,string"`
				Data     json.RawMessage
			}
		}
		w.until(x, "its mirror is at the last revision", func() bool {
			held.Resources = nil // or what is gone would stay in it
			x.Eval(&held, "held()")
			return held.Revision >= revision
		})
		if !slices.Equal(slices.Sorted(maps.Keys(held.Resources)), slices.Sorted(maps.Keys(state))) {
			w.Fatalf("tab %s: the mirror has %v, the server %v", x.name, slices.Sorted(maps.Keys(held.Resources)), slices.Sorted(maps.Keys(state)))
		}
		for name, r := range held.Resources {
			if r.Revision != state[name].Revision {
				w.Errorf("tab %s: the mirror has %s at %d, the server at %d", x.name, name, r.Revision, state[name].Revision)
			}
		}
	}
}

// since says whether a tab has been in a state behind a mark.
func (x *tab) since(mark int, state string) bool { return slices.Contains(x.states[mark:], state) }

// live waits until a tab has been away since a mark, and is live again.
func (w *world) live(x *tab, mark int) {
	w.Helper()
	w.until(x, "it is live again", func() bool {
		return len(x.states) > mark && x.since(mark, "BACKING_OFF") && x.states[len(x.states)-1] == "LIVE"
	})
}

func TestTabs_ThroughWhateverHappens(t *testing.T) {
	b := browser.Start(t)
	for _, via := range []string{"ladder", "grpc-web", "websocket", "shared", "sse", "long-poll"} {
		t.Run(via, func(t *testing.T) {
			w := newWorld(t)
			w.Put("first", conformance.Note(0)) // the collection is there from now on
			one := w.tab("one", b.Open(w.url(via)))
			two := w.tab("two", one.Beside(w.url(via)))
			for _, x := range w.tabs {
				w.until(x, "it is live", func() bool { return x.since(0, "LIVE") })
			}
			stop := w.Load(5 * time.Millisecond)

			mark := len(one.states)
			one.Offline(true) // both: they are in one profile
			w.proxy.Cut()     // Chromium lets what it is receiving already go on
			w.until(one, "it is away", func() bool { return one.since(mark, "BACKING_OFF") })
			one.Offline(false)
			w.live(one, mark)

			mark, marked := len(one.states), len(two.states)
			w.node.Kill()
			for _, x := range w.tabs {
				w.until(x, "it is away", func() bool { return x.since(map[*tab]int{one: mark, two: marked}[x], "BACKING_OFF") })
			}
			w.node.Start()
			w.live(one, mark)
			w.live(two, marked)

			if via == "ladder" {
				w.proxy.Buffer(true)
				w.proxy.Cut() // what is open already is not held back
				w.until(one, "it is live by what a proxy cannot hold back", func() bool { return one.via == "long-poll" && one.states[len(one.states)-1] == "LIVE" })
				w.proxy.Buffer(false)
				w.until(one, "it goes up again", func() bool { return one.via == "grpc-web" || one.via == "websocket" })
			}
			stop()
			w.settles()
			for _, x := range w.tabs {
				t.Logf("tab %s: by %s; %d states, %d resets", x.name, strings.Join(x.ways, ", "), len(x.states), len(x.ledger.Resets))
			}
			two.Close()
			one.Close()
		})
	}
}

// Three tabs have one connection to the node; what a closed one had open is cancelled.
func TestTabs_ShareAConnection(t *testing.T) {
	b := browser.Start(t)
	w := newWorld(t)
	w.Put("first", conformance.Note(0))
	one := w.tab("one", b.Open(w.url("shared")))
	two, three := w.tab("two", one.Beside(w.url("shared"))), w.tab("three", one.Beside(w.url("shared")))
	alive := func() {
		t.Helper()
		for _, x := range w.tabs {
			w.until(x, "it is live", func() bool { return len(x.states) > 0 && x.states[len(x.states)-1] == "LIVE" })
		}
	}
	connections := func(want int) {
		t.Helper()
		if got := w.proxy.Accepted(); got != want {
			t.Fatalf("%d connections so far, want %d", got, want)
		}
	}
	open := func(want float64) {
		t.Helper()
		var got float64
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if got = w.node.Metric("watchroute_watches_open"); got == want {
				return
			}
		}
		t.Fatalf("the node has %v open watches, want %v", got, want)
	}
	alive()
	connections(1)
	open(6) // a watch and a mirror of each tab

	stop := w.Load(5 * time.Millisecond)
	mark := len(two.states)
	one.Close() // which opened it
	w.tabs = []*tab{two, three}
	open(4)
	alive()
	if len(two.states) != mark {
		t.Errorf("the tab beside one that was closed went through %v", two.states[mark:])
	}
	connections(1)

	for range 3 {
		marks := []int{len(two.states), len(three.states)}
		w.proxy.Cut()
		for i, x := range w.tabs {
			w.live(x, marks[i])
		}
	}
	connections(4) // one after each cut
	stop()
	w.settles()
	two.Close()
	three.Close()
	open(0)
}

// A browser allows six connections: more watches than that are live, none of them is put off
// for long, and calls get through.
func TestTab_WatchesMoreThanItHasConnections(t *testing.T) {
	b := browser.Start(t)
	for _, via := range []string{"ladder", "long-poll"} {
		t.Run(via, func(t *testing.T) {
			w := newWorld(t)
			w.Put("first", conformance.Note(0))
			one := w.tab("one", b.Open(w.url(via)))
			one.Eval(nil, "more(10)")
			for range 3 {
				var revision uint64
				one.Eval(&revision, `put("notes/from-the-page").then(Number)`)
				w.until(one, "all have heard of it", func() bool {
					var others []struct {
						Heard uint64 `json:"heard,string"`
						State string
					}
					one.Eval(&others, "others()")
					for _, x := range others {
						if x.State != "LIVE" || x.Heard < revision {
							return false
						}
					}
					return len(others) == 10
				})
			}
			one.Close()
		})
	}
}
