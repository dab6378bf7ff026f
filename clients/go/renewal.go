package watchroute

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const (
	// renewalAhead is how long before its end a credential is renewed at the latest.
	renewalAhead = 5 * time.Second
	// renewalPause is the least time between two renewals.
	renewalPause = time.Second
)

// renewal presents a fresh credential in a session before the old one expires.
type renewal struct {
	session *session

	mu    sync.Mutex
	timer *time.Timer
	ended bool
	busy  sync.WaitGroup
}

// present presents a credential.
func (r *renewal) present(credential string) {
	// What fails here ends the session, which says why.
	_ = r.session.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Authenticate{
		Authenticate: &watchroutev1.Authenticate{Credential: credential}}})
}

// renewIn gives when to renew a credential of which so much time is left; none: the stream
// will end with CREDENTIAL_EXPIRED and come back.
func renewIn(left time.Duration) (wait time.Duration, plan bool) {
	if left <= 0 {
		return 0, false
	}
	wait = left / 2
	if left >= 2*renewalAhead {
		wait = min(left/10*9, left-renewalAhead)
	}
	return max(wait, renewalPause), true
}

// plan plans the next renewal. When a credential expires is the only time of a wall clock
// that this package uses, and it is looked at once, when the server has told it: wherever
// a clock jumps to, a renewal that is planned comes, and they are a second apart.
func (r *renewal) plan(expires *timestamppb.Timestamp) {
	if expires == nil {
		return
	}
	after, plan := renewIn(time.Until(expires.AsTime()))
	if !plan {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(after, r.renew)
}

func (r *renewal) renew() {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	r.busy.Add(1)
	r.mu.Unlock()
	defer r.busy.Done()
	// A provider that fails leaves the session to end when the credential does.
	if credential, err := r.session.owner.wallet.take(r.session.ctx); err == nil {
		r.present(credential)
	}
}

// stop ends the renewal, and waits for one that is under way.
func (r *renewal) stop() {
	r.mu.Lock()
	r.ended = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.session.cancel(nil)
	r.busy.Wait()
}
