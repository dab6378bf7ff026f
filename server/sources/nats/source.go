package nats

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

// Source reads a stream of JetStream. Its fields are set before Run.
type Source struct {
	// MaxEvents bounds what is taken at a time. Default: 500.
	MaxEvents int
	// Patience is how long an answer of the server may take. Default: 5 seconds.
	Patience time.Duration
	// LookInterval is how often is looked how far a source has come that reads some
	// subjects only. Default: 5 seconds.
	LookInterval time.Duration

	config *watchroutev1.NatsSource
	id     string
}

var _ sources.Source = (*Source)(nil)

// New makes a *Source. It is a sources.Connector.
func New(s *watchroutev1.Source) (sources.Source, error) {
	n := s.GetNats()
	if err := check(n); err != nil {
		return nil, err
	}
	return &Source{MaxEvents: 500, Patience: 5 * time.Second, LookInterval: 5 * time.Second, config: n, id: s.GetSourceId()}, nil
}

// check says what is wrong with a configuration.
func check(n *watchroutev1.NatsSource) error {
	bad := func(field, format string, args ...any) error {
		return resource.Errorf(resource.InvalidField, format, args...).In("nats." + field)
	}
	if len(n.GetServers()) == 0 {
		return bad("servers", "the servers are missing; the URL of at least one is expected, such as nats://nats-1:4222")
	}
	for i, server := range n.GetServers() {
		field := fmt.Sprintf("servers[%d]", i)
		u, err := url.Parse(server)
		switch {
		case err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
			return bad(field, "no URL of a server; nats://HOST:PORT or tls://HOST:PORT is expected")
		case u.User != nil:
			return bad(field, "the URL has a name or a password in it; give them as `login` or `token`")
		}
	}
	if !isStream(n.GetStream()) {
		return bad("stream", "%q is no name of a stream", n.GetStream())
	}
	for i, subject := range n.GetSubjects() {
		field := fmt.Sprintf("subjects[%d]", i)
		switch {
		case !isSubject(subject):
			return bad(field, "%q is no subject; words between dots are expected, with * for a word and > for the rest", subject)
		case slices.Contains(n.GetSubjects()[:i], subject):
			return bad(field, "the subject %s is given twice", subject)
		}
	}
	if _, known := watchroutev1.SourceStart_name[int32(n.GetStart())]; !known {
		return bad("start", "this server knows no start %d", n.GetStart())
	}
	if err := sources.CheckLogin("nats.login", n.GetLogin()); err != nil {
		return err
	}
	if n.GetToken() != nil {
		if err := sources.CheckSecret("nats.token", n.GetToken()); err != nil {
			return err
		}
	}
	switch {
	case n.GetLogin() != nil && n.GetToken() != nil:
		return bad("token", "a login is given already")
	case n.GetCredentialsFile() != "" && (n.GetLogin() != nil || n.GetToken() != nil):
		return bad("credentials_file", "a login or a token is given already")
	}
	return sources.CheckTLS("nats.tls", n.GetTls())
}

func isStream(name string) bool {
	return name != "" && !strings.ContainsAny(name, `.*>/\`) && !strings.ContainsFunc(name, unspeakable)
}

func isSubject(subject string) bool {
	words := strings.Split(subject, ".")
	for i, word := range words {
		if word == "" || strings.ContainsFunc(word, unspeakable) || word == ">" && i < len(words)-1 {
			return false
		}
	}
	return true
}

func unspeakable(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	err := s.run(ctx, from, to)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Source) run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	r := newReader(s, to)
	c, err := s.connect(ctx, r.fail)
	if err != nil {
		return err
	}
	defer c.close()
	defer r.stop()
	r.look = c.look
	begin := func() error {
		ctx, cancel := context.WithTimeout(ctx, s.Patience)
		defer cancel()
		state, err := c.state(ctx)
		if err != nil {
			return err
		}
		known := from.Position(s.config.GetStream())
		if err := r.same(known, state); err != nil {
			return err
		}
		start, err := r.begin(from.Position(""), state)
		if err != nil {
			return err
		}
		pending, err := c.consume(ctx, start, r.receive)
		if err != nil {
			return err
		}
		// What comes next may have gone before there was a consumer.
		if state, err = c.state(ctx); err == nil {
			err = r.check(state, start)
		}
		if err == nil && from.Position("") == "" {
			err = to.Pass(ctx, "", strconv.FormatUint(start-1, 10))
		}
		if err == nil && known == "" {
			err = to.Pass(ctx, s.config.GetStream(), identity(state))
		}
		if err == nil {
			to.Connected()
			to.Lag("", int64(pending))
		}
		return err
	}
	if err := begin(); err != nil {
		return r.because(err)
	}
	return r.read(ctx)
}
