package access

import (
	"cmp"
	"container/list"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

// Limits bound what one caller may take from the others. 0: no bound.
type Limits struct {
	// Watches are those that may be open at a time: on the node, of one tenant, and of one
	// principal; of anonymous callers those of one address count together.
	Watches, TenantWatches, PrincipalWatches int
	// Calls is how many calls a principal, or an anonymous address, may begin in a second,
	// with bursts of ten times as many.
	Calls float64
	// FilterTime is how much time in a second the filters of a principal's watches may take
	// where changes are handed to everybody; only filters that are dear are counted.
	FilterTime time.Duration
	// Failures is how many credentials that do not count an address may present in a
	// second, with bursts of ten times as many.
	Failures float64
}

// mostBuckets bounds how many principals and addresses are remembered for rates. Those
// that were heard of least recently are forgotten: their buckets are full again by then,
// unless so many are at it at once.
const mostBuckets = 100_000

// buckets are token buckets by key.
type buckets struct {
	rate  float64 // a second; 0: no bound
	burst float64 // seconds' worth that a bucket holds; 0: 10

	mu    sync.Mutex
	known map[string]*list.Element
	order list.List // of *bucket, the most recently used first
}

type bucket struct {
	key     string
	limiter *rate.Limiter
}

// take says how long to wait until the key may do this again; 0: it may now.
func (b *buckets) take(key string) (wait time.Duration) {
	if b.rate == 0 {
		return 0
	}
	r := b.limiter(key).Reserve()
	if wait = r.Delay(); wait > 0 {
		r.Cancel()
	}
	return wait
}

// spend takes many tokens at once, of which there may be too few; with 0 it only looks.
func (b *buckets) spend(key string, tokens int) (wait time.Duration) {
	if b.rate == 0 {
		return 0
	}
	if tokens == 0 {
		return b.lacks(key, 1)
	}
	l := b.limiter(key)
	return l.ReserveN(time.Now(), min(tokens, l.Burst())).Delay() // it is spent, be it on credit
}

// lacks says how long to wait until there is so much to take; 0: there is.
func (b *buckets) lacks(key string, need int) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if tokens := b.limiter(key).Tokens(); tokens < float64(need) {
		return time.Duration((float64(need) - tokens) / b.rate * float64(time.Second))
	}
	return 0
}

// tally counts what is under way, by key.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

// add gives how many there are with the new ones.
func (t *tally) add(key string, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]int{}
	}
	if t.of[key] += n; t.of[key] == 0 {
		delete(t.of, key)
		return 0
	}
	return t.of[key]
}

func (b *buckets) limiter(key string) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.known[key]; e != nil {
		b.order.MoveToFront(e)
		return e.Value.(*bucket).limiter
	}
	l := rate.NewLimiter(rate.Limit(b.rate), max(1, int(cmp.Or(b.burst, 10)*b.rate)))
	if b.known == nil {
		b.known = map[string]*list.Element{}
	}
	b.known[key] = b.order.PushFront(&bucket{key, l})
	if b.order.Len() > mostBuckets {
		oldest := b.order.Remove(b.order.Back()).(*bucket)
		delete(b.known, oldest.key)
	}
	return l
}

// counts are the watches that are open, by what they count for.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

// add counts one more for each key, unless that is more than the bound of one of them,
// which it names; -1: of none.
func (c *counts) add(keys [3]string, most [3]int) (over int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, k := range keys {
		if most[i] > 0 && c.of[k] >= most[i] {
			return i
		}
	}
	if c.of == nil {
		c.of = map[string]int{}
	}
	for _, k := range keys {
		c.of[k]++
	}
	return -1
}

func (c *counts) remove(keys [3]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		if c.of[k]--; c.of[k] == 0 {
			delete(c.of, k)
		}
	}
}

// account is what a caller's calls count for.
func account(p *Principal, address netip.Addr) string {
	if p.Method == Anonymous {
		return "address " + subnet(address)
	}
	return "principal " + p.Tenant + " " + p.Subject
}

// subnet names what is one caller where nobody says who calls: an IPv4 address, and of
// IPv6 the 64 bits within which a host chooses its addresses itself (RFC 4291, section
// 2.5.1).
func subnet(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// limited makes the error of a limit that is reached, and counts it.
func (c *Control) limited(limit string, wait time.Duration, format string, args ...any) error {
	c.cfg.Limited(limit)
	return resource.Errorf(resource.LimitReached, "%s", fmt.Sprintf(format, args...)).With("limit", limit).After(max(wait, 100*time.Millisecond))
}

// called counts a call.
func (c *Control) called(caller *Caller) error {
	p := caller.Principal()
	if wait := c.calls.take(account(p, caller.address)); wait > 0 {
		return c.limited("calls", wait, "more than %v calls in a second, and %v at once, are not allowed", c.cfg.Limits.Calls, 10*c.cfg.Limits.Calls)
	}
	return nil
}

// accounts are what an open watch counts for.
func (g *grant) accounts() [3]string {
	tenant, _, _ := strings.Cut(g.call.Collection, ":")
	if resource.Shared(g.call.Collection) == g.call.Collection {
		tenant = ""
	}
	return [3]string{"node", "tenant " + tenant, account(g.as, g.caller.address)}
}

// Spent implements hub.Grant.
func (g *grant) Spent(took time.Duration) error {
	c := g.control
	if wait := c.filters.spend(account(cmp.Or(g.as, g.caller.Principal()), g.caller.address), int(took.Microseconds())); wait > 0 {
		return c.limited("filter_time", wait, "the filters of this caller take more than %v in a second; use equalities, shorter lists and no `matches`", c.cfg.Limits.FilterTime)
	}
	return nil
}

// Delayed implements hub.Grant.
func (g *grant) Delayed(took time.Duration) error {
	c := g.control
	wait := c.delays.spend(g.call.Collection, int(took.Microseconds()))
	if err := g.Spent(took); err != nil || wait == 0 {
		return err
	}
	return c.limited("filter_time", wait, "the dear filters of all callers delay %s for more than %v in a second, and this is one of them; use equalities, shorter lists and no `matches`",
		resource.Shared(g.call.Collection), delays*c.cfg.Limits.FilterTime)
}

// delays is how many times as long as a principal's filters may take all of those of a
// collection may.
const delays = 2

// Open implements hub.Grant.
func (g *grant) Open() error {
	c, p := g.control, g.caller.Principal()
	if g.as == nil { // it is of this watch alone
		g.opened, g.as = time.Now().UnixNano(), p
	}
	if most := c.most(); most != ([3]int{}) {
		if over := c.watches.add(g.accounts(), most); over >= 0 {
			return g.tooMany(over, most[over])
		}
	}
	c.audit("opened", p, g.caller, "collection", resource.Shared(g.call.Collection), "transport", g.call.Transport)
	return nil
}

// most gives the bounds of watches, in the order of accounts.
func (c *Control) most() [3]int {
	l := c.cfg.Limits
	return [3]int{l.Watches, l.TenantWatches, l.PrincipalWatches}
}

func (g *grant) tooMany(account, most int) error {
	name := [3]string{"watches", "tenant_watches", "principal_watches"}[account]
	g.control.audit("refused", g.as, g.caller, "verb", "watch", "collection", resource.Shared(g.call.Collection), "transport", g.call.Transport,
		"reason", resource.LimitReached.String(), "limit", name)
	return g.control.limited(name, time.Second, "%d watches are open, more are not allowed", most)
}

// Ended implements hub.Grant.
func (g *grant) Ended(end hub.End) {
	c := g.control
	if c.most() != ([3]int{}) {
		c.watches.remove(g.accounts())
	}
	c.audit("closed", g.as, g.caller, "collection", resource.Shared(g.call.Collection), "transport", g.call.Transport, "reason", end.Reason,
		"duration", time.Since(time.Unix(0, g.opened)).Round(time.Millisecond), "events", end.Events, "bytes", end.Bytes)
}
