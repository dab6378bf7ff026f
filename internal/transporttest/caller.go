package transporttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Caller makes unary calls. What the server says against one is an *Error.
type Caller interface {
	Get(context.Context, *watchroutev1.GetRequest) (*Resource, error)
	List(context.Context, *watchroutev1.ListRequest) (*Page, error)
	Put(context.Context, *watchroutev1.PutRequest) (*Written, error)
	Delete(context.Context, *watchroutev1.DeleteRequest) (*Written, error)
	Write(context.Context, *watchroutev1.WriteRequest) (*WrittenBatch, error)
}

// Page is a ListResponse.
type Page struct {
	Resources   []Resource
	Next        string
	Revision    uint64
	ResumeToken string
}

// Written is a WriteResponse.
type Written struct {
	Revision uint64
	Resource Resource
	Changed  bool
}

// WrittenBatch is a WriteBatchResponse.
type WrittenBatch struct {
	Revision uint64
	Results  []Written
}

// stub calls through the generated stub.
type stub struct {
	client watchroutev1.ResourceServiceClient
}

// Get implements Caller.
func (s stub) Get(ctx context.Context, r *watchroutev1.GetRequest) (*Resource, error) {
	out, err := s.client.Get(ctx, r)
	if err != nil {
		return nil, fromGRPC(err)
	}
	res, err := resourceFromProto(out)
	return &res, err
}

// List implements Caller.
func (s stub) List(ctx context.Context, r *watchroutev1.ListRequest) (*Page, error) {
	out, err := s.client.List(ctx, r)
	if err != nil {
		return nil, fromGRPC(err)
	}
	p := &Page{Next: out.GetNextPageToken(), Revision: out.GetRevision(), ResumeToken: out.GetResumeToken()}
	for _, r := range out.GetResources() {
		res, err := resourceFromProto(r)
		if err != nil {
			return nil, err
		}
		p.Resources = append(p.Resources, res)
	}
	return p, nil
}

// Put implements Caller.
func (s stub) Put(ctx context.Context, r *watchroutev1.PutRequest) (*Written, error) {
	return writtenFromProto(s.client.Put(ctx, r))
}

// Delete implements Caller.
func (s stub) Delete(ctx context.Context, r *watchroutev1.DeleteRequest) (*Written, error) {
	return writtenFromProto(s.client.Delete(ctx, r))
}

func writtenFromProto(r *watchroutev1.WriteResponse, err error) (*Written, error) {
	if err != nil {
		return nil, fromGRPC(err)
	}
	res, err := resourceFromProto(r.GetResource())
	return &Written{Revision: r.GetRevision(), Resource: res, Changed: r.GetChanged()}, err
}

// Write implements Caller.
func (s stub) Write(ctx context.Context, r *watchroutev1.WriteRequest) (*WrittenBatch, error) {
	out, err := s.client.Write(ctx, r)
	if err != nil {
		return nil, fromGRPC(err)
	}
	b := &WrittenBatch{Revision: out.GetRevision()}
	for _, one := range out.GetResults() {
		w, err := writtenFromProto(one, nil)
		if err != nil {
			return nil, err
		}
		b.Results = append(b.Results, *w)
	}
	return b, nil
}

// typedStub calls through the generated stub of the shop's own service. It has no
// batches.
type typedStub struct {
	client shopv1.OrderServiceClient
}

// Get implements Caller.
func (s typedStub) Get(ctx context.Context, r *watchroutev1.GetRequest) (*Resource, error) {
	out, err := s.client.GetOrder(ctx, &shopv1.GetOrderRequest{OrderId: idOf(r.GetName()), MinRevision: r.GetMinRevision()})
	if err != nil {
		return nil, fromGRPC(err)
	}
	res, err := resourceFromOrder(out)
	return &res, err
}

// List implements Caller.
func (s typedStub) List(ctx context.Context, r *watchroutev1.ListRequest) (*Page, error) {
	out, err := s.client.ListOrders(ctx, &shopv1.ListOrdersRequest{PageSize: r.GetPageSize(), PageToken: r.GetPageToken(), Filter: r.GetFilter(), MinRevision: r.GetMinRevision()})
	if err != nil {
		return nil, fromGRPC(err)
	}
	p := &Page{Next: out.GetNextPageToken(), Revision: out.GetRevision(), ResumeToken: out.GetResumeToken()}
	for _, r := range out.GetResources() {
		res, err := resourceFromOrder(r)
		if err != nil {
			return nil, err
		}
		p.Resources = append(p.Resources, res)
	}
	return p, nil
}

// Put implements Caller.
func (s typedStub) Put(ctx context.Context, r *watchroutev1.PutRequest) (*Written, error) {
	order := &shopv1.Order{}
	if err := r.GetResource().GetData().UnmarshalTo(order); err != nil {
		return nil, err
	}
	out, err := s.client.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: idOf(r.GetResource().GetName()), Precondition: r.GetPrecondition(), RequestId: r.GetRequestId(),
		Resource: &shopv1.OrderResource{Labels: r.GetResource().GetLabels(), Data: order}})
	if err != nil {
		return nil, fromGRPC(err)
	}
	res, err := resourceFromOrder(out.GetResource())
	return &Written{Revision: out.GetRevision(), Resource: res, Changed: out.GetChanged()}, err
}

// Delete implements Caller.
func (s typedStub) Delete(ctx context.Context, r *watchroutev1.DeleteRequest) (*Written, error) {
	out, err := s.client.DeleteOrder(ctx, &shopv1.DeleteOrderRequest{OrderId: idOf(r.GetName()), Precondition: r.GetPrecondition(), RequestId: r.GetRequestId(), AllowMissing: r.GetAllowMissing()})
	if err != nil {
		return nil, fromGRPC(err)
	}
	res, err := resourceFromOrder(out.GetResource())
	return &Written{Revision: out.GetRevision(), Resource: res, Changed: out.GetChanged()}, err
}

// Write implements Caller.
func (s typedStub) Write(context.Context, *watchroutev1.WriteRequest) (*WrittenBatch, error) {
	return nil, fmt.Errorf("the shop's service has no batches")
}

// rest calls over HTTP with JSON.
type rest web

// call makes a request and reads its JSON, strictly.
func (c rest) call(ctx context.Context, method, path string, q url.Values, body []byte, into any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fromHTTPBody(answer.StatusCode, text)
	}
	return strictJSON(text, into)
}

func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" && pairs[i+1] != "0" && pairs[i+1] != "false" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func number[N ~uint64 | ~int32](n N) string { return strconv.FormatInt(int64(n), 10) }

// Get implements Caller.
func (c rest) Get(ctx context.Context, r *watchroutev1.GetRequest) (*Resource, error) {
	var out jsonResource
	if err := c.call(ctx, http.MethodGet, "/v1/"+r.GetName(), query("min_revision", number(r.GetMinRevision())), nil, &out); err != nil {
		return nil, err
	}
	res, err := out.resource()
	return &res, err
}

// List implements Caller.
func (c rest) List(ctx context.Context, r *watchroutev1.ListRequest) (*Page, error) {
	var out struct {
		Resources     []jsonResource `json:"resources"`
		NextPageToken string         `json:"nextPageToken"`
		Revision      revision       `json:"revision"`
		ResumeToken   string         `json:"resumeToken"`
	}
	q := query("min_revision", number(r.GetMinRevision()), "page_size", number(r.GetPageSize()), "page_token", r.GetPageToken(), "filter", r.GetFilter())
	if err := c.call(ctx, http.MethodGet, "/v1/"+r.GetParent(), q, nil, &out); err != nil {
		return nil, err
	}
	p := &Page{Next: out.NextPageToken, Revision: uint64(out.Revision), ResumeToken: out.ResumeToken}
	for i := range out.Resources {
		res, err := out.Resources[i].resource()
		if err != nil {
			return nil, err
		}
		p.Resources = append(p.Resources, res)
	}
	return p, nil
}

// plainJSON gives a value as JSON clients write it.
func plainJSON(r *watchroutev1.Resource) (json.RawMessage, error) {
	if r.GetData() == nil {
		return nil, nil
	}
	v, err := r.GetData().UnmarshalNew()
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case *watchroutev1.Json:
		return json.RawMessage(v.GetText()), nil
	case *structpb.Struct:
		return v.MarshalJSON()
	}
	return protojson.Marshal(v)
}

func resourceBody(r *watchroutev1.Resource, withName bool) (map[string]any, error) {
	data, err := plainJSON(r)
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	if data != nil {
		body["data"] = data
	}
	if len(r.GetLabels()) > 0 {
		body["labels"] = r.GetLabels()
	}
	if withName {
		body["name"] = r.GetName()
	}
	return body, nil
}

func conditions(q url.Values, p *watchroutev1.Precondition) url.Values {
	switch c := p.GetCondition().(type) {
	case *watchroutev1.Precondition_MustNotExist:
		q.Set("precondition.must_not_exist", strconv.FormatBool(c.MustNotExist))
	case *watchroutev1.Precondition_Revision:
		q.Set("precondition.revision", number(c.Revision))
	case *watchroutev1.Precondition_Etag:
		q.Set("precondition.etag", c.Etag)
	}
	return q
}

type jsonWritten struct {
	Revision revision     `json:"revision"`
	Resource jsonResource `json:"resource"`
	Changed  bool         `json:"changed"`
}

func (in *jsonWritten) written() (*Written, error) {
	res, err := in.Resource.resource()
	return &Written{Revision: uint64(in.Revision), Resource: res, Changed: in.Changed}, err
}

// Put implements Caller.
func (c rest) Put(ctx context.Context, r *watchroutev1.PutRequest) (*Written, error) {
	fields, err := resourceBody(r.GetResource(), false)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	var out jsonWritten
	q := conditions(query("request_id", r.GetRequestId()), r.GetPrecondition())
	if err := c.call(ctx, http.MethodPut, "/v1/"+r.GetResource().GetName(), q, body, &out); err != nil {
		return nil, err
	}
	return out.written()
}

// Delete implements Caller.
func (c rest) Delete(ctx context.Context, r *watchroutev1.DeleteRequest) (*Written, error) {
	var out jsonWritten
	q := conditions(query("request_id", r.GetRequestId(), "allow_missing", strconv.FormatBool(r.GetAllowMissing())), r.GetPrecondition())
	if err := c.call(ctx, http.MethodDelete, "/v1/"+r.GetName(), q, nil, &out); err != nil {
		return nil, err
	}
	return out.written()
}

// Write implements Caller.
func (c rest) Write(ctx context.Context, r *watchroutev1.WriteRequest) (*WrittenBatch, error) {
	request := map[string]any{}
	if r.GetRequestId() != "" {
		request["requestId"] = r.GetRequestId()
	}
	var operations []any
	for _, op := range r.GetOperations() {
		one := map[string]any{}
		switch action := op.GetAction().(type) {
		case *watchroutev1.Operation_Put:
			put, err := resourceBody(action.Put, true)
			if err != nil {
				return nil, err
			}
			one["put"] = put
		case *watchroutev1.Operation_Delete:
			one["delete"] = action.Delete
		}
		if op.GetPrecondition() != nil {
			text, err := protojson.Marshal(op.GetPrecondition())
			if err != nil {
				return nil, err
			}
			one["precondition"] = json.RawMessage(text)
		}
		operations = append(operations, one)
	}
	request["operations"] = operations
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var out struct {
		Revision  revision      `json:"revision"`
		Results   []jsonWritten `json:"results"`
		WriteTime string        `json:"writeTime"`
	}
	if err := c.call(ctx, http.MethodPost, "/v1/"+r.GetParent()+":write", nil, body, &out); err != nil {
		return nil, err
	}
	b := &WrittenBatch{Revision: uint64(out.Revision)}
	for i := range out.Results {
		w, err := out.Results[i].written()
		if err != nil {
			return nil, err
		}
		b.Results = append(b.Results, *w)
	}
	return b, nil
}
