package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// lookEvery is the least time between two looks at the files.
const lookEvery = 2 * time.Second

// material is what was read from the files at one time.
type material struct {
	pairs   []tls.Certificate // empty: of ACME
	clients *x509.CertPool    // nil: clients are not asked
}

// stamp tells whether a file is still the same.
type stamp struct{ info fs.FileInfo }

func (a stamp) same(b stamp) bool {
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime())
}

// look reads the files if they have changed. While they cannot be used it tries again
// each time: a pair is rarely replaced at once.
func (s *Source) look() {
	if !s.looking.TryLock() {
		return
	}
	defer s.looking.Unlock()
	now := s.cfg.Now()
	if now.Sub(s.looked) < lookEvery {
		return
	}
	s.looked = now
	switch changed, err := s.read(); {
	case err != nil:
		if text := err.Error(); text != s.problem {
			s.problem = text
			s.cfg.Logger.Error("files of TLS have changed and cannot be used; the old ones stay in force", "error", err)
		}
	case changed:
		s.problem = ""
		s.cfg.Logger.Info("files of TLS were read again", "certificate_until", s.until())
	}
}

// until says how long the certificate is valid.
func (s *Source) until() (t time.Time) {
	if pairs := s.current.Load().pairs; len(pairs) > 0 && pairs[0].Leaf != nil {
		t = pairs[0].Leaf.NotAfter
	}
	return t
}

// read reads the files, unless they are those that were read. looking is held, but
// in New.
func (s *Source) read() (changed bool, err error) {
	var seen []stamp // before reading: what changes meanwhile is read again
	for _, name := range []string{s.cfg.Cert, s.cfg.Key, s.cfg.ClientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return false, err
		}
		seen = append(seen, stamp{info})
	}
	if s.current.Load() != nil && slices.EqualFunc(seen, s.seen, stamp.same) {
		return false, nil
	}
	m := &material{}
	if s.cfg.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cfg.Cert, s.cfg.Key)
		if err != nil {
			return false, fmt.Errorf("%s, %s: %w", s.cfg.Cert, s.cfg.Key, err)
		}
		m.pairs = []tls.Certificate{pair}
	}
	if s.cfg.ClientCA != "" {
		if m.clients, err = Pool(s.cfg.ClientCA); err != nil {
			return false, err
		}
	}
	s.current.Store(m)
	s.seen = seen
	return true, nil
}

// Pool reads a PEM file of authorities.
func Pool(name string) (*x509.CertPool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in it", name)
	}
	return pool, nil
}
