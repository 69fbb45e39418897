package tokens

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/tyler-smith/go-bip39"
)

// phraseEntropy is the strength of a recovery phrase in bits, and phraseWords
// how many words tell it (BIP-39).
const (
	phraseEntropy = 128
	phraseWords   = 12
)

// ErrPhrase is the error of words that are no recovery phrase.
var ErrPhrase = errors.New("not a recovery phrase: twelve words, of which the last checks the others")

// NewKey makes a random private key.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// NewPhrase makes a recovery phrase, from which every device of a recipient
// derives the same key.
func NewPhrase() (string, error) {
	entropy, err := bip39.NewEntropy(phraseEntropy)
	if err != nil {
		return "", fmt.Errorf("making recovery phrase: %w", err)
	}
	return bip39.NewMnemonic(entropy)
}

// KeyFromPhrase derives the key of a recovery phrase (BIP-39 words, HKDF).
// Case and spaces do not matter. It fails with ErrPhrase.
func KeyFromPhrase(phrase string) (ed25519.PrivateKey, error) {
	words := strings.Fields(strings.ToLower(phrase))
	entropy, err := bip39.EntropyFromMnemonic(strings.Join(words, " "))
	if err != nil || len(words) != phraseWords {
		return nil, ErrPhrase
	}
	seed, err := hkdf.Key(sha256.New, entropy, nil, "SIP-PT1 signing key", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("deriving key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
