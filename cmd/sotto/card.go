package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-vcard"

	"sotto/internal/aor"
	"sotto/tokens"
)

// issueAll makes a token for each contact of a vCard file (RFC 6350) and
// writes it into a card of the recipient's own, which the contact imports.
// There is a file for each: one file of all would tell each contact of the others.
func (c *tokenIssueCmd) issueAll(t *tell, key ed25519.PrivateKey, now time.Time) error {
	g, err := c.grant(now)
	if err != nil {
		return err
	}
	contacts, without, err := readContacts(c.ForAll)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Cards, 0o700); err != nil {
		return hint(err, "name another directory with --cards")
	}
	var until time.Time
	for _, contact := range contacts {
		g.Caller = contact
		tok, err := tokens.Issue(key, g, now)
		if err != nil {
			return hint(err, "write days as 28d, up to 182d")
		}
		path := filepath.Join(c.Cards, url.PathEscape(contact.String())+".vcf")
		if err := writeCard(path, ownCard(g.Recipient, c.Name, tok)); err != nil {
			return err
		}
		t.say("%s  %s", contact, path)
		until = tok.Expires()
	}
	t.say("until: %s", until.Format(time.DateOnly))
	if len(without) > 0 {
		t.say("left out, without a SIP address: %s", strings.Join(without, ", "))
	}
	t.say("give each contact the card of that name; nobody else can use it")
	return nil
}

// readContacts reads whom a vCard file names: each address once, and the
// names of those who have none.
func readContacts(path string) (contacts []aor.AOR, without []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, hint(err, "name a file of vCards, as address books export them")
	}
	defer f.Close()
	for d := vcard.NewDecoder(f); ; {
		card, err := d.Decode()
		switch {
		case errors.Is(err, io.EOF) && len(contacts) == 0:
			return nil, nil, hint(fmt.Errorf("nobody in %s has a SIP address", path),
				"write one into a contact's card, as IMPP:sip:carol@example.org")
		case errors.Is(err, io.EOF):
			return contacts, without, nil
		case err != nil:
			return nil, nil, hint(fmt.Errorf("reading %s: %w", path, err),
				"name a file of vCards, as address books export them")
		}
		found := addressesOf(card)
		if len(found) == 0 {
			without = append(without, nameOf(card))
		}
		for _, a := range found {
			if !slices.Contains(contacts, a) {
				contacts = append(contacts, a)
			}
		}
	}
}

// sipFields are where address books write SIP addresses: RFC 6350 §6.4.3 and
// §6.4.1 (as a URI), and what was in use before them.
var sipFields = []string{vcard.FieldIMPP, vcard.FieldTelephone, "X-SIP", "X-EVOLUTION-SIP"}

// addressesOf are the SIP addresses of a card. The fields that are for SIP
// alone may lack the scheme.
func addressesOf(card vcard.Card) []aor.AOR {
	var all []aor.AOR
	for _, name := range sipFields {
		for _, v := range card.Values(name) {
			scheme, _, _ := strings.Cut(strings.ToLower(v), ":")
			if scheme != "sip" && scheme != "sips" && !strings.HasPrefix(name, "X-") {
				continue
			}
			if a, err := aor.Parse(v); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

// nameOf is how a card calls its owner.
func nameOf(card vcard.Card) string {
	if name := card.PreferredValue(vcard.FieldFormattedName); name != "" {
		return fmt.Sprintf("%q", name) // somebody else may have written it
	}
	return "a card without a name"
}

// ownCard is the recipient's card for one contact. Its UID is the same on
// every card, so that a new one takes the place of one that has expired.
func ownCard(me aor.AOR, name string, tok tokens.Token) vcard.Card {
	if name == "" {
		name = me.User()
	}
	card := vcard.Card{}
	card.SetValue(vcard.FieldVersion, "4.0")
	card.SetValue(vcard.FieldUID, "sip:"+me.String())
	card.SetValue(vcard.FieldFormattedName, name)
	card.SetValue(vcard.FieldIMPP, dialable(me, tok))
	return card
}

// writeCard writes a card. It replaces no file: that may be a contact's own card.
func writeCard(path string, card vcard.Card) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hint(err, "name another directory with --cards")
	}
	return errors.Join(vcard.NewEncoder(f).Encode(card), f.Close())
}
