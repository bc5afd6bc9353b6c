package mdms_test

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
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	c := a.issue(tmpl)
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// issue signs a certificate; the first one signs itself.
func (a *authority) issue(tmpl *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber, tmpl.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// server returns the files of an MDMS on this machine.
func (a *authority) server() mdms.TLS {
	a.t.Helper()
	c := a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "mdms"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return mdms.TLS{CertFile: a.write("cert.pem", "CERTIFICATE", c.Leaf.Raw), KeyFile: a.write("key.pem", "PRIVATE KEY", pkcs8), ClientCAFile: a.file}
}

// courier returns a courier's certificate.
func (a *authority) courier(subject pkix.Name, uris ...string) tls.Certificate {
	a.t.Helper()
	tmpl := &x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			a.t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	return a.issue(tmpl)
}

// secured serves an MDMS with TLS on any address, and returns where it is
// reached on this machine.
func secured(t *testing.T, files mdms.TLS) (r *rig, base string) {
	t.Helper()
	r = newRig(t, mdms.Limits{})
	r.Close()
	r.cfg.TLS = files
	r.open()
	ln, err := r.Listen(t.Context(), "0.0.0.0:0") // any address will do with TLS
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.serve(ln))
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return r, "https://127.0.0.1:" + port
}

// call sends a request of its own connection.
func call(t *testing.T, c *tls.Config, method, address, mediaType string, body string) (int, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}

func TestCouriersShowACertificateOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	_, base := secured(t, ours.server())
	hems := ours.courier(pkix.Name{CommonName: "hems"})
	for name, c := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"a certificate of the authority": {&tls.Config{Certificates: []tls.Certificate{hems}}, true},
		"TLS 1.2":                        {&tls.Config{Certificates: []tls.Certificate{hems}, MaxVersion: tls.VersionTLS12}, false},
		"no certificate":                 {&tls.Config{}, false},
		"one of another authority":       {&tls.Config{Certificates: []tls.Certificate{theirs.courier(pkix.Name{CommonName: "hems"})}}, false},
		"one that is for servers": {&tls.Config{Certificates: []tls.Certificate{ours.issue(&x509.Certificate{
			Subject: pkix.Name{CommonName: "hems"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.RootCAs = ours.pool
			for _, path := range []string{"/healthz", "/", "/v1/meters", "/v1/work"} {
				if status, err := call(t, c.config, http.MethodGet, base+path, "", ""); (err == nil) != c.ok || c.ok && status != http.StatusOK {
					t.Errorf("%s: %d, %v", path, status, err)
				}
			}
		})
	}
}

// TestACourierIsKnownByItsCertificate: what it brings is charged to the name in
// the certificate, wherever it connects from.
func TestACourierIsKnownByItsCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	r, base := secured(t, ca.server())
	for _, c := range []struct {
		cert tls.Certificate
		name string
	}{
		{ca.courier(pkix.Name{CommonName: "hems 1", Organization: []string{"home"}}), "CN=hems 1,O=home"},
		{ca.courier(pkix.Name{CommonName: "hems 2"}, "urn:hems:2", "urn:other"), "urn:hems:2"},
		{ca.courier(pkix.Name{CommonName: "\x1b[2J"}), "CN=\uFFFD[2J"},
	} {
		if _, err := call(t, &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{c.cert}}, http.MethodPost, base+"/v1/evidence", eventlog.MediaType, "nonsense"); err != nil {
			t.Fatal(err)
		}
		charges, err := r.Charges(t.Context(), mdms.Charge{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, got := range charges {
			found = found || got.Courier == c.name
		}
		if !found {
			t.Errorf("no charge of %q in %+v", c.name, charges)
		}
	}
	if n, err := r.RejectedCount(t.Context(), "127.0.0.1"); err != nil || n != 0 {
		t.Errorf("%d bundles of an address, %v", n, err)
	}
}

func TestListenSaysWhichFileIsWrong(t *testing.T) {
	ca := newAuthority(t, "ca")
	good := ca.server()
	for name, c := range map[string]struct {
		spoil func(*mdms.TLS)
		text  string
	}{
		"no client authorities":     {func(f *mdms.TLS) { f.ClientCAFile = "" }, "client authorities is required"},
		"only client authorities":   {func(f *mdms.TLS) { f.CertFile, f.KeyFile = "", "" }, "certificate: open"},
		"a missing authority file":  {func(f *mdms.TLS) { f.ClientCAFile += ".no" }, "no such file"},
		"a key for the authorities": {func(f *mdms.TLS) { f.ClientCAFile = f.KeyFile }, "no certificate in"},
		"no key":                    {func(f *mdms.TLS) { f.KeyFile = f.CertFile }, "certificate: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mdms.Limits{})
			r.Close()
			r.cfg.TLS = good
			c.spoil(&r.cfg.TLS)
			r.open()
			ln, err := r.Listen(t.Context(), "127.0.0.1:0")
			if err == nil {
				ln.Close()
				t.Fatal("listens")
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v does not say %q", err, c.text)
			}
		})
	}
}
