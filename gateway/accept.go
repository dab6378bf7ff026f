package gateway

import (
	"net/http"
	"strconv"
	"strings"
)

// accepted picks, of the media types that are offered, the one that the Accept
// header likes best (RFC 9110, section 12.5.1): by quality, then by how precisely
// it is named, then by where it stands, then by the order of the offers. Without
// the header everything is welcome. ok is false where none is.
func accepted(h http.Header, offers ...string) (offer string, ok bool) {
	header := strings.TrimSpace(strings.Join(h.Values("Accept"), ","))
	if header == "" {
		return offers[0], true
	}
	ranges := strings.Split(header, ",")
	type rank struct {
		quality float64
		precise int
		place   int // negative: earlier is better
	}
	var best rank
	for _, o := range offers {
		var mine rank
		for i, text := range ranges {
			mediaRange, quality := mediaRange(text)
			precise := 0
			switch {
			case mediaRange == o:
				precise = 3
			case mediaRange == o[:strings.IndexByte(o, '/')]+"/*":
				precise = 2
			case mediaRange == "*/*":
				precise = 1
			}
			if precise > mine.precise {
				mine = rank{quality, precise, -i}
			}
		}
		if mine.quality <= 0 {
			continue
		}
		if !ok || mine.quality > best.quality || mine.quality == best.quality &&
			(mine.precise > best.precise || mine.precise == best.precise && mine.place > best.place) {
			offer, best, ok = o, mine, true
		}
	}
	return offer, ok
}

// mediaRange reads one part of an Accept header.
func mediaRange(text string) (mediaRange string, quality float64) {
	parts := strings.Split(text, ";")
	quality = 1
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || q < 0 || q > 1 {
				q = 0
			}
			quality = q
		}
	}
	return strings.ToLower(strings.TrimSpace(parts[0])), quality
}
