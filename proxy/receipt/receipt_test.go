package receipt

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// desk is a book whose server is 192.0.2.1, and its log.
func desk(t *testing.T) (*Book, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	b := NewBook(Config{
		Public: func(text string) bool { return text == "192.0.2.1" || text == "example.com" },
		Log:    slog.New(slog.NewTextHandler(log, nil)),
	})
	t.Cleanup(b.Close)
	return b, log
}

// of are facts as a message tells them.
func of(facts ...Fact) Told { return Told{Facts: facts} }

func text(r *Receipt) string {
	r.book.Settle(time.Minute)
	return strings.Join(r.Lines(), "\n")
}

const invite = "INVITE sip:bob@203.0.113.9:5062 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n" +
	"From: \"A\" <sip:alice@example.com>;tag=s1-x\r\nContact: <sip:s1-y@192.0.2.1:5060>\r\n" +
	"Content-Type: application/sdp\r\n\r\n" +
	"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 30000 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\n"

func TestReceiptSaysWhatWasSeenAndWhatNot(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x", "alice@example.com", "bob@example.com")
	r.Learn(Caller, Told{
		Facts: []Fact{{Address, "198.51.100.7"}, {Port, "40000"}, {Device, "Phone/1.0"}, {CallID, "abcdef123"}, {Tag, "1"}},
		Head:  "SIP/2.0/UDP 10.9.8.7:5060\nsip:bob@192.0.2.1\nalice@example.com",
		SDP:   "o=alices-laptop 1 1 IN IP4 10.9.8.7\r\nm=audio 40002 RTP/AVP 0\r\na=ssrc:1 cname:alice@10.9.8.7\r\n",
	})
	r.Learn(Callee, of(Fact{Address, "203.0.113.9"}))
	r.Sent(Callee, []byte(invite))
	r.Sent(Caller, []byte("SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 198.51.100.7\r\n\r\n"))
	r.Reported(Callee, []byte{0x80, 200, 0, 1, 0, 0, 0, 1}, false)
	r.Reported(Callee, []byte{0x80, 200, 0, 1, 9, 9, 9, 9}, true)
	want := `the callee saw of the caller, in 1 message and 2 RTCP reports sent to it:
  address: 192.0.2.1; codecs: PCMU, opus; name: "A" sip:alice@example.com
  not: 2 addresses, 2 ports, 1 device text, 1 Call-ID, 2 names in SDP
  not searched, as they are encrypted end to end: 1 report
the caller saw of the callee, in 1 message sent to it:
  address: none; codecs: none; name: none
  not: 1 address`
	if got := text(r); got != want {
		t.Errorf("\n%s\nnot\n%s", got, want)
	}
}

func TestEveryFindingIsToldCountedAndLoggedOnce(t *testing.T) {
	b, log := desk(t)
	r := b.Open("xyz")
	r.Learn(Caller, of(Fact{Address, "198.51.100.7"}, Fact{Device, "Phone/1.0"}))
	for range 3 {
		r.Sent(Callee, []byte("BYE sip:b@h SIP/2.0\r\nX-Where: 198-51-100-7\r\n\r\n"))
	}
	r.Reported(Callee, append([]byte{0x81, 202, 0, 4, 0, 0, 0, 1, 6, 9}, "Phone/1.0\x00"...), false)
	got := text(r)
	for _, want := range []string{
		"LEAKED: the caller's address, in BYE, X-Where: 3 times",
		"LEAKED: the caller's device text, in RTCP, SDES TOOL: 1 time",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the receipt lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "not: ") {
		t.Errorf("what leaked did not:\n%s", got)
	}
	if r.Found() != 4 || b.Leaks() != 4 {
		t.Errorf("%d and %d findings are counted, not 4", r.Found(), b.Leaks())
	}
	if n := strings.Count(log.String(), "LEAK"); n != 1 || strings.Contains(log.String(), "198") {
		t.Errorf("the log has %d lines:\n%s", n, log)
	}
}

// Who calls whom is open between the parties, however a phone writes it.
func TestOwnAddressInRTCPIsNoLeak(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x", "alice@example.com", "bob@example.com")
	for _, own := range []string{
		"sip:bob@example.com", "sips:bob@example.com", "bob@example.com", "sip:bob@example.com:5060",
	} {
		r.Learn(Callee, Told{SDP: "a=ssrc:1 cname:" + own + "\r\n"})
	}
	r.Learn(Callee, Told{SDP: "a=ssrc:1 cname:bob@laptop.example.com\r\n"})
	r.Sent(Caller, []byte("SIP/2.0 200 OK\r\nTo: <sip:bob@example.com:5060>\r\nX-Line: <sips:bob@example.com>\r\n\r\n"))
	if got := text(r); r.Found() != 0 {
		t.Errorf("\n%s", got)
	}
	r.Sent(Caller, []byte("SIP/2.0 200 OK\r\nX-Line: bob@laptop.example.com\r\n\r\n"))
	if got := text(r); r.Found() != 1 {
		t.Errorf("%d findings, not 1:\n%s", r.Found(), got)
	}
}

// What both have, as behind one NAT, or what the server has, cannot be told
// apart: it is said, and raises no alarm.
func TestWhatIsSharedIsNoLeak(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x", "alicealice@example.com")
	nat := Fact{Address, "198.51.100.7"}
	r.Learn(Caller, of(nat, Fact{Address, "192.0.2.1"}, Fact{Name, "alicealice"}))
	r.Learn(Callee, of(nat))
	r.Sent(Callee, []byte("INVITE sip:b@198.51.100.7 SIP/2.0\r\nFrom: <sip:alicealice@x>\r\nVia: x 192.0.2.1\r\n\r\n"))
	got := text(r)
	if want := "the same: 2 addresses, 1 name in SDP"; r.Found() != 0 || !strings.Contains(got, want) {
		t.Errorf("the receipt lacks %q:\n%s", want, got)
	}
}

func TestTextThatAPersonWroteIsNotSearched(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x")
	r.Learn(Caller, of(Fact{Address, "198.51.100.7"}))
	for want, kind := range []string{"text/plain", "application/x"} { // so many findings, after each
		r.Sent(Callee, []byte("MESSAGE sip:b@h SIP/2.0\r\nContent-Type: "+kind+"\r\n\r\nI am at 198.51.100.7"))
		if text(r); r.Found() != want {
			t.Errorf("%s: %d findings, not %d", kind, r.Found(), want)
		}
	}
}

// A port of the same number as one of the server's is told, and no alarm.
func TestPortOfTheSameNumber(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x")
	r.Learn(Caller, of(Fact{Port, "30000"}, Fact{Port, "3000"}, Fact{Port, "5062"}))
	r.Learn(Callee, of(Fact{Port, "5062"}))
	r.Sent(Callee, []byte(invite))
	got := text(r)
	if want := "of the ports 1 had a number that"; r.Found() != 0 || !strings.Contains(got, want) {
		t.Errorf("the receipt lacks %q:\n%s", want, got)
	}
}

// What there is no time or room for is said to be not searched: the receipt
// never claims more than was done, and nobody waits for it.
func TestBusyBookSaysWhatItLeftOut(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x")
	hold, held := make(chan struct{}), make(chan struct{})
	b.queue(job{fn: func() { close(held); <-hold }})
	<-held
	for range maxJobs + 10 {
		r.Sent(Callee, []byte("BYE sip:b@h SIP/2.0\r\n\r\n"))
	}
	close(hold)
	if got, want := text(r), "not searched, as the server was busy: 10 of these"; !strings.Contains(got, want) {
		t.Errorf("the receipt lacks %q:\n%s", want, got)
	}
	b.Close()
	r.Sent(Callee, nil)
	r.Learn(Caller, Told{})
	b.Settle(time.Hour) // returns, since the book is closed
}

// Searching takes a tenth of the time, however much there is to search.
func TestBookRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := desk(t)
		began := time.Now()
		b.queue(job{fn: func() { time.Sleep(10 * time.Millisecond) }})
		b.Settle(time.Minute)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("10 ms of work took %v, not 100 ms", took)
		}
	})
}

// A receipt keeps no fact once it is finished, and a book no search for long.
func TestFactsAreForgotten(t *testing.T) {
	b, _ := desk(t)
	var all []*Receipt
	for i := range maxRecent + 20 {
		r := b.Open("x")
		r.Learn(Caller, of(Fact{Address, fmt.Sprintf("198.51.100.%d", i%200)}))
		r.Sent(Callee, []byte(invite))
		all = append(all, r)
		if i%100 == 0 {
			b.Settle(time.Minute)
		}
	}
	b.Settle(time.Minute)
	ready := 0
	for _, r := range all {
		if r.known[Caller].search != nil {
			ready++
		}
		if !r.Finish() {
			t.Fatal("no room to finish a receipt")
		}
	}
	if ready != maxRecent || len(b.recent) != maxRecent {
		t.Errorf("%d searches and %d receipts are ready, not %d", ready, len(b.recent), maxRecent)
	}
	b.Settle(time.Minute)
	if d := all[0].known[Caller]; d.facts != nil || d.kinds != nil {
		t.Errorf("a finished receipt knows %v", d.facts)
	}
	if !strings.Contains(text(all[0]), "not: 1 address") {
		t.Errorf("a finished receipt says no more than\n%s", text(all[0]))
	}
	runtime.KeepAlive(all)
}

func TestListsAreBounded(t *testing.T) {
	b, _ := desk(t)
	r := b.Open("x")
	var d Told
	for i := range 1000 {
		d.Facts = append(d.Facts, Fact{Device, fmt.Sprintf("device-%04d", i)})
		r.Sent(Caller, []byte(fmt.Sprintf("INVITE x SIP/2.0\r\nFrom: <sip:%d@h>\r\n"+
			"Contact: <sip:10.0.%d.%d>\r\n\r\na=rtpmap:1 c%d/1\r\n", i, i/250, i%250, i)))
	}
	r.Learn(Callee, d)
	b.Settle(time.Minute)
	n, facts := &r.legs[Caller], len(r.known[Callee].facts)
	if len(n.names) != most || len(n.codecs) != most || len(n.addresses) != most || facts != maxFacts {
		t.Errorf("%d names, %d codecs, %d addresses, %d facts",
			len(n.names), len(n.codecs), len(n.addresses), facts)
	}
}
