package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// The file of a recipient's private key: a line that says what it is, and the
// seed of the key.
const keyFileHead = "# sotto token key: whoever has this file can let callers ring you"

// secretPrefix begins a private key in text.
const secretPrefix = "sk1."

// keyFile is where the private key is unless its owner says otherwise.
func keyFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "." // without a home
	}
	return filepath.Join(dir, "sotto", "token.key")
}

// writeKey writes a key file for its owner only. It never replaces one: the
// old key's tokens would be lost.
func writeKey(path string, key ed25519.PrivateKey) error {
	if _, err := os.Lstat(path); err == nil {
		use := "use it"
		if old, err := readKey(path); err == nil {
			use += " (its public key is " + publicText(old) + ")"
		}
		return hint(fmt.Errorf("%s is there already", path),
			"%s, or name another file with --file; every token of the old key needs it", use)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return hint(fmt.Errorf("writing key: %w", err), "name another file with --file")
	}
	text := keyFileHead + "\n" + secretPrefix + base64.RawURLEncoding.EncodeToString(key.Seed()) + "\n"
	if err := renameio.WriteFile(path, []byte(text), 0o600); err != nil {
		return hint(fmt.Errorf("writing key: %w", err), "name another file with --file")
	}
	return nil
}

// readKey reads a key file, which nobody else may be able to read.
func readKey(path string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hint(fmt.Errorf("there is no key %s", path), "sotto token keygen makes one")
	case err != nil:
		return nil, fmt.Errorf("reading key: %w", err)
	case !st.Mode().IsRegular():
		return nil, notKey(path)
	case st.Mode().Perm()&0o077 != 0:
		return nil, hint(fmt.Errorf("%s can be read by others", path), "chmod 600 %s", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), secretPrefix)
		if !ok {
			continue
		}
		seed, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err == nil && len(seed) == ed25519.SeedSize {
			return ed25519.NewKeyFromSeed(seed), nil
		}
	}
	return nil, notKey(path)
}

// publicText is the public half of a key, as sotto key add takes it.
func publicText(key ed25519.PrivateKey) string {
	public := key[ed25519.SeedSize:] // behind the seed (RFC 8032 §5.1.5)
	return keyPrefix + base64.RawURLEncoding.EncodeToString(public)
}

// notKey is the error of a file that holds something else.
func notKey(path string) error {
	return hint(fmt.Errorf("%s is no token key", path), "sotto token keygen makes one; --file names it")
}
