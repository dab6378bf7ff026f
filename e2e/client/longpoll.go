package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// LongPoll is one request after the other, each with the token of the one before.
type LongPoll struct{ web }

// NewLongPoll makes it. Its polls share connections.
func NewLongPoll(target Target) *LongPoll {
	return &LongPoll{web{target, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}}
}

// Close closes idle connections.
func (t *LongPoll) Close() error {
	t.client.CloseIdleConnections()
	return nil
}

// Name implements Transport.
func (*LongPoll) Name() string { return "long-poll" }

// Watch implements Transport. The `started` of each poll but the first is left out:
// it must say that the poll resumes.
func (t *LongPoll) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	for first := true; ; first = false {
		messages, token, err := t.poll(ctx, r)
		if err != nil {
			return err
		}
		for i, m := range messages {
			if i == 0 && !first {
				if m.Kind != Started || m.Mode != "RESUMED" {
					return unfit("a poll with a token began with %s %s", m.Kind, m.Mode)
				}
				continue
			}
			if err := handle(m); err != nil {
				return err
			}
			if m.Kind == Drain {
				return nil
			}
		}
		if token == "" {
			return unfit("the answer to a poll has no token: %v", messages)
		}
		r.Token = token
	}
}

func (t *LongPoll) poll(ctx context.Context, r Request) (messages []*Message, token string, err error) {
	q := r.query()
	q.Set("wait", "1s")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.target.HTTP+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := t.do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	var body struct {
		Responses   []json.RawMessage `json:"responses"`
		ResumeToken string            `json:"resumeToken"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, "", err
	}
	for _, text := range body.Responses {
		m, err := fromJSON(text)
		if err != nil {
			return nil, "", err
		}
		messages = append(messages, m)
	}
	if len(messages) == 0 {
		return nil, "", unfit("the answer to a poll is empty")
	}
	return messages, body.ResumeToken, nil
}
