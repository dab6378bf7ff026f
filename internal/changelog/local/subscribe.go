package local

import (
	"slices"
	"sync"

	"github.com/watchroute/watchroute/internal/changelog"
)

type subscribers struct {
	mu   sync.Mutex // held while they are called
	list []*subscriber
}

type subscriber struct{ call func(*changelog.Batch) }

func (s *subscribers) add(f func(*changelog.Batch)) (cancel func()) {
	one := &subscriber{f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, one)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.list, one); i >= 0 {
			s.list = slices.Delete(s.list, i, i+1)
		}
	}
}

func (s *subscribers) call(batches []*changelog.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range batches {
		for _, one := range s.list {
			one.call(b)
		}
	}
}
