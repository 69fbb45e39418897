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
	"sotto/proxy"
	"sotto/store"
	"sotto/tokens"
)

// A desk carries out the verbs of operators and users: in the running server,
// or on the store alone while no server runs.
type desk struct {
	store *store.Store
	proxy *proxy.Proxy // nil: no server runs
}

// verbs are what a desk can do, by name.
func (d *desk) verbs() map[string]func([]string) ([]string, error) {
	return map[string]func([]string) ([]string, error){
		"user add": d.userAdd, "user list": d.userList, "user passwd": d.userPasswd, "user delete": d.userDelete,
		"setting show": d.settingShow, "setting set": d.settingSet,
		"block add": d.blockAdd, "block list": d.blockList, "block delete": d.blockDelete,
		"key add": d.keyAdd, "key list": d.keyList, "key delete": d.keyDelete,
		"revoke": d.revoke, "silenced list": d.silencedList, "calls": d.calls,
		"status": d.status, "explain": d.explain,
	}
}

// do carries out one verb.
func (d *desk) do(verb string, args []string) ([]string, error) {
	f := d.verbs()[verb]
	if f == nil {
		return nil, fmt.Errorf("the running server does not know %q", verb)
	}
	lines, err := f(args)
	return lines, d.explained(err, args)
}

// explained adds what to do to errors of the store.
func (d *desk) explained(err error, args []string) error {
	var h *hinted
	switch {
	case err == nil, errors.As(err, &h):
		return err
	case errors.Is(err, store.ErrNotFound) && len(args) > 0:
		return hint(err, "sotto user list shows all users")
	case errors.Is(err, store.ErrExists):
		return hint(err, "nothing was changed")
	case errors.Is(err, store.ErrUnavailable):
		return hint(err, "free some space or end the other program, and try again; nothing was lost")
	}
	return err
}

// user reads an address of record.
func user(text string) (aor.AOR, error) {
	a, err := aor.Parse(text)
	if err != nil {
		return aor.AOR{}, hint(fmt.Errorf("%q is no user", text), "write one as bob@example.com")
	}
	return a, nil
}

// each reads the user in the first argument and goes on.
func each(args []string, do func(aor.AOR) ([]string, error)) ([]string, error) {
	a, err := user(args[0])
	if err != nil {
		return nil, err
	}
	return do(a)
}

// done is what a verb that changes something says.
func done(err error, format string, args ...any) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf(format, args...)}, nil
}

func (d *desk) userAdd(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.AddUser(a, args[1]), "added %s", a)
	})
}

func (d *desk) userList([]string) ([]string, error) {
	var lines []string
	for _, u := range d.store.Users() {
		lines = append(lines, u.AOR.String())
	}
	if len(lines) == 0 {
		lines = []string{"no users; sotto user add bob@example.com adds one"}
	}
	return lines, nil
}

func (d *desk) userPasswd(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.SetPassword(a, args[1]), "changed the password of %s", a)
	})
}

func (d *desk) userDelete(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.DeleteUser(a), "deleted %s and everything that belonged to it", a)
	})
}

func (d *desk) settingShow(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		all, err := d.store.ShowSettings(a)
		lines := make([]string, 0, len(all))
		for _, s := range all {
			lines = append(lines, fmt.Sprintf("%-18s %s", s[0], s[1]))
		}
		return lines, err
	})
}

func (d *desk) settingSet(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.SetSetting(a, args[1], args[2]),
			"%s is %s for %s from the next call on; calls under way keep what they began with", args[1], args[2], a)
	})
}

func (d *desk) blockAdd(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.Block(a, args[1]), "%s is silenced for %s from the next call on, without notice", args[1], a)
	})
}

func (d *desk) blockList(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		all, err := d.store.Blocks(a)
		if err == nil && len(all) == 0 {
			all = []string{a.String() + " blocks nobody"}
		}
		return all, err
	})
}

func (d *desk) blockDelete(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.Unblock(a, args[1]), "%s is no longer blocked for %s", args[1], a)
	})
}

// publicKey reads a public key as `sotto token keygen` prints it.
func publicKey(text string) (ed25519.PublicKey, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(text, keyPrefix))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, hint(errors.New("that is no public key"), "sotto token keygen prints one, beginning with %s", keyPrefix)
	}
	return raw, nil
}

func (d *desk) keyAdd(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		k, err := publicKey(args[1])
		if err != nil {
			return nil, err
		}
		return done(d.store.AddKey(a, k, args[2]), "tokens of this key let callers ring %s from the next call on", a)
	})
}

func (d *desk) keyList(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		keys, err := d.store.ListKeys(a)
		if err == nil && len(keys) == 0 {
			return []string{a.String() + " has no keys; sotto token keygen makes one"}, nil
		}
		lines := make([]string, 0, len(keys))
		for _, k := range keys {
			lines = append(lines, fmt.Sprintf("%s%s  %s  %s", keyPrefix, base64.RawURLEncoding.EncodeToString(k.Public),
				k.Created.UTC().Format(time.DateOnly), cmp.Or(k.Label, "-")))
		}
		return lines, err
	})
}

func (d *desk) keyDelete(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		k, err := publicKey(args[1])
		if err != nil {
			return nil, err
		}
		return done(d.store.DeleteKey(a, k), "every token of this key is void from the next call on")
	})
}

// revoke takes back a token by its salt, or by the token itself.
func (d *desk) revoke(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		salt, until, err := saltOf(args[1])
		if err != nil {
			return nil, err
		}
		return done(d.store.Revoke(a, salt, until), "the token is void from the next call on")
	})
}

// saltOf reads the salt of a token, or of its text.
func saltOf(text string) (salt [8]byte, until time.Time, err error) {
	if t, err := tokens.Parse(text); err == nil {
		return t.Salt(), t.Expires(), nil
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(salt) {
		return salt, until, hint(errors.New("that is neither a token nor a salt"),
			"sotto token show TOKEN prints the salt, 16 hexadecimal digits")
	}
	return [8]byte(raw), time.Now().Add(tokens.MaxLife + 8*24*time.Hour), nil
}

func (d *desk) silencedList(args []string) ([]string, error) {
	return each(args, func(a aor.AOR) ([]string, error) {
		if _, ok := d.store.User(a); !ok {
			return nil, fmt.Errorf("user %s: %w", a, store.ErrNotFound)
		}
		all, err := d.store.ListSilenced(a, 100)
		if err == nil && len(all) == 0 {
			return []string{"no silenced calls"}, nil
		}
		lines := make([]string, 0, len(all))
		for _, c := range all {
			lines = append(lines, fmt.Sprintf("%s  %-5s  %s  (%s)",
				c.At.UTC().Format("2006-01-02 15:04 UTC"), c.Media, c.Caller, c.Reason))
		}
		return lines, err
	})
}

// errNotRunning is the error of a verb that needs the server.
var errNotRunning = errors.New("no server is running here")

func (d *desk) calls([]string) ([]string, error) {
	if d.proxy == nil {
		return nil, hint(errNotRunning, "start one with sotto serve, or name its data directory with --data")
	}
	var lines []string
	for _, c := range d.proxy.Calls() {
		kind := "plain"
		if c.Protected {
			kind = "protected"
		}
		lines = append(lines, fmt.Sprintf("%-8s  %-9s  %-9s  %s  %s -> %s", c.Ref, c.State, kind,
			c.Started.UTC().Format("15:04:05"), c.Caller, c.Callee))
	}
	if len(lines) == 0 {
		lines = []string{"no calls"}
	}
	return lines, nil
}

func (d *desk) explain(args []string) ([]string, error) {
	if d.proxy == nil {
		return nil, hint(errNotRunning, "start one with sotto serve, or name its data directory with --data")
	}
	lines, ok := d.proxy.Explain(args[0])
	if !ok {
		return nil, hint(fmt.Errorf("no call is named %q", args[0]), "sotto calls lists the calls of the last day")
	}
	return lines, nil
}
