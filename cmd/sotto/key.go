package main

import (
	"encoding/hex"
	"errors"
	"time"

	"sotto/tokens"
)

// keyPrefix begins a public key in text, so that nobody takes it for a token.
const keyPrefix = "pk1."

// keyCmd has the verbs about the public keys that the server knows.
type keyCmd struct {
	Add    keyAddCmd    `cmd:"" help:"Let tokens of a key ring a user."`
	List   keyListCmd   `cmd:"" help:"List a user's keys."`
	Delete keyDeleteCmd `cmd:"" help:"Delete a key, and with it every token that it signed."`
}

type keyAddCmd struct {
	place
	User  string `arg:"" help:"The recipient, as bob@example.com."`
	Key   string `arg:"" help:"The public key that sotto token keygen printed."`
	Label string `help:"What the key is called in lists."`
}

// Run implements the verb.
func (c *keyAddCmd) Run(t *tell) error { return c.ask(t, "key add", c.User, c.Key, c.Label) }

type keyListCmd struct {
	place
	User string `arg:"" help:"The recipient, as bob@example.com."`
}

// Run implements the verb.
func (c *keyListCmd) Run(t *tell) error { return c.ask(t, "key list", c.User) }

type keyDeleteCmd struct {
	place
	User string `arg:"" help:"The recipient, as bob@example.com."`
	Key  string `arg:"" help:"The public key, as sotto key list prints it."`
	In   string `help:"Not now, but in so long, as 28d; a new key holds beside it." placeholder:"TIME"`
}

// Run implements the verb.
func (c *keyDeleteCmd) Run(t *tell) error { return c.ask(t, "key delete", c.User, c.Key, c.In) }

// revokeCmd takes back one token.
type revokeCmd struct {
	place
	User  string `arg:"" help:"The recipient, as bob@example.com."`
	Token string `arg:"" help:"The token, the address that carries it, or its salt (sotto token show)."`
}

// Run implements the verb. The token itself stays here: the server is told
// its salt, which says nothing about whom it was for.
func (c *revokeCmd) Run(t *tell) error {
	salt, until, err := saltOf(c.Token)
	if err != nil {
		return err
	}
	return c.ask(t, "revoke", c.User, salt, until.UTC().Format(time.RFC3339))
}

// saltSize is the length of a token's salt (token-spec.md).
const saltSize = 8

// saltOf reads the salt of a token, or of its text, and until when it matters:
// of a salt alone, as long as any token can hold.
func saltOf(text string) (salt string, until time.Time, err error) {
	if tok, err := tokenIn(text); err == nil {
		s := tok.Salt()
		return hex.EncodeToString(s[:]), tok.Expires(), nil
	}
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != saltSize {
		return "", until, hint(errors.New("that is neither a token nor a salt"),
			"sotto token show TOKEN prints the salt, 16 hexadecimal digits")
	}
	return text, time.Now().Add(tokens.MaxLife + 8*24*time.Hour), nil
}
