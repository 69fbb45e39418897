package tokens

import (
	"errors"
	"strings"
	"testing"
)

// TestPhrase: a recovery phrase is one key on every device.
func TestPhrase(t *testing.T) {
	phrase, err := NewPhrase()
	if err != nil || len(strings.Fields(phrase)) != phraseWords {
		t.Fatalf("%q, %v", phrase, err)
	}
	key, err := KeyFromPhrase(phrase)
	if err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{strings.ToUpper(phrase), "  " + strings.ReplaceAll(phrase, " ", "\n\t ")} {
		if again, err := KeyFromPhrase(typed); err != nil || !again.Equal(key) {
			t.Errorf("typed another way it is another key (%v)", err)
		}
	}
	other, err := NewPhrase()
	if err != nil || other == phrase {
		t.Errorf("two phrases are one (%v)", err)
	}
}

func TestBadPhrase(t *testing.T) {
	const good = "legal winner thank year wave sausage worth useful legal winner thank yellow"
	for name, words := range map[string]string{
		"empty":          "",
		"eleven words":   strings.TrimSuffix(good, " yellow"),
		"wrong word":     strings.Replace(good, "wave", "wafe", 1),
		"wrong checksum": strings.Replace(good, "yellow", "year", 1),
		"words swapped":  strings.Replace(good, "legal winner", "winner legal", 1),
		"twenty-four":    strings.Repeat("abandon ", 23) + "art", // good words, but of another kind of phrase
	} {
		if key, err := KeyFromPhrase(words); !errors.Is(err, ErrPhrase) || key != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewKey(t *testing.T) {
	a, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewKey()
	if err != nil || a.Equal(b) {
		t.Errorf("two keys are one (%v)", err)
	}
}
