package main

import (
	"bufio"
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"
	"golang.org/x/term"

	"sotto/internal/aor"
	"sotto/tokens"
)

// tokenCmd has the verbs of a recipient. They need no server: the private key
// stays on this machine.
type tokenCmd struct {
	Keygen tokenKeygenCmd `cmd:"" help:"Make the key that signs your tokens."`
	Issue  tokenIssueCmd  `cmd:"" help:"Make a token, to be given to a caller."`
	Show   tokenShowCmd   `cmd:"" help:"Show what a token says."`
	Revoke tokenRevokeCmd `cmd:"" help:"Say how a token is taken back."`
}

// keyPlace is where the private key is.
type keyPlace struct {
	File string `help:"File of the private key." default:"${token_key}" type:"path" env:"SOTTO_TOKEN_KEY"`
}

type tokenKeygenCmd struct {
	keyPlace
	Phrase     bool `help:"Make a recovery phrase, from which other devices derive the same key."`
	FromPhrase bool `help:"Derive the key from a recovery phrase on standard input."`
}

// Run implements the verb.
func (c *tokenKeygenCmd) Run(t *tell) error {
	key, words, err := c.key(t)
	if err != nil {
		return err
	}
	if err := writeKey(c.File, key); err != nil {
		return err
	}
	if words != "" { // only now: the words of a key that is nowhere would be kept for another one's
		t.say("recovery phrase: %s", words)
		t.say("write it down; it is shown only now, and whoever has it can make your tokens")
	}
	text := publicText(key)
	t.say("private key: %s (keep it; it never leaves this machine)", c.File)
	t.say("public key:  %s", text)
	t.say("give the public key to your server:")
	t.say("  sotto key add YOU@YOUR.DOMAIN %s", text)
	return nil
}

// key makes or derives the key, and the words of a phrase that it makes.
func (c *tokenKeygenCmd) key(t *tell) (key ed25519.PrivateKey, words string, err error) {
	switch {
	case c.FromPhrase:
		if term.IsTerminal(int(os.Stdin.Fd())) {
			fmt.Fprint(t.err, "recovery phrase: ")
		}
		words, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && words == "" {
			return nil, "", hint(errors.New("no recovery phrase"), "write its twelve words on standard input")
		}
		if key, err = tokens.KeyFromPhrase(words); err != nil {
			return nil, "", hint(err, "check the spelling and the order of the words")
		}
		return key, "", nil
	case c.Phrase:
		if words, err = tokens.NewPhrase(); err != nil {
			return nil, "", err
		}
		key, err = tokens.KeyFromPhrase(words)
		return key, words, err
	}
	key, err = tokens.NewKey()
	return key, "", err
}

type tokenIssueCmd struct {
	keyPlace
	As       string `help:"You, as bob@example.com." placeholder:"YOU" required:""`
	For      string `help:"The caller, as carol@example.org." placeholder:"CALLER" xor:"whom"`
	ForAll   string `help:"Each contact in a file of vCards, a card for each." placeholder:"FILE" type:"path" xor:"whom"`
	Cards    string `help:"Directory for the cards of --for-all." default:"cards" placeholder:"DIR" type:"path"`
	Name     string `help:"Your name on these cards, if it is not that of your address." placeholder:"NAME"`
	Domain   string `help:"Every caller of a domain, as example.org." placeholder:"DOMAIN" xor:"whom"`
	FirstUse bool   `help:"Whoever uses it first: for a card or a QR code." xor:"whom"`
	Open     bool   `help:"Anybody, until it expires, in as many calls as your setting open_uses says." xor:"whom"`
	Expires  string `help:"How long it holds, up to 182d; rounded up to whole weeks." default:"28d"`
	NoQR     bool   `help:"Do not draw the QR code." name:"no-qr"`
}

// Validate implements kong's Validatable: a token is for somebody.
func (c *tokenIssueCmd) Validate() error {
	if c.For == "" && c.ForAll == "" && c.Domain == "" && !c.FirstUse && !c.Open {
		return errors.New("for whom is it? say --for, --for-all, --domain, --first-use or --open")
	}
	return nil
}

// Run implements the verb.
func (c *tokenIssueCmd) Run(t *tell) error {
	key, err := readKey(c.File)
	if err != nil {
		return err
	}
	if c.ForAll != "" {
		return c.issueAll(t, key, time.Now())
	}
	g, err := c.grant(time.Now())
	if err != nil {
		return err
	}
	tok, err := tokens.Issue(key, g, time.Now())
	if err != nil {
		return hint(err, "write days as 28d, up to 182d")
	}
	address := dialable(g.Recipient, tok)
	t.say("token:   %s", tok)
	t.say("address: %s", address)
	t.say("header:  %s: %s", tokens.Header, tok)
	t.say("until:   %s", tok.Expires().Format(time.DateOnly))
	if !c.NoQR {
		qrterminal.GenerateHalfBlock(address, qrterminal.L, t.out)
	}
	return nil
}

// dialable is the address that carries a token: it survives in the address
// book of every phone.
func dialable(to aor.AOR, tok tokens.Token) string {
	return "sip:" + to.User() + "+" + tok.String() + "@" + to.Host()
}

// grant is what the flags ask for.
func (c *tokenIssueCmd) grant(now time.Time) (tokens.Grant, error) {
	to, err := user(c.As)
	if err != nil {
		return tokens.Grant{}, err
	}
	life, err := days(c.Expires)
	if err != nil {
		return tokens.Grant{}, err
	}
	g := tokens.Grant{Recipient: to, Expires: now.Add(life), Domain: c.Domain}
	switch {
	case c.For != "":
		g.Bind = tokens.ToCaller
		g.Caller, err = user(c.For)
	case c.ForAll != "":
		g.Bind = tokens.ToCaller // one after the other
	case c.Domain != "":
		g.Bind = tokens.ToDomain
		g.Domain, err = domain(c.Domain)
	case c.FirstUse:
		g.Bind = tokens.FirstUse
	default:
		g.Bind = tokens.Open
	}
	return g, err
}

// domain is the canonical form of a domain name.
func domain(text string) (string, error) {
	a, err := aor.New("x", text)
	if err != nil {
		return "", hint(fmt.Errorf("%q is no domain", text), "write one as example.org")
	}
	return a.Host(), nil
}

// days reads a time in days, or as Go writes it.
func days(text string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		if d, err := time.ParseDuration(n + "h"); err == nil && d > 0 {
			return 24 * d, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, hint(fmt.Errorf("%q is no time", text), "write days as 28d, up to 182d")
}

type tokenShowCmd struct {
	Token string `arg:"" help:"The token."`
}

// Run implements the verb.
func (c *tokenShowCmd) Run(t *tell) error {
	tok, err := tokenIn(c.Token)
	if err != nil {
		return err
	}
	salt := tok.Salt()
	t.say("bound to: %s", boundTo(tok.Bind()))
	until := tok.Expires().Format(time.DateOnly)
	if !time.Now().Before(tok.Expires()) {
		until += ", it has expired"
	}
	t.say("until:    %s", until)
	t.say("salt:     %s", hex.EncodeToString(salt[:]))
	t.say("who gave it, and to whom, is not in it; only the recipient's server can check it")
	return nil
}

// boundTo explains a binding.
func boundTo(b tokens.Bind) string {
	switch b {
	case tokens.ToCaller:
		return "one caller"
	case tokens.ToDomain:
		return "the callers of one domain"
	case tokens.FirstUse:
		return "whoever uses it first"
	case tokens.Open:
		return "nobody: anyone may use it"
	}
	return "unknown"
}

// tokenText is what looks like a token.
var tokenText = regexp.MustCompile(`pt1\.[\w-]+`)

// tokenIn finds the token in a text: alone, in an address, or in a header.
func tokenIn(text string) (tokens.Token, error) {
	tok, err := tokens.Parse(cmp.Or(tokenText.FindString(text), text))
	if err != nil {
		return tokens.Token{}, hint(err, "a token begins with pt1. and has %d characters", tokens.TextSize)
	}
	return tok, nil
}

type tokenRevokeCmd struct {
	As    string `help:"You, as bob@example.com." default:"YOU@YOUR.DOMAIN"`
	Token string `arg:"" help:"The token."`
}

// Run implements the verb.
func (c *tokenRevokeCmd) Run(t *tell) error {
	tok, err := tokenIn(c.Token)
	if err != nil {
		return err
	}
	salt := tok.Salt()
	t.say("tell your server the token's salt, which says nothing about whom it was for:")
	t.say("  sotto revoke %s %s", c.As, hex.EncodeToString(salt[:]))
	t.say("it is void from the next call on; it would have expired on %s", tok.Expires().Format(time.DateOnly))
	return nil
}
