package resource_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
)

func TestParseName(t *testing.T) {
	for _, text := range []string{"orders/42", "a/b", "system.keys/x", "o-1_2/~A.b=c@d+e,f", strings.Repeat("c", 63) + "/" + strings.Repeat("i", 128)} {
		n, err := resource.ParseName("name", text)
		if err != nil || n.String() != text {
			t.Errorf("%q: %v, %v", text, n, err)
		}
	}
	for text, says := range map[string]string{
		"":                              "not COLLECTION/ID",
		"orders":                        "not COLLECTION/ID",
		"/42":                           "collection is missing",
		"orders/":                       "id is missing",
		"Orders/42":                     "lower-case letter",
		"9/42":                          "lower-case letter",
		"or ders/42":                    `holds ' '`,
		"orders/4/2":                    `holds '/'`,
		"orders/a:b":                    `holds ':'`,
		"orders/..":                     "cannot be an id",
		"orders/watch":                  "cannot be an id",
		"orders/\xff":                   "holds",
		"orders/é":                      "holds",
		strings.Repeat("c", 64) + "/1":  "64 characters",
		"c/" + strings.Repeat("i", 129): "129 characters",
	} {
		_, err := resource.ParseName("resource.name", text)
		var e *resource.Error
		if !errors.As(err, &e) || e.Reason != resource.InvalidName || !strings.Contains(e.Message, says) || e.Metadata["field"] != "resource.name" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestToken_ReadsBackAndFindsMutilation(t *testing.T) {
	want := resource.Token{Epoch: 1 << 63, Scope: 7, Revision: 1<<64 - 1, Collection: "orders"}
	text := want.String()
	if got, err := resource.ParseToken("", text); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range text {
		for _, c := range "A_z" {
			broken := text[:i] + string(c) + text[i+1:]
			if broken == text {
				continue
			}
			if _, err := resource.ParseToken("resume_token", broken); !resource.HasReason(err, resource.InvalidToken) {
				t.Fatalf("%q, with character %d changed, is taken: %v", broken, i, err)
			}
		}
	}
	for _, bad := range []string{"", "x", text[:len(text)-1], text + "A", text + "=", strings.Repeat("A", 10000)} {
		if _, err := resource.ParseToken("", bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("disk on fire")
	err := error(resource.Errorf(resource.StoreUnavailable, "the store cannot be written").In("f").With("k", "v").After(time.Second).Because(cause))
	if !errors.Is(err, cause) || !errors.Is(err, &resource.Error{Reason: resource.StoreUnavailable}) || errors.Is(err, &resource.Error{Reason: resource.Internal}) {
		t.Error("Is")
	}
	e := resource.AsError(err)
	if e.Metadata["field"] != "f" || e.Metadata["k"] != "v" || e.RetryAfter != time.Second || strings.Contains(e.Message, "fire") {
		t.Errorf("%+v", e)
	}
	if resource.AsError(nil) != nil || resource.AsError(cause).Reason != resource.Internal {
		t.Error("AsError")
	}
	base := resource.Errorf(resource.InvalidField, "x")
	_ = base.With("a", "1")
	if base.Metadata != nil {
		t.Error("With changed its receiver")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(resource.Token{Epoch: 1, Scope: 2, Revision: 3, Collection: "orders"}.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := resource.ParseToken("t", text)
		if err != nil {
			if !resource.HasReason(err, resource.InvalidToken) {
				t.Fatal(err)
			}
			return
		}
		if tok.String() != text {
			t.Fatalf("%q reads as %+v, which writes as %q", text, tok, tok.String())
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("orders/42")
	f.Add("a/..")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := resource.ParseName("name", text)
		if err != nil {
			if !resource.HasReason(err, resource.InvalidName) {
				t.Fatal(err)
			}
			return
		}
		if n.String() != text || n.Collection == "" || n.ID == "" || strings.Count(text, "/") != 1 {
			t.Fatalf("%q reads as %+v", text, n)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	tok := resource.Token{Epoch: 1 << 60, Scope: 1 << 61, Revision: 1 << 30, Collection: "orders"}
	dst := make([]byte, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		dst = tok.Append(dst[:0])
	}
}
