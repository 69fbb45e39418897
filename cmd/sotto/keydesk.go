package main

import (
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"sotto/internal/aor"
	"sotto/store"
	"sotto/tokens"
)

// What a desk does with keys and tokens.

// publicKey reads a public key as `sotto token keygen` prints it.
func publicKey(text string) (ed25519.PublicKey, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(text, keyPrefix))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, hint(errors.New("that is no public key"), "sotto token keygen prints one, beginning with %s", keyPrefix)
	}
	return raw, nil
}

func (d *desk) keyAdd(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		k, err := publicKey(args[1])
		if err != nil {
			return nil, err
		}
		err = d.store.AddKey(a, k, args[2])
		switch {
		case errors.Is(err, store.ErrExists):
			err = hint(fmt.Errorf("%s has this key already", a), "sotto key list %s shows its keys", a)
		case errors.Is(err, store.ErrTooManyKeys):
			err = hint(fmt.Errorf("%s has %d keys already", a, store.MaxKeys),
				"sotto key delete removes one that is no longer used, and with it every token that it signed")
		}
		return done(err, "tokens of this key let callers ring %s from the next call on", a)
	})
}

func (d *desk) keyList(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		keys, err := d.store.ListKeys(a)
		if err == nil && len(keys) == 0 {
			return []string{a.String() + " has no keys; sotto token keygen makes one"}, nil
		}
		lines := make([]string, 0, len(keys))
		for _, k := range keys {
			line := fmt.Sprintf("%s%s  %s  %s", keyPrefix, base64.RawURLEncoding.EncodeToString(k.Public),
				k.Created.UTC().Format(time.DateOnly), cmp.Or(k.Label, "-"))
			if !k.Until.IsZero() {
				line += "  until " + k.Until.UTC().Format("2006-01-02 15:04 UTC")
			}
			lines = append(lines, line)
		}
		return lines, err
	})
}

func (d *desk) keyDelete(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		k, err := publicKey(args[1])
		if err != nil {
			return nil, err
		}
		when, err := d.endKey(a, k, args[2])
		if errors.Is(err, store.ErrNotFound) {
			err = hint(fmt.Errorf("%s has no such key", a), "sotto key list %s shows its keys", a)
		}
		return done(err, "every token of this key is void from %s on", when)
	})
}

// endKey deletes a key now, or in a while, and says when that is.
func (d *desk) endKey(a aor.AOR, k ed25519.PublicKey, in string) (when string, err error) {
	if in == "" {
		return "the next call", d.store.DeleteKey(a, k)
	}
	wait, err := days(in)
	if err != nil || wait > tokens.MaxLife {
		return "", hint(fmt.Errorf("a key cannot end in %s", in), "write days as 28d, up to 182d")
	}
	until := time.Now().Add(wait)
	return until.UTC().Format("2006-01-02 15:04 UTC"), d.store.RetireKey(a, k, until)
}

// revoke takes back a token by its salt, and keeps that until the token would
// have expired.
func (d *desk) revoke(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		salt, err := hex.DecodeString(args[1])
		until, err2 := time.Parse(time.RFC3339, args[2])
		if err := errors.Join(err, err2); err != nil || len(salt) != saltSize {
			return nil, errors.Join(errors.New("reading salt"), err)
		}
		return done(d.store.Revoke(a, [saltSize]byte(salt), until), "the token is void from the next call on")
	})
}
