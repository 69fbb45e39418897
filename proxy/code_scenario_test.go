package proxy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// dials has a phone dial a feature code, and checks that the answer's phrase
// and the message that follows begin alike.
func dials(s *proxytest.Stage, p *proxytest.Phone, code, begin string) {
	t := s.T()
	t.Helper()
	out := p.Invites(code)
	var refused *phone.StatusError
	out.Does(func(ctx context.Context) error {
		if err := out.Answered(ctx); !errors.As(err, &refused) {
			return err
		}
		return nil
	})
	message := string(p.Gets("MESSAGE").Body())
	if refused.Code != 480 || !strings.HasPrefix(refused.Reason, begin) || message != refused.Reason {
		t.Errorf("dialling %s is answered %v, and the message says %q", code, refused, message)
	}
	s.Wait(time.Second) // for the answer to the message
}

const (
	opened = "Anybody may ring you until 20"
	closed = "Unknown callers are silenced again"
)

func TestWindowIsOpenedAndClosedByCodes(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		dials(s, s.Bob, "*62", opened)
		out, in := connectStranger(s.Mallory, s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory) // she rings, but is a stranger still
		out.HangsUp()
		in.IsHungUp()
		dials(s, s.Bob, "*63", closed)
		silent(t, s, s.Mallory, "bob")
		s.Bob.Gets("MESSAGE") // the notice
		dials(s, s.Bob, "%2A62", opened)
		s.Wait(31 * time.Minute)
		silent(t, s, s.Mallory, "bob")
	})
}

func TestCodesAreConfigured(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "on")
		s.Bob.Registers()
		s.Mallory.Registers()
		dials(s, s.Bob, "%2362%23", opened)
		out, in := connectStranger(s.Mallory, s.Bob)
		out.HangsUp()
		in.IsHungUp()
		s.Bob.Invites("*63").IsRefused(480) // nobody of that name, as for anybody
		out, in = connectStranger(s.Mallory, s.Bob)
		out.HangsUp()
		in.IsHungUp()
	}, func(c *configs.Config) {
		c.FeatureCodes = configs.FeatureCodes{WindowOpen: "#62#", WindowClose: "off", Window: time.Hour}
	})
}

// A code means something only to a user of ours; to anybody else it is
// nobody's number, and looks like one.
func TestCodeOfAStranger(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		for _, number := range []string{"*62", "*64"} {
			from := time.Now()
			out := eve.Invites(number)
			out.HearsProgress(180)
			out.IsRefused(480)
			if d := time.Since(from); d < 26*time.Second || d > 32*time.Second {
				t.Errorf("%s is answered after %v", number, d)
			}
		}
	})
}

// A transfer is dialled by the phone without asking its user.
func TestTransferToACodeIsRefused(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		t.Run(protect, func(t *testing.T) {
			proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) { transferToCodes(s, protect) }, proxytest.Colleagues)
		})
	}
}

// transferToCodes has alice ask bob's phone to dial each form of a code,
// within a call and beside it.
func transferToCodes(s *proxytest.Stage, protect string) {
	for _, p := range []*proxytest.Phone{s.Alice, s.Bob} {
		s.Set(p.User, "protect_ip", protect)
		p.Registers()
	}
	out, in := s.Alice.Connect(s.Bob)
	code := proxytest.URI("*62")
	for _, to := range []string{code, proxytest.URI("%2A63"), "tel:*62", code + "?Subject=x"} {
		refer := phone.Header("Refer-To", "<"+to+">")
		within, beside := out.Asks("REFER", refer), s.Alice.Asks("REFER", "bob", refer)
		if within != 403 || beside != 403 {
			s.T().Errorf("a transfer to %s is answered %d within the call, %d beside it", to, within, beside)
		}
	}
	if s.Bob.Heeds("REFER ") {
		s.T().Error("bob's phone was asked")
	}
	out.HangsUp()
	in.IsHungUp()
}
