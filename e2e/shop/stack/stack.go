package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/watchroute/watchroute/e2e/shop/delivery"
	"github.com/watchroute/watchroute/e2e/shop/event"
	"github.com/watchroute/watchroute/e2e/shop/login"
	"github.com/watchroute/watchroute/e2e/shop/order"
	"github.com/watchroute/watchroute/e2e/shop/pages"
	"github.com/watchroute/watchroute/e2e/shop/warehouse"
)

// Config says how the shop is run.
type Config struct {
	// Folder is for what Prepare makes.
	Folder string
	// Template is watchroute.yaml of the folder above.
	Template []byte
	// Brokers are Kafka's, HOST:PORT.
	Brokers []string
	// Watchroute is the HOST:PORT of the node for HTTP.
	Watchroute string
	// Pages is the HOST:PORT of the pages, on loopback; port 0: a free one.
	Pages     string
	Customers []string
	// Packing, Loading and Driving are how long an order is between two steps.
	Packing, Loading, Driving time.Duration
	// Between is how much time is between two orders that nobody had to place, on
	// average; 0: there are none.
	Between time.Duration
	// TokenLife is how long an access token counts. Default: 5 minutes.
	TokenLife time.Duration
	Logger    *slog.Logger
}

// Stack is a shop.
type Stack struct {
	// Settings is the file with which Watchroute is to be started.
	Settings string
	// URL is where the pages are.
	URL string

	cfg       Config
	issuer    *login.Issuer
	publisher *event.Publisher
	listener  net.Listener
	cancel    context.CancelFunc
	work      sync.WaitGroup
	server    *http.Server
	closing   sync.Once
}

const topicTime = 30 * time.Second

// Prepare makes the topic, the login's key and the settings of Watchroute, and takes the
// address of the pages. A stack that was prepared is to be closed.
func Prepare(ctx context.Context, cfg Config) (_ *Stack, err error) {
	host, _, err := net.SplitHostPort(cfg.Pages)
	if err != nil {
		return nil, err
	}
	if host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("the pages are at %s, which is not loopback: their login asks for no password", cfg.Pages)
	}
	s := &Stack{cfg: cfg, Settings: filepath.Join(cfg.Folder, "watchroute.yaml"), cancel: func() {}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.publisher, err = event.NewPublisher(cfg.Brokers); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, topicTime)
	defer cancel()
	if err := s.publisher.MakeTopic(bounded); err != nil {
		return nil, err
	}
	key := filepath.Join(cfg.Folder, "login.pem")
	if s.issuer, err = login.New(key, cmp.Or(cfg.TokenLife, 5*time.Minute)); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", cfg.Pages); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.listener.Addr().String()
	text := string(cfg.Template)
	for old, now := range map[string]string{
		`"127.0.0.1:9092"`:           `"` + strings.Join(cfg.Brokers, `", "`) + `"`,
		"public-key-file: login.pem": "public-key-file: " + key,
		`"http://127.0.0.1:8088"`:    `"` + s.URL + `"`,
	} {
		if strings.Count(text, old) != 1 {
			return nil, fmt.Errorf("watchroute.yaml does not have %s once", old)
		}
		text = strings.Replace(text, old, now, 1)
	}
	return s, os.WriteFile(s.Settings, []byte(text), 0o644)
}

// Start starts the services and the pages.
func (s *Stack) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	part := func(name string) *slog.Logger { return s.cfg.Logger.With("service", name) }
	orders := &order.Service{Publisher: s.publisher, Customer: s.issuer.Customer, Logger: part("order")}
	s.work.Go(func() { warehouse.Run(ctx, s.cfg.Brokers, s.cfg.Packing, part("warehouse")) })
	s.work.Go(func() { delivery.Run(ctx, s.cfg.Brokers, s.cfg.Loading, s.cfg.Driving, part("delivery")) })
	if s.cfg.Between > 0 {
		s.work.Go(func() { orders.PlaceMany(ctx, s.cfg.Customers, s.cfg.Between) })
	}
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: pages.New(pages.Config{Watchroute: "http://" + s.cfg.Watchroute, Customers: s.cfg.Customers, Login: s.issuer, Orders: orders})}
	s.work.Go(func() {
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			part("pages").Error("the pages are no longer served", "error", err)
		}
	})
}

// Close stops everything and waits for it. Closing twice is fine.
func (s *Stack) Close() {
	s.closing.Do(func() {
		s.cancel()
		if s.server != nil {
			_ = s.server.Close() // also its listener
		} else if s.listener != nil {
			_ = s.listener.Close()
		}
		s.work.Wait()
		if s.publisher != nil {
			s.publisher.Close()
		}
	})
}
