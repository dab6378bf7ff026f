package watchroute

import (
	"context"
	"iter"

	"google.golang.org/grpc"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// PageSize is how many resources a page of a List has at most. Default: the server's, 100.
// At most 1000.
func PageSize(n int32) ReadOption { return readOption(func(c *readConfig) { c.pageSize = n }) }

// PageToken asks for the page after the one whose NextPageToken this is.
func PageToken(token string) ReadOption {
	return readOption(func(c *readConfig) { c.pageToken = token })
}

type readOption func(*readConfig)

func (o readOption) read(c *readConfig) { o(c) }

func reading(options []ReadOption) (cfg readConfig) {
	for _, option := range options {
		option.read(&cfg)
	}
	return cfg
}

// Get reads one resource. Where there is none the error has the code NOT_FOUND and the
// reason RESOURCE_NOT_FOUND. It takes MinRevision and Projection.
func Get[T any](ctx context.Context, c *Client, name string, options ...ReadOption) (Resource[T], error) {
	cfg := reading(options)
	r, err := call(ctx, c, false, func(ctx context.Context, service watchroutev1.ResourceServiceClient) (*watchroutev1.Resource, error) {
		return service.Get(ctx, &watchroutev1.GetRequest{Name: name, MinRevision: cfg.minRevision, Projection: cfg.projection}, grpc.WaitForReady(false))
	})
	if err != nil {
		return Resource[T]{}, err
	}
	return decode(shapeOf[T](), r)
}

func decode[T any](shape shape[T], r *watchroutev1.Resource) (Resource[T], error) {
	value, err := shape.decode(r.GetData())
	if err != nil {
		return Resource[T]{}, err
	}
	given, err := shape.give(value, false)
	return resourceOf(r, given), err
}

// Page is some resources of a collection.
type Page[T any] struct {
	// Resources are in the order of their names.
	Resources []Resource[T]
	// NextPageToken asks for the next page; "" on the last.
	NextPageToken string
	// Revision is the one that the list, with all of its pages, is of.
	Revision uint64
	// ResumeToken goes on as a watch with the same filter and projection.
	ResumeToken string
}

// List reads a page of a collection: the first, or see PageToken.
func List[T any](ctx context.Context, c *Client, parent string, options ...ReadOption) (*Page[T], error) {
	cfg := reading(options)
	answer, err := call(ctx, c, false, func(ctx context.Context, service watchroutev1.ResourceServiceClient) (*watchroutev1.ListResponse, error) {
		return service.List(ctx, &watchroutev1.ListRequest{Parent: parent, PageSize: cfg.pageSize, PageToken: cfg.pageToken,
			Filter: cfg.filter, MinRevision: cfg.minRevision, Projection: cfg.projection}, grpc.WaitForReady(false))
	})
	if err != nil {
		return nil, err
	}
	page := &Page[T]{NextPageToken: answer.GetNextPageToken(), Revision: answer.GetRevision(), ResumeToken: answer.GetResumeToken()}
	shape := shapeOf[T]()
	for _, r := range answer.GetResources() {
		resource, err := decode(shape, r)
		if err != nil {
			return nil, err
		}
		page.Resources = append(page.Resources, resource)
	}
	return page, nil
}

// All reads a collection page by page, as it was when the first was read. An error is the
// last thing yielded.
func All[T any](ctx context.Context, c *Client, parent string, options ...ReadOption) iter.Seq2[Resource[T], error] {
	return func(yield func(Resource[T], error) bool) {
		for token := ""; ; {
			more := options
			if token != "" {
				more = append(options[:len(options):len(options)], PageToken(token))
			}
			page, err := List[T](ctx, c, parent, more...)
			if err != nil {
				yield(Resource[T]{}, err)
				return
			}
			for _, r := range page.Resources {
				if !yield(r, nil) {
					return
				}
			}
			if token = page.NextPageToken; token == "" {
				return
			}
		}
	}
}
