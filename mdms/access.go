package mdms

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
)

// courier names who sent a request: by its certificate, if it has one, else by
// its address, without the port.
func courier(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return holder(r.TLS.VerifiedChains[0][0])
	}
	return hostOf(r.RemoteAddr)
}

// holder names the holder of a certificate: its first URI, else its subject,
// else its key.
func holder(c *x509.Certificate) string {
	name := c.Subject.String()
	if len(c.URIs) > 0 {
		name = c.URIs[0].String()
	}
	if name == "" {
		return fmt.Sprintf("key %x", sha256.Sum256(c.RawSubjectPublicKeyInfo))
	}
	return strings.Map(func(r rune) rune { // it is shown on terminals
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, name)
}

// hostOf returns the host of HOST:PORT, or of a HOST alone.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// operator lets only this machine do what is a person's to do. Everybody else
// is a courier, with or without a certificate.
func operator(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(hostOf(r.RemoteAddr)) {
			writeError(w, http.StatusForbidden, "this is the operator's, and taken from this machine only")
			return
		}
		do(w, r)
	}
}

// knownHost refuses requests over plain HTTP on loopback that ask for a host of
// another name: a page somewhere may have had its own name lead here, to read
// with a browser of this machine what it could not reach itself.
func knownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		host := hostOf(r.Host)
		if ok && r.TLS == nil && isLoopback(hostOf(local.String())) && !isLoopback(host) && !strings.EqualFold(host, "localhost") {
			writeError(w, http.StatusMisdirectedRequest, "on loopback the host is 127.0.0.1, [::1] or localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}
