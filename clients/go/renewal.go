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

// plan plans the next renewal.
func (r *renewal) plan(expires *timestamppb.Timestamp) {
	if expires == nil {
		return
	}
	left := time.Until(expires.AsTime())
	after := max(min(left/10*9, left-renewalAhead), renewalPause)
	if after >= left {
		return // the stream will end with CREDENTIAL_EXPIRED
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
