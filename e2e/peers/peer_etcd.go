package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// etcd is one embedded member with its defaults, fsync on. The client speaks
// the v3 gRPC API directly; watches of one connection share one Watch stream,
// as in clientv3.
type etcd struct{}

func init() { register(etcd{}) }

func (etcd) Info() Info {
	return Info{Name: "etcd", About: "embed, one member, default settings, fsync on",
		Mux: true, MuxKeys: true, Resume: true, Snapshot: true}
}

func (etcd) Serve(ctx context.Context, o ServeOpts, ready func(Ready)) error {
	local := func() url.URL { // a free port; embed does not take 0
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		defer ln.Close()
		return url.URL{Scheme: "http", Host: ln.Addr().String()}
	}
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(o.Dir, "etcd")
	cfg.LogLevel = "fatal" // quiet, at shutdown too
	cfg.QuotaBackendBytes = 8 << 30
	client, peer := local(), local()
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return err
	case <-ctx.Done():
		return nil
	}
	ready(Ready{Addr: client.Host})
	select {
	case err := <-e.Err():
		return err
	case <-ctx.Done():
		return nil
	}
}

type etcdConn struct {
	*lifetime
	cc *grpc.ClientConn

	mu      sync.Mutex
	stream  grpc.ClientStream
	watches map[int64]*etcdWatch
}

type etcdWatch struct {
	sink    Sink
	created chan error
	frame   []byte // latest response with events
	rev     int64  // revision at creation
}

func (etcd) Dial(_ context.Context, addr string) (Conn, error) {
	cc, err := dialGRPC(addr)
	if err != nil {
		return nil, err
	}
	return &etcdConn{lifetime: newLifetime(), cc: cc, watches: map[int64]*etcdWatch{}}, nil
}

func (c *etcdConn) Publish(ctx context.Context, key string, val []byte) error {
	_, err := pb.NewKVClient(c.cc).Put(ctx, &pb.PutRequest{Key: []byte(key), Value: val})
	return err
}

func (c *etcdConn) Watch(ctx context.Context, key string, from Pos, sink Sink) (Watch, error) {
	req := &pb.WatchCreateRequest{Key: []byte(key)}
	if rev, ok := from.(int64); ok {
		req.StartRevision = rev + 1
	}
	return c.watch(ctx, req, sink)
}

func (c *etcdConn) watch(ctx context.Context, req *pb.WatchCreateRequest, sink Sink) (Watch, error) {
	w := &etcdWatch{sink: sink, created: make(chan error, 1)}
	if err := c.create(req, w); err != nil {
		return nil, err
	}
	select {
	case err := <-w.created:
		return w, err
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *etcdConn) create(req *pb.WatchCreateRequest, w *etcdWatch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		st, err := c.cc.NewStream(c.ctx, &pb.Watch_ServiceDesc.Streams[0], "/etcdserverpb.Watch/Watch")
		if err != nil {
			return err
		}
		c.stream = st
		go c.receive(st)
	}
	req.WatchId = int64(len(c.watches) + 1)
	c.watches[req.WatchId] = w
	return c.stream.SendMsg(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: req}})
}

func (c *etcdConn) receive(st grpc.ClientStream) {
	var f frame
	for {
		if err := st.RecvMsg(&f); err != nil {
			c.fail(err)
			return
		}
		id, events := watchHead(f.b)
		c.mu.Lock()
		w := c.watches[id]
		c.mu.Unlock()
		if w != nil && events {
			w.frame = append(w.frame[:0], f.b...)
			w.sink(f.b)
			continue
		}
		var r pb.WatchResponse
		if err := proto.Unmarshal(f.b, &r); err != nil || r.Canceled || w == nil {
			err = fmt.Errorf("watch %d canceled: %s %v", id, r.CancelReason, err)
			c.fail(err)
			if w != nil {
				select {
				case w.created <- err:
				default:
				}
			}
			continue
		}
		if r.Created {
			w.rev = r.Header.Revision
			w.created <- nil
		}
	}
}

// watchHead reads a WatchResponse's watch_id and whether it has events.
func watchHead(b []byte) (id int64, events bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num == 11 {
			return id, num == 11
		}
		b = b[n:]
		if num == 2 {
			v, _ := protowire.ConsumeVarint(b)
			id = int64(v)
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return id, false
		}
		b = b[n:]
	}
	return id, false
}

func (w *etcdWatch) Pos() Pos {
	var r pb.WatchResponse
	if proto.Unmarshal(w.frame, &r) != nil || len(r.Events) == 0 {
		return w.rev
	}
	return r.Events[len(r.Events)-1].Kv.ModRevision
}

// Snapshot is one Range of the prefix, then a watch from the next revision.
func (c *etcdConn) Snapshot(ctx context.Context, _ int, sink Sink) error {
	var f frame
	if err := c.cc.Invoke(ctx, "/etcdserverpb.KV/Range", &pb.RangeRequest{Key: []byte("i."), RangeEnd: []byte("i/")}, &f); err != nil {
		return err
	}
	sink(f.b)
	num, _, n := protowire.ConsumeTag(f.b)
	if num != 1 || n < 0 {
		return errors.New("no header in range response")
	}
	hb, _ := protowire.ConsumeBytes(f.b[n:])
	var h pb.ResponseHeader
	if err := proto.Unmarshal(hb, &h); err != nil {
		return err
	}
	_, err := c.watch(ctx, &pb.WatchCreateRequest{Key: []byte("i."), RangeEnd: []byte("i/"), StartRevision: h.Revision + 1}, func([]byte) {})
	return err
}

func (c *etcdConn) Close() error {
	c.cancel()
	return c.cc.Close()
}
