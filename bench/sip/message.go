package main

import (
	"bytes"
	"strconv"
)

// message is what the generator reads of a SIP message: slices of the datagram.
type message struct {
	code    int // 0: a request
	method  []byte
	lines   [][]byte // header lines that a response copies: Via, Record-Route, From, To, Call-ID, CSeq
	routes  [][]byte // values of Record-Route
	to      []byte
	callID  []byte
	cseq    []byte
	contact []byte // URI
	auth    []byte // first challenge
}

// parse reads a message as servers write it: full names, one value a line.
func parse(b []byte) message {
	var m message
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	start, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if after, ok := bytes.CutPrefix(start, []byte("SIP/2.0 ")); ok && len(after) >= 3 {
		m.code, _ = strconv.Atoi(string(after[:3])) // 0 is no response that anybody waits for
	} else {
		m.method, _, _ = bytes.Cut(start, []byte(" "))
	}
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		m.header(line, name, bytes.TrimSpace(value))
	}
	return m
}

func (m *message) header(line, name, value []byte) {
	switch string(name) { // does not allocate
	case "Via", "From":
		m.lines = append(m.lines, line)
	case "Record-Route":
		m.lines = append(m.lines, line)
		m.routes = append(m.routes, value)
	case "To":
		m.lines, m.to = append(m.lines, line), value
	case "Call-ID":
		m.lines, m.callID = append(m.lines, line), value
	case "CSeq":
		m.lines, m.cseq = append(m.lines, line), value
	case "Contact":
		m.contact = value
		if _, after, ok := bytes.Cut(value, []byte("<")); ok {
			m.contact, _, _ = bytes.Cut(after, []byte(">"))
		}
	case "WWW-Authenticate":
		if m.auth == nil {
			m.auth = value
		}
	}
}

// of says that the message is about a request of that method.
func (m *message) of(method string) bool { return bytes.HasSuffix(m.cseq, []byte(" "+method)) }

// respond writes a response to a request; tag goes to a To that has none.
func (m *message) respond(b []byte, status, tag, more string, body string) []byte {
	b = append(b, "SIP/2.0 "...)
	b = append(b, status...)
	for _, l := range m.lines {
		b = append(append(b, "\r\n"...), l...)
		if bytes.HasPrefix(l, []byte("To:")) && !bytes.Contains(l, []byte(";tag=")) {
			b = append(append(b, ";tag="...), tag...)
		}
	}
	b = append(append(b, "\r\n"...), more...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}
