// Package ng speaks to rtpengine, the daemon, by its ng protocol: over UDP, a
// cookie and a dictionary in bencode, there and back. It is for what has that
// daemon stand beside our engine: benchmarks and attacks.
package ng

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Times of a command (ours). The daemon answers at once, if it runs and the
// machine lets it.
const (
	answerTime = 10 * time.Second
	pingEvery  = 50 * time.Millisecond
)

// maxAnswer is more than an answer to our commands has: a description, and a word.
const maxAnswer = 16 << 10

// A Client sends commands to one daemon. It is not safe for concurrent use.
type Client struct {
	conn   net.Conn
	cookie int
}

// New makes a client of a connected UDP socket, which stays its caller's.
func New(conn net.Conn) *Client { return &Client{conn: conn} }

// Ready waits for the daemon, which takes a while until it listens.
func (c *Client) Ready(within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(pingEvery) {
		_, err := c.Ask("ping", nil)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("rtpengine does not answer: %w", err)
		}
	}
}

// Ask sends a command, of which each value is a string or strings, and returns
// the values of its answer that are strings. What is not done is an error.
func (c *Client) Ask(command string, values map[string]any) (map[string]string, error) {
	c.cookie++
	head := strconv.Itoa(c.cookie) + " "
	all := map[string]any{"command": command}
	maps.Copy(all, values)
	b, err := encode([]byte(head), all)
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(b); err != nil {
		return nil, err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	in := make([]byte, maxAnswer)
	for {
		n, err := c.conn.Read(in)
		if err != nil {
			return nil, err
		}
		text, ok := bytes.CutPrefix(in[:n], []byte(head))
		if !ok {
			continue // the answer to a command that was given up
		}
		answer, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		if r := answer["result"]; r != "ok" && r != "pong" {
			return nil, fmt.Errorf("%s: %s: %s", command, r, answer["error-reason"])
		}
		return answer, nil
	}
}

var (
	mediaLine = regexp.MustCompile(`(?m)^m=audio (\d+) `)
	connLine  = regexp.MustCompile(`(?m)^c=IN IP[46] (\S+?)\r?$`)
)

// Audio is where a description wants its audio, the only stream that it has.
func Audio(sdp string) (netip.AddrPort, error) {
	port, addr := mediaLine.FindStringSubmatch(sdp), connLine.FindStringSubmatch(sdp)
	if port == nil || addr == nil {
		return netip.AddrPort{}, fmt.Errorf("no audio in %q", sdp)
	}
	n, err1 := strconv.ParseUint(port[1], 10, 16)
	a, err2 := netip.ParseAddr(addr[1])
	return netip.AddrPortFrom(a, uint16(n)), errors.Join(err1, err2)
}

// encode appends a dictionary in bencode: its keys are sorted.
func encode(b []byte, values map[string]any) ([]byte, error) {
	b = append(b, 'd')
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b = appendText(b, key)
		switch v := values[key].(type) {
		case string:
			b = appendText(b, v)
		case []string:
			b = append(b, 'l')
			for _, s := range v {
				b = appendText(b, s)
			}
			b = append(b, 'e')
		default:
			return nil, fmt.Errorf("ng: %s is a %T", key, v)
		}
	}
	return append(b, 'e'), nil
}

func appendText(b []byte, s string) []byte {
	return append(append(strconv.AppendInt(b, int64(len(s)), 10), ':'), s...)
}
