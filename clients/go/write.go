package watchroute

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// WriteOption is a setting of a write, or of one operation of a batch.
type WriteOption func(*writeConfig)

type writeConfig struct {
	condition    *watchroutev1.Precondition
	requestID    string
	labels       map[string]string
	allowMissing bool
}

// IfNew writes only if there is no such resource. What does not hold is an error of the
// code FAILED_PRECONDITION with the reason PRECONDITION_FAILED and, in its metadata, the
// present `revision` and `etag`.
func IfNew() WriteOption {
	return func(c *writeConfig) {
		c.condition = &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}
	}
}

// IfRevision writes only if the resource is at this revision; see [IfNew].
func IfRevision(revision uint64) WriteOption {
	return func(c *writeConfig) {
		c.condition = &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: revision}}
	}
}

// IfETag writes only if the resource has this etag; see [IfNew].
func IfETag(etag string) WriteOption {
	return func(c *writeConfig) {
		c.condition = &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Etag{Etag: etag}}
	}
}

// RequestID makes a write apply once, however often it is sent within an hour. Such a
// write is tried again, up to 5 times within the time of the call, when an error carries a
// RetryInfo or its code is UNAVAILABLE. 1 to 128 characters; see [NewRequestID]. It is of
// a whole batch, not of its operations.
func RequestID(id string) WriteOption { return func(c *writeConfig) { c.requestID = id } }

// NewRequestID gives a random UUID.
func NewRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Labels are those of the resource that is put. Default: none.
func Labels(labels map[string]string) WriteOption { return func(c *writeConfig) { c.labels = labels } }

// AllowMissing lets a Delete succeed where there is no such resource; operations of a
// batch always do.
func AllowMissing() WriteOption { return func(c *writeConfig) { c.allowMissing = true } }

func writing(options []WriteOption) (cfg writeConfig) {
	for _, option := range options {
		option(&cfg)
	}
	return cfg
}

// Outcome is what a write did.
type Outcome struct {
	// Revision is the collection's from which on reads show the write; see [MinRevision].
	Revision uint64
	// Changed is whether anything changed.
	Changed bool
	// ETag is that of the resource after the write; "" of one that was deleted.
	ETag string
}

func outcomeOf(r *watchroutev1.WriteResponse) Outcome {
	return Outcome{Revision: r.GetRevision(), Changed: r.GetChanged(), ETag: r.GetResource().GetEtag()}
}

// Put creates or replaces a resource, such as "orders/42".
func Put[T any](ctx context.Context, c *Client, name string, value T, options ...WriteOption) (Outcome, error) {
	cfg := writing(options)
	resource, err := toPut(name, value, cfg)
	if err != nil {
		return Outcome{}, err
	}
	r, err := call(ctx, c, cfg.requestID != "", func(ctx context.Context, service watchroutev1.ResourceServiceClient) (*watchroutev1.WriteResponse, error) {
		return service.Put(ctx, &watchroutev1.PutRequest{Resource: resource, Precondition: cfg.condition, RequestId: cfg.requestID}, grpc.WaitForReady(false))
	})
	return outcomeOf(r), err
}

func toPut[T any](name string, value T, cfg writeConfig) (*watchroutev1.Resource, error) {
	data, err := shapeOf[T]().take(value)
	if err != nil {
		return nil, failure(codes.InvalidArgument, watchroutev1.ErrorReason_INVALID_VALUE.String(), "the value of %s cannot be encoded: %v", name, err)
	}
	return &watchroutev1.Resource{Name: name, Labels: cfg.labels, Data: data}, nil
}

// Delete removes a resource. Where there is none the error has the code NOT_FOUND, but see
// [AllowMissing].
func Delete(ctx context.Context, c *Client, name string, options ...WriteOption) (Outcome, error) {
	cfg := writing(options)
	r, err := call(ctx, c, cfg.requestID != "", func(ctx context.Context, service watchroutev1.ResourceServiceClient) (*watchroutev1.WriteResponse, error) {
		return service.Delete(ctx, &watchroutev1.DeleteRequest{Name: name, Precondition: cfg.condition, RequestId: cfg.requestID, AllowMissing: cfg.allowMissing}, grpc.WaitForReady(false))
	})
	return outcomeOf(r), err
}

// Operation is a part of a batch.
type Operation struct {
	operation *watchroutev1.Operation
	err       error
}

// PutOperation creates or replaces a resource.
func PutOperation[T any](name string, value T, options ...WriteOption) Operation {
	cfg := writing(options)
	resource, err := toPut(name, value, cfg)
	return Operation{&watchroutev1.Operation{Action: &watchroutev1.Operation_Put{Put: resource}, Precondition: cfg.condition}, err}
}

// DeleteOperation removes a resource; one that is not there is left so.
func DeleteOperation(name string, options ...WriteOption) Operation {
	cfg := writing(options)
	return Operation{&watchroutev1.Operation{Action: &watchroutev1.Operation_Delete{Delete: name}, Precondition: cfg.condition}, nil}
}

// Batch is what a batch did.
type Batch struct {
	// Revision is the collection's from which on reads show the batch.
	Revision uint64
	// Time is when it was written.
	Time time.Time
	// Outcomes are those of the operations, in their order.
	Outcomes []Outcome
}

// Write applies a batch to one collection, all of it or nothing. Of the options it takes
// RequestID; preconditions are those of operations.
func Write(ctx context.Context, c *Client, parent string, operations []Operation, options ...WriteOption) (*Batch, error) {
	cfg := writing(options)
	request := &watchroutev1.WriteRequest{Parent: parent, RequestId: cfg.requestID}
	for _, o := range operations {
		if o.err != nil {
			return nil, o.err
		}
		request.Operations = append(request.Operations, o.operation)
	}
	r, err := call(ctx, c, cfg.requestID != "", func(ctx context.Context, service watchroutev1.ResourceServiceClient) (*watchroutev1.WriteBatchResponse, error) {
		return service.Write(ctx, request, grpc.WaitForReady(false))
	})
	if err != nil {
		return nil, err
	}
	batch := &Batch{Revision: r.GetRevision(), Time: r.GetWriteTime().AsTime()}
	for _, result := range r.GetResults() {
		batch.Outcomes = append(batch.Outcomes, outcomeOf(result))
	}
	return batch, nil
}
