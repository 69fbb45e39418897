package proxy_test

import (
	"context"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// claims has a phone that says to be somebody, with a wrong password or none,
// try every method, on somebody and in somebody's name.
func claims(t *testing.T, name, password string) (heard []hearing) {
	t.Helper()
	proxytest.RunAgain(t, "accounts", func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		p := s.Phone(name, func(c *phone.Config) { c.Password = password })
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		began := time.Now()
		enrols(p)
		for _, to := range []string{name, "carol"} {
			for _, method := range []string{"OPTIONS", "MESSAGE", "SUBSCRIBE", "INFO", "REFER", "PUBLISH", "NOTIFY"} {
				p.Asks(method, to, phone.Header("Event", "presence"))
				s.Wait(time.Second)
			}
			p.Does(func(ctx context.Context) error {
				if _, err := p.Contacts(ctx); phone.Status(err) != 401 {
					return err
				}
				return nil
			})
			p.Invites(to).IsRefused(407)
		}
		heard = hearings(p.Received(phone.SIP), began)
	})
	return heard
}

// Who knows no password cannot tell an account from one that is not there, by
// any method: challenges are the same, and come at the same times.
func TestChallengesTellNoAccount(t *testing.T) {
	for password, how := range map[string]string{"": "without a password", "guess": "with a wrong password"} {
		t.Run(how, func(t *testing.T) {
			there, not := claims(t, "bob", password), claims(t, "bub", password) // as long, as small requests buy small answers
			if len(there) < 17 {
				t.Fatalf("only %d answers", len(there))
			}
			if d := tellsApart(there, not); d != "" {
				t.Errorf("bob is there and bub is not: %s", d)
			}
			t.Logf("%d answers, equal, and at the same times", len(there))
		})
	}
}
