package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"
)

// ng speaks to rtpengine by its ng protocol: a cookie and a dictionary in bencode.
type ng struct {
	conn   net.Conn
	cookie int
	lab    *lab
}

// ngAt is where rtpengine listens for commands.
const ngAt = "127.0.0.1:2223"

func newNG(l *lab) (*ng, error) {
	n := &ng{lab: l}
	err := inside(l.relay, func() (err error) {
		n.conn, err = net.Dial("udp", ngAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	for range 100 { // it takes a while until it listens
		if _, err = n.ask("ping"); err == nil {
			return n, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, fmt.Errorf("rtpengine does not answer: %w", err)
}

// ask sends a command; values are keys and strings in turns.
func (n *ng) ask(command string, values ...string) ([]byte, error) {
	n.cookie++
	head := strconv.Itoa(n.cookie) + " "
	b := []byte(head + "d7:command" + text(command))
	for _, v := range values {
		b = append(b, text(v)...)
	}
	if command == "offer" || command == "answer" {
		b = append(b, "5:flagsl13:trust-addresse3:ICE6:remove7:replacel6:origine"...)
	}
	if _, err := n.conn.Write(append(b, 'e')); err != nil {
		return nil, err
	}
	if err := n.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	in := make([]byte, 16<<10)
	for {
		size, err := n.conn.Read(in)
		if err != nil {
			return nil, err
		}
		if res, ok := bytes.CutPrefix(in[:size], []byte(head)); ok {
			if !bytes.Contains(res, []byte("6:result2:ok")) && !bytes.Contains(res, []byte("6:result4:pong")) {
				return nil, fmt.Errorf("%s: %q", command, res)
			}
			return res, nil
		}
	}
}

func text(s string) string { return strconv.Itoa(len(s)) + ":" + s }

var mediaPort = regexp.MustCompile(`m=audio (\d+) `)

// portIn is the port of a description in an answer.
func portIn(res []byte) (uint16, error) {
	m := mediaPort.FindSubmatch(res)
	if m == nil {
		return 0, fmt.Errorf("no port in %q", res)
	}
	port, err := strconv.ParseUint(string(m[1]), 10, 16)
	return uint16(port), err
}

func (n *ng) setUp(call string, i int) (p pair, err error) {
	offered, err := n.ask("offer", "call-id", call, "from-tag", "a",
		"sdp", string(audio(n.lab.parties[0].addr, callerPort+i)))
	if err != nil {
		return p, err
	}
	answered, err := n.ask("answer", "call-id", call, "from-tag", "a", "to-tag", "b",
		"sdp", string(audio(n.lab.parties[1].addr, calleePort+i)))
	if err != nil {
		return p, err
	}
	toCallee, err1 := portIn(offered) // what the callee is told
	toCaller, err2 := portIn(answered)
	return pair{toCaller, toCallee}, errors.Join(err1, err2)
}

func (n *ng) add(first, count int) ([]pair, error) {
	all := make([]pair, 0, count)
	for i := range count {
		p, err := n.setUp("call"+strconv.Itoa(first+i), first+i)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (n *ng) churn(count int) error {
	for i := range count {
		call := "brief" + strconv.Itoa(i)
		if _, err := n.setUp(call, i); err != nil {
			return err
		}
		if _, err := n.ask("delete", "call-id", call, "from-tag", "a"); err != nil {
			return err
		}
	}
	return nil
}
