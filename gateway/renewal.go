package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/lxzan/gws"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

// credentialTime is how long a WebSocket that came without a credential may take to send
// one, and how long it may take to check it.
const credentialTime = 10 * time.Second

// renewal lets the client of a watch on WebSocket present a credential: as the first
// message, where it could present none before, or a fresh one later.
type renewal struct {
	control *access.Control
	caller  *access.Caller // nil: nobody asks

	mu    sync.Mutex
	watch *hub.Watch    // nil: not open yet
	came  chan struct{} // has room for one: a credential is in force
}

func (g *Gateway) renewal(r *http.Request) *renewal {
	return &renewal{control: g.cfg.Access, caller: access.From(r.Context()), came: make(chan struct{}, 1)}
}

// authentication gives the credential in a client's message, if there is one.
func authentication(d *dialect, opcode byte, data []byte) (secret string, ok bool) {
	if gws.Opcode(opcode) != d.opcode {
		return "", false
	}
	r, err := readSession(d, data)
	if err != nil {
		return "", false
	}
	a, ok := r.GetBody().(*watchroutev1.SessionRequest_Authenticate)
	if !ok {
		return "", false
	}
	return a.Authenticate.GetCredential(), true
}

// renew lets the client go on under another credential.
func (n *renewal) renew(ctx context.Context, secret string) error {
	if n.caller == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, credentialTime)
	defer cancel()
	if _, err := n.control.Renew(ctx, n.caller, secret); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watch != nil {
		n.watch.Reconsider()
	}
	select {
	case n.came <- struct{}{}:
	default:
	}
	return nil
}

// open opens the watch. Where that needs a credential and the client has shown none, it
// waits for one.
func (n *renewal) open(done, left <-chan struct{}, f func() (*hub.Watch, error)) (*hub.Watch, error) {
	w, err := f()
	if resource.HasReason(err, resource.CredentialMissing) && n.caller != nil {
		timer := time.NewTimer(credentialTime)
		defer timer.Stop()
		select {
		case <-n.came:
			w, err = f()
		case <-timer.C:
		case <-left:
		case <-done:
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watch = w; w != nil && len(n.came) > 0 { // it came while the watch opened
		w.Reconsider()
	}
	return w, err
}
