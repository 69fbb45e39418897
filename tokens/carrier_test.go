package tokens

import (
	"slices"
	"strings"
	"testing"

	"sotto/internal/aor"
)

// tok stands for a token in tables; want lists what should be found.
const (
	tok1 = "pt1.EAlFAQEBAQEBAQGfv2FP3YZpnTi-YB2dqDjvQ9Uw70sbmzL5eVp-JpBrP77yS4FuAvF-B9h4_1DMdUS99hIZimfKishD6Sg4Sl4D"
	tok2 = "pt1.FAlFAQEBAQEBAQGfv2FP3YZpnTi-YB2dqDjvQ9Uw70sbmzL5eVp-JpBrP77yS4FuAvF-B9h4_1DMdUS99hIZimfKishD6Sg4Sl4D"
)

func TestFromHeader(t *testing.T) {
	for _, c := range []struct {
		value string
		want  []string
	}{
		{tok1, []string{tok1}},
		{" " + tok1 + " ", []string{tok1}},
		{tok1 + "," + tok2, []string{tok1, tok2}},
		{tok1 + ", ,\t" + tok2 + ",", []string{tok1, tok2}},
		{"a,b,c,d", []string{"a", "b", "c"}},
		{"", nil},
		{" , ", nil},
	} {
		if got := FromHeader(c.value); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q", c.value, got)
		}
	}
}

func TestCutUser(t *testing.T) {
	for _, c := range []struct {
		user, clean string
		want        []string
	}{
		{"bob", "bob", nil},
		{"", "", nil},
		{"bob+tag", "bob+tag", nil},
		{"bob+pt", "bob+pt", nil},
		{"bob+pt0.x", "bob+pt0.x", nil},
		{"bob+ptx.x", "bob+ptx.x", nil},
		{"+pt1", "+pt1", nil},
		{"bob?", "bob?", nil},
		{"bob?subject=hello", "bob?subject=hello", nil},
		{"b%6Fb", "b%6Fb", nil},
		{"bob%", "bob%", nil},
		{"bob%zz", "bob%zz", nil},
		// the form that survives in an address book
		{"bob+" + tok1, "bob", []string{tok1}},
		{"bob%2b" + tok1, "bob", []string{tok1}},
		{"bob%2B%70t1%2E" + tok1[4:], "bob", []string{tok1}},
		{"b%6Fb+" + tok1, "b%6Fb", []string{tok1}},
		{"+49301234+" + tok1, "+49301234", []string{tok1}},
		{"bob+tag+" + tok1, "bob+tag", []string{tok1}},
		{"bob+PT1.x", "bob", []string{"PT1.x"}},
		{"bob+pt2.x", "bob", []string{"pt2.x"}},
		{"bob+" + tok1 + ";phone-context=x", "bob", []string{tok1}},
		{"+" + tok1, "", []string{tok1}},
		{"\xff\xff\xffİ+" + tok1, "\xff\xff\xffİ", []string{tok1}},
		// what Linphone makes of a bare dial
		{"bob?Privacy-Token=" + tok1, "bob", []string{tok1}},
		{"bob%3FPrivacy-Token%3D" + tok1, "bob", []string{tok1}},
		{"bob?PRIVACY%2dtoken=" + tok1, "bob", []string{tok1}},
		{"bob?X-Privacy-Token=" + tok1 + "," + tok2, "bob", []string{tok1, tok2}},
		{"bob?subject=hello&Privacy-Token=" + tok1 + ";transport=tls", "bob", []string{tok1}},
		{"bob??Privacy-Token=" + tok1, "bob", []string{tok1}},
		{"bob?Privacy-Token=", "bob", nil},
		{"bob%3FPrivacy-Token=" + tok1 + "?x", "bob", []string{tok1 + "?x"}},
		{"\xff\xff\xff?Privacy-Token=" + tok1, "\xff\xff\xff", []string{tok1}},
		// both
		{"bob+" + tok2 + "?Privacy-Token=" + tok1, "bob", []string{tok1, tok2}},
	} {
		if clean, got := CutUser(c.user); clean != c.clean || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %q; want %q, %q", c.user, clean, got, c.clean, c.want)
		}
	}
}

func TestCutURIHeaders(t *testing.T) {
	for _, c := range []struct {
		headers, rest string
		want          []string
	}{
		{"", "", nil},
		{"subject=x&priority=y", "subject=x&priority=y", nil},
		{"Privacy-Token=" + tok1, "", []string{tok1}},
		{"privacy-token=" + tok1 + "&subject=x", "subject=x", []string{tok1}},
		{"subject=x&x-privacy-TOKEN=" + tok1 + ";transport=tcp", "subject=x", []string{tok1}},
		{"Privacy%2DToken=" + strings.ReplaceAll(tok1, ".", "%2e"), "", []string{tok1}},
		{"Privacy-Token=" + tok1 + "&Privacy-Token=" + tok2, "", []string{tok1, tok2}},
		{"Privacy-Token", "", nil},
		{"Privacy-Tokens=a", "Privacy-Tokens=a", nil},
	} {
		if rest, got := CutURIHeaders(c.headers); rest != c.rest || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %q; want %q, %q", c.headers, rest, got, c.rest, c.want)
		}
	}
}

// FuzzCarrier: what is left after cutting carries nothing that a second
// reading would find, and is the same user to everybody.
func FuzzCarrier(f *testing.F) {
	for _, s := range []string{
		"bob", "bob+" + tok1, "bob%2b" + tok1, "bob?Privacy-Token=" + tok1, "bob%3fx-privacy-token%3d" + tok1,
		"\xff\xff\xff?x", "İİİ+pt1.x", "b?c&Privacy-Token=a,b,c,d;e", "%2%2bpt1.%", "+pt1.", "bob%252Bpt1.x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkUser(t, s)
		rest, found := CutURIHeaders(s)
		if again, more := CutURIHeaders(rest); again != rest || len(more) > 0 {
			t.Errorf("%q: a second reading finds %q", s, more)
		}
		for _, one := range append(found, FromHeader(s)...) {
			if one == "" || one != strings.TrimSpace(one) || strings.Contains(one, ",") {
				t.Errorf("%q: found %q", s, one)
			}
		}
	})
}

// checkUser checks what CutUser leaves of a user part.
func checkUser(t *testing.T, s string) {
	t.Helper()
	clean, _ := CutUser(s)
	if !strings.HasPrefix(s, clean) {
		t.Fatalf("%q is no beginning of %q", clean, s)
	}
	if again, more := CutUser(clean); again != clean || len(more) > 0 {
		t.Errorf("%q: a second reading finds %q", s, more)
	}
	if plain, _ := decode(clean); aor.TokenAt(plain) >= 0 {
		t.Errorf("%q: a token is left in %q", s, clean)
	}
	checkSame(t, clean, s)
}

// checkSame: canon() removes the same suffix as the carrier does, so that a
// user with a token is the user without.
func checkSame(t *testing.T, clean, user string) {
	t.Helper()
	if plain, _ := decode(user); strings.Contains(plain, "?") {
		return // in an address of record '?' is a character like another
	}
	whole, err := aor.New(user, "example.com")
	cut, err2 := aor.New(clean, "example.com")
	if whole != cut && err == nil && err2 == nil {
		t.Errorf("%q is %v with its token, %v without", user, whole, cut)
	}
}
