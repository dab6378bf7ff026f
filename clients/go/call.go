package watchroute

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// attempts is how often a write with a request id is made at most.
const attempts = 5

// call makes a unary call; again: until it succeeds, where the error says that trying
// again helps.
func call[T any](ctx context.Context, c *Client, again bool, f func(context.Context, watchroutev1.ResourceServiceClient) (T, error)) (T, error) {
	var none T
	if c.done.Err() != nil {
		return none, ErrClosed
	}
	ctx, leave := c.attach(ctx)
	defer leave()
	if _, limited := ctx.Deadline(); !limited && c.config.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.timeout)
		defer cancel()
	}
	waits := retry{first: c.config.first, most: c.config.most}
	for n := 1; ; n++ {
		answer, err := once(ctx, c, f)
		if err == nil {
			return answer, nil
		}
		if errors.Is(context.Cause(ctx), ErrClosed) {
			return answer, ErrClosed
		}
		e, ok := errors.AsType[*Error](err)
		if !again || !ok || !e.passing() || n == attempts {
			return answer, err
		}
		wait := max(waits.wait(), e.RetryAfter)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return answer, err
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return answer, err
		}
	}
}

func once[T any](ctx context.Context, c *Client, f func(context.Context, watchroutev1.ResourceServiceClient) (T, error)) (answer T, err error) {
	credential, err := c.wallet.take(ctx)
	if err != nil {
		return answer, err
	}
	l := c.lines.take()
	defer l.giveBack()
	if answer, err = f(c.header(ctx, credential), l); err == nil {
		return answer, nil
	}
	if err = errorOf(err); err.(*Error).Code == codes.Unauthenticated {
		c.wallet.refuse()
	}
	return answer, err
}

// passing says whether trying the same again helps.
func (e *Error) passing() bool { return e.retry || e.Code == codes.Unavailable }
