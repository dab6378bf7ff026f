// Package certificatetest makes certificates for tests: an authority, and what it has
// signed for this machine. What cannot fail but for want of memory or randomness panics.
package certificatetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority.
func New(name string) *Authority {
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, t, t, key.Public(), key))
	return &Authority{cert: must(x509.ParseCertificate(der)), key: key}
}

// template is of a certificate for a day, for localhost and 127.0.0.1.
func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

// Issue gives a certificate in somebody's name, and its key, as PEM.
func (a *Authority) Issue(name string) (cert, key []byte) {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, template(name), a.cert, k.Public(), a.key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(k))})
}

// Pair is Issue for a tls.Config.
func (a *Authority) Pair(name string) tls.Certificate { return must(tls.X509KeyPair(a.Issue(name))) }

// PEM gives the authority's own certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Client gives the settings of who trusts the authority and nobody else.
func (a *Authority) Client() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool}
}

// Write issues a certificate into NAME.pem and NAME.key of a folder, and gives the files.
func (a *Authority) Write(folder, name string) (cert, key string, err error) {
	certPEM, keyPEM := a.Issue(name)
	cert, key = filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key")
	if err := os.WriteFile(cert, certPEM, 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, keyPEM, 0o600)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
