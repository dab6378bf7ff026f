package gateway

import "testing"

func TestOrigins_LocalRefusesForeignHosts(t *testing.T) {
	o, err := parseOrigins([]string{"https://shop.example", "http://*.dev.example"})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:8080": true, "127.0.0.1:8080": true, "127.8.9.1": true, "[::1]:8080": true, "[::1]": true,
		"shop.example": true, "a.dev.example": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "10.0.0.1": false, "": false, "127.0.0.1.evil.example": false,
	} {
		if got := o.local(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
