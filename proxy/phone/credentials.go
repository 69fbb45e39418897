package phone

import (
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"sotto/proxy/wire"
)

// credentials answer digest challenges (RFC 8760), and use a nonce again until
// the server wants another one.
type credentials struct {
	user, password string
	only           string // the only algorithm, or ""
	challenge      *digest.Challenge
	count          int
	name           string // of the header
}

// take notes the best challenge of a 401 or 407. It is false if there is none
// that we can answer, or if it says once more that what we sent was wrong.
func (c *credentials) take(res *sip.Response, tries int) bool {
	in, out := "WWW-Authenticate", "Authorization"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		in, out = "Proxy-Authenticate", "Proxy-Authorization"
	}
	best := c.pick(wire.All(res, in))
	if best == nil || c.password == "" || tries > 1 && !best.Stale {
		return false
	}
	c.challenge, c.count, c.name = best, 0, out
	return true
}

// pick prefers SHA-256 to MD5, as the server's order does too.
func (c *credentials) pick(values []string) *digest.Challenge {
	var best *digest.Challenge
	for _, v := range values {
		ch, err := digest.ParseChallenge(v)
		if err != nil || !digest.CanDigest(ch) {
			continue
		}
		algorithm := strings.ToUpper(ch.Algorithm)
		if algorithm == "" {
			algorithm = "MD5"
		}
		if c.only != "" && !strings.EqualFold(c.only, algorithm) {
			continue
		}
		if best == nil || algorithm == "SHA-256" {
			best = ch
		}
	}
	return best
}

// fields are the headers that answer the last challenge, for one request.
func (c *credentials) fields(method, uri string) []Field {
	if c.challenge == nil {
		return nil
	}
	c.count++
	cred, err := digest.Digest(c.challenge, digest.Options{
		Method: method, URI: uri, Username: c.user, Password: c.password, Count: c.count,
	})
	if err != nil {
		return nil
	}
	name := c.name
	if method == "REGISTER" {
		name = "Authorization"
	}
	return []Field{{name, cred.String()}}
}
