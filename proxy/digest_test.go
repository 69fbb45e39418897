package proxy

import (
	"crypto/md5"
	"crypto/sha256"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// The examples of RFC 7616 §3.9.1 and RFC 2617 §3.5.
func TestDigestVectors(t *testing.T) {
	const (
		nonce  = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
		cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	)
	a1 := []string{"Mufasa", "http-auth@example.org", "Circle of Life"}
	c := digest.Credentials{
		Nonce: nonce, Cnonce: cnonce, Nc: 1, QOP: "auth", URI: "/dir/index.html",
		Response: "8ca523f5e9506fed4657c9700eebdbec",
	}
	h := md5.New()
	if !matches(h, &c, "GET", hashed(h, a1...)) {
		t.Error("RFC 7616, MD5")
	}
	c.Response = "753927FA0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
	h = sha256.New()
	if !matches(h, &c, "GET", hashed(h, a1...)) {
		t.Error("RFC 7616, SHA-256")
	}
	if matches(h, &c, "POST", hashed(h, a1...)) {
		t.Error("another method is as good")
	}
	c.Nonce, c.Cnonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093", "0a4f113b"
	c.Response = "6629fae49393a05397450978507c4ef1"
	h = md5.New()
	if !matches(h, &c, "GET", hashed(h, "Mufasa", "testrealm@host.com", "Circle Of Life")) {
		t.Error("RFC 2617")
	}
}

const (
	testRealm    = "example.com"
	testPassword = "open sesame"
)

// home is where the attempts come from.
var home = netip.MustParseAddr("192.0.2.7")

// bobOnly knows bob by both algorithms and old by MD5 alone.
func bobOnly(user, realm string) (ha1, bool) {
	h := ha1{
		sha256: hashed(sha256.New(), user, realm, testPassword),
		md5:    hashed(md5.New(), user, realm, testPassword),
	}
	if user == "old" {
		h.sha256 = ""
	}
	if user != "bob" && user != "old" || realm != testRealm {
		return ha1{}, false
	}
	return h, true
}

// An attempt is what a phone makes of a challenge.
type attempt struct {
	user, password, uri string
	challenge           int // 0: SHA-256, 1: MD5
	count               int
	edit                func(*digest.Credentials)
}

func (a attempt) answer(t *testing.T, challenges []string) string {
	t.Helper()
	c, err := digest.ParseChallenge(challenges[a.challenge])
	if err != nil {
		t.Fatal(err)
	}
	cred, err := digest.Digest(c, digest.Options{
		Method: "INVITE", URI: a.uri, Username: a.user, Password: a.password, Count: a.count,
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.edit != nil {
		a.edit(cred)
	}
	return cred.String()
}

func testAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	a, err := newAuthenticator(secretA)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func requestTo(uri string) *sip.Request {
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		panic(err)
	}
	return sip.NewRequest(sip.INVITE, u)
}

func TestCheck(t *testing.T) {
	good := attempt{user: "bob", password: testPassword, uri: "sip:alice@example.com", count: 1}
	with := func(change func(*attempt)) attempt {
		a := good
		change(&a)
		return a
	}
	edit := func(do func(*digest.Credentials)) attempt {
		return with(func(a *attempt) { a.edit = do })
	}
	for name, c := range map[string]struct {
		attempt
		want authResult
	}{
		"SHA-256":             {good, authOK},
		"MD5":                 {with(func(a *attempt) { a.challenge = 1 }), authOK},
		"count in capitals":   {with(func(a *attempt) { a.count = 0xabcdef }), authOK},
		"server as uri":       {with(func(a *attempt) { a.uri = "sip:192.0.2.1:5060" }), authOK},
		"uri with parameters": {with(func(a *attempt) { a.uri = "sips:alice@EXAMPLE.com:9;x" }), authOK},
		"wrong password":      {with(func(a *attempt) { a.password = "guess" }), authFailed},
		"no such user":        {with(func(a *attempt) { a.user = "nobody" }), authFailed},
		"no SHA-256 for him":  {with(func(a *attempt) { a.user = "old" }), authFailed},
		"MD5 for him":         {with(func(a *attempt) { a.user, a.challenge = "old", 1 }), authOK},
		"uri of another":      {with(func(a *attempt) { a.uri = "sip:carol@example.com" }), authFailed},
		"uri elsewhere":       {with(func(a *attempt) { a.uri = "sip:alice@example.org" }), authFailed},
		"no uri":              {with(func(a *attempt) { a.uri = "" }), authFailed},
		"no qop":              {edit(func(c *digest.Credentials) { c.QOP = "" }), authFailed},
		"auth-int":            {edit(func(c *digest.Credentials) { c.QOP = "auth-int" }), authFailed},
		"other realm":         {edit(func(c *digest.Credentials) { c.Realm = "other" }), authFailed},
		"other algorithm":     {edit(func(c *digest.Credentials) { c.Algorithm = "SHA-1" }), authFailed},
		"swapped algorithm":   {edit(func(c *digest.Credentials) { c.Algorithm = "MD5" }), authFailed},
		"nonce of his own":    {edit(func(c *digest.Credentials) { c.Nonce = "abc" }), authFailed},
		"count 0":             {edit(func(c *digest.Credentials) { c.Nc = 0 }), authFailed},
		"no response":         {edit(func(c *digest.Credentials) { c.Response = "" }), authFailed},
		"another's name":      {edit(func(c *digest.Credentials) { c.Username = "alice" }), authFailed},
		"hashed name":         {edit(func(c *digest.Credentials) { c.Userhash = true }), authFailed},
	} {
		t.Run(name, func(t *testing.T) {
			a := testAuthenticator(t)
			value := c.answer(t, a.challenges(testRealm, home, false))
			user, got := a.check(value, testRealm, requestTo("sip:alice@example.com;lr"), home, bobOnly)
			if got == authWrong {
				got = authFailed // alike but for the guard
			}
			if got != c.want || (got == authOK) != (user == c.user) {
				t.Errorf("%v for %q, want %v: %s", got, user, c.want, value)
			}
		})
	}
}

func TestCheckGarbage(t *testing.T) {
	a := testAuthenticator(t)
	for _, v := range []string{
		"", "Digest", "Basic Ym9iOmJvYg==", "Digest ,,,", `Digest username="bob`, "Digest nc=zz",
		`Digest realm="example.com", nc=00000001, qop=auth, uri="` + strings.Repeat("sip:", 1000) + `"`,
	} {
		_, got := a.check(v, testRealm, requestTo("sip:alice@example.com"), home, bobOnly)
		if got != authFailed {
			t.Errorf("%q: %v", v, got)
		}
	}
}

func TestReplay(t *testing.T) {
	a := testAuthenticator(t)
	challenges := a.challenges(testRealm, home, false)
	req := requestTo("sip:alice@example.com")
	try := func(count int) authResult {
		bob := attempt{user: "bob", password: testPassword, uri: "sip:alice@example.com", count: count}
		_, got := a.check(bob.answer(t, challenges), testRealm, req, home, bobOnly)
		return got
	}
	for i, c := range []struct {
		count int
		want  authResult
	}{
		{1, authOK},
		{1, authStale},
		{3, authOK},
		{2, authOK},
		{2, authStale},
		{200, authOK},
		{4, authStale},
	} {
		if got := try(c.count); got != c.want {
			t.Errorf("step %d, count %d: %v", i, c.count, got)
		}
	}
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAuthenticator(t)
		challenges := a.challenges(testRealm, home, false)
		time.Sleep(nonceLife + time.Second)
		req := requestTo("sip:alice@example.com")
		right := attempt{user: "bob", password: testPassword, uri: "sip:alice@example.com", count: 1}
		if _, got := a.check(right.answer(t, challenges), testRealm, req, home, bobOnly); got != authStale {
			t.Errorf("right, with an old nonce: %v", got)
		}
		wrong := right
		wrong.password = "guess"
		// stale=true would say that the password was right (RFC 7616 §3.3).
		if _, got := a.check(wrong.answer(t, challenges), testRealm, req, home, bobOnly); got != authWrong {
			t.Errorf("wrong, with an old nonce: %v", got)
		}
		if c := a.challenges(testRealm, home, true); !strings.Contains(c[0], "stale=true") {
			t.Errorf("challenge: %s", c[0])
		}
	})
}

// SHA-256 comes first (RFC 8760 §2.3), and nothing in a challenge is about a user.
func TestChallenges(t *testing.T) {
	c := testAuthenticator(t).challenges(testRealm, home, false)
	if len(c) != 2 {
		t.Fatal(c)
	}
	for i, algorithm := range []string{"SHA-256", "MD5"} {
		got, err := digest.ParseChallenge(c[i])
		if err != nil || got.Algorithm != algorithm || got.Realm != testRealm || got.Stale {
			t.Errorf("%d: %s", i, c[i])
		}
		if !strings.Contains(c[i], `qop="auth"`) {
			t.Errorf("%s: without qop", c[i])
		}
	}
}

// Phones that stumble over SHA-256 get MD5 alone; all others get both.
func TestChallengesForPhones(t *testing.T) {
	all := testAuthenticator(t).challenges(testRealm, home, false)
	for agent, want := range map[string]int{
		"": 2, "Linphone/5.1.65": 2, "baresip v3.9.0": 2, "baresip v1.0.0 (x86_64/linux)": 1, "SIPp": 1,
	} {
		req := requestTo("sip:" + testRealm)
		if agent != "" {
			req.AppendHeader(sip.NewHeader("User-Agent", agent))
		}
		got := forPhone(req, all)
		if len(got) != want || !strings.Contains(got[len(got)-1], "MD5") {
			t.Errorf("%q is offered %q", agent, got)
		}
	}
}

func TestSameURI(t *testing.T) {
	for _, c := range []struct {
		uri, target string
		want        bool
	}{
		{"sip:example.com", "sip:example.com", true},
		{"sip:bob@example.com", "sip:bob@Example.com:5070", true},
		{"sip:bob@example.com", "sip:Bob@example.com", false},
		{"tel:+4930", "tel:+4930", true},
		{"tel:+4930", "tel:+4931", false},
		{"tel:+4930", "sip:+4930@example.com", false},
		{"urn:service:sos", "urn:service:sos", true},
		{"*", "sip:bob@example.com", false},
		{"/index.html", "sip:bob@example.com", false},
	} {
		if got := sameURI(c.uri, requestTo(c.target).Recipient); got != c.want {
			t.Errorf("%s for %s: %v", c.uri, c.target, got)
		}
	}
}
