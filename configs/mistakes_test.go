package configs

import "slices"

// A mistake replaces old in a good file, or stands behind it, and wants an
// error that begins so.
type mistake struct{ old, add, want string }

// Lines of good that a mistake replaces.
const (
	domains, ports, rest, reg = "domains: [example.com]", "  ports: 20000-29999", "  rest: 10s", "  min: 60s"
	pbx, peer, target         = "    addresses: [192.0.2.9]", "  - name: trunk", "    target: sip:192.0.2.10"
)

// mistakes has every kind of mistake that is found.
func mistakes() []mistake {
	return slices.Concat(
		textMistakes(), kindMistakes(), formMistakes(), nameMistakes(), valueMistakes(), peerMistakes(),
	)
}

// textMistakes are those of the text and its keys.
func textMistakes() []mistake {
	return []mistake{
		{domains, "domains: [example.com", "x.yaml:2: this is not YAML: "},
		{"", "\tx: y\n", "x.yaml:13: "},
		{"", "---\nforeign: off\n", "x.yaml:14: a second document begins here; write all"},
		{good, "- domains", "x.yaml:1: write keys and values here, as domains: …"},
		{good, "words", "x.yaml:1: write keys and values here"},
		{"", "domain: x\n", "x.yaml:13: domain: no such key; there are domains, listen, "},
		{"", "foreign: off\nforeign: allow\n", "x.yaml:14: foreign: is in line 13 already"},
		{rest, "  rset: 10s", "x.yaml:4: media.rset: no such key; there are addresses, ports, max_sessions, rest"},
		{pbx, "    addr: x", "x.yaml:10: peers[0].addr: no such key; there are name, addresses, "},
		{"", "<<: {foreign: off}\n", "x.yaml:13: <<: no such key"},
	}
}

// kindMistakes are values of another kind than the key takes.
func kindMistakes() []mistake {
	return []mistake{
		{domains, "domains: example.com", "x.yaml:1: domains: takes a list; write it as [one, another]"},
		{domains, "domains: {a: b}", "x.yaml:1: domains: takes a list"},
		{domains, "domains: [[a]]", "x.yaml:1: domains[0]: takes one value, in the same line"},
		{domains, "domains: [~]", "x.yaml:1: domains[0]: has no value; without the line, the default holds"},
		{domains, "domains:", "x.yaml:1: domains: has no value"},
		{domains, "domains: &a [b]", "x.yaml:1: domains: takes a list"},
		{rest, "  rest: {a: b}", "x.yaml:4: media.rest: takes one value"},
		{rest, "  rest: 10", `x.yaml:4: media.rest: "10" is no time; write one as 30s, 5m or 2h`},
		{rest, "  rest: -1s", `x.yaml:4: media.rest: "-1s" is no time`},
		{rest, "  rest: soon", `x.yaml:4: media.rest: "soon" is no time`},
		{rest, "  max_sessions: many", `x.yaml:4: media.max_sessions: "many" is no number; write a whole one`},
		{rest, "  max_sessions: 1.5", `x.yaml:4: media.max_sessions: "1.5" is no number`},
		{rest, "  max_sessions: -1", `x.yaml:4: media.max_sessions: "-1" is no number`},
		{rest, "  max_sessions: 99999999999", `x.yaml:4: media.max_sessions: "99999999999" is no number`},
		{target, target + "\n    trusted: yes", `x.yaml:13: peers[1].trusted: "yes" is neither; write true or false`},
		{"", "log: text\n", "x.yaml:13: log: write keys and values here, as level: …"},
		{"", "shutdown:\n", "x.yaml:13: shutdown: has no value"},
		{
			"", "feature_codes:\n  window_open: *62\n",
			`x.yaml:14: feature_codes.window_open: is an alias in YAML; write it in quotes, as "*62"`,
		},
	}
}

// formMistakes are texts that do not have the form that they should.
func formMistakes() []mistake {
	return []mistake{
		{"", "listen:\n  - udp:0.0.0.0:5060\n  - here\n", `x.yaml:15: listen[1]: "here" is no listener; write transport:`},
		{"", "listen: [ws:0.0.0.0:80]\n", `x.yaml:13: listen[0]: "ws:0.0.0.0:80" is no listener`},
		{"", "listen: [udp:localhost:5060]\n", `x.yaml:13: listen[0]: "localhost:5060" is no address and port; write`},
		{ports, "  ports: 20000", `x.yaml:3: media.ports: "20000" is no range of ports; write one as 20000-29999`},
		{ports, "  ports: 80-9000", `x.yaml:3: media.ports: "80-9000" is no range of ports`},
		{ports, "  ports: 2000-1900", `x.yaml:3: media.ports: "2000-1900" is no range`},
		{ports, "  ports: 2000-70000", `x.yaml:3: media.ports: "2000-70000" is no range`},
		{rest, "  addresses: [example.com]", `x.yaml:4: media.addresses[0]: "example.com" is no media address; write`},
		{rest, "  addresses: [0.0.0.0]", `x.yaml:4: media.addresses[0]: "0.0.0.0" is no media address`},
		{rest, "  addresses: [10.0.0.1=0.0.0.0]", `x.yaml:4: media.addresses[0]: "10.0.0.1=0.0.0.0" is no media`},
		{rest, "  addresses: ['10.0.0.1=::1']", `x.yaml:4: media.addresses[0]: "10.0.0.1=::1" is no media address`},
		{rest, "  addresses: [10.0.0.1 for all]", `x.yaml:4: media.addresses[0]: "10.0.0.1 for all" is for no network`},
		{rest, "  addresses: [192.0.2.1, '10.0.0.1 for fd00::/8']", `x.yaml:4: media.addresses[1]: "10.0.0.1 for fd00`},
		{rest, "  addresses: [10.0.0.1 for 10.0.0.0/8]", `x.yaml:4: media.addresses: has only addresses for net`},
		{pbx, "    addresses: [pbx]", `x.yaml:10: peers[0].addresses[0]: "pbx" is no address or prefix; write one as`},
		{pbx, "    addresses: ['::ffff:1.2.3.0/120']", `x.yaml:10: peers[0].addresses[0]: "::ffff:1.2.3.0/120" is no`},
	}
}

// nameMistakes are names that are none of a domain or host.
func nameMistakes() []mistake {
	return []mistake{
		{domains, "domains: []", "x.yaml:1: domains: name at least one domain"},
		{domains, "domains:\n  - a.example\n  - ''", `x.yaml:3: domains[1]: "" is no domain; write one as example.com`},
		{domains, "domains: [bob@example.com]", `x.yaml:1: domains[0]: "bob@example.com" is no domain`},
		{domains, "domains: [example.com:5060]", `x.yaml:1: domains[0]: "example.com:5060" is no domain`},
		{"", "known_domains: [a b]\n", `x.yaml:13: known_domains[0]: "a b" is no domain`},
		{"", "foreign: allow\nforeign_domains: ['*']\n", `x.yaml:14: foreign_domains[0]: "*" is no domain`},
		{"", "foreign_domains: [a.example]\n", "x.yaml:13: foreign_domains: counts only with foreign: allow; write that too"},
		{"", "advertise: sip.example.com:5060\n", `x.yaml:13: advertise: "sip.example.com:5060" is no host; write a name`},
		{"", "advertise: '::'\n", `x.yaml:13: advertise: "::" is no host`},
		{"", "advertise: http://x\n", `x.yaml:13: advertise: "http://x" is no host`},
	}
}

// valueMistakes are values that cannot be, or not together.
func valueMistakes() []mistake {
	return []mistake{
		{"", "listen: []\n", "x.yaml:13: listen: name at least one listener"},
		{
			"", "listen: ['udp:0.0.0.0:5', 'udp:[::]:5']\n",
			"x.yaml:13: listen[1]: listen[0] has this address and port already",
		},
		{"", "listen: ['tcp:192.0.2.1:5', 'tls:0.0.0.0:5']\n", "x.yaml:13: listen[1]: listen[0] has this address"},
		{"", "listen: [tcp:0.0.0.0:5, tls:0.0.0.0:5]\n", "x.yaml:13: listen[1]: listen[0] has this address and port already"},
		{"", "metrics: localhost:9464\n", `x.yaml:13: metrics: "localhost:9464" is no address and port; write one as 127`},
		{"", "metrics: 9464\n", `x.yaml:13: metrics: "9464" is no address and port`},
		{"", "metrics: 127.0.0.1\n", `x.yaml:13: metrics: "127.0.0.1" is no address and port`},
		{"", "metrics: [::1]:9464\n", "x.yaml:13: "},
		{"", "metrics:\n", "x.yaml:13: metrics: has no value; without the line, the default holds"},
		{"", "listen: [udp:1.2.3.4:5, tcp:1.2.3.4:5]\nmetrics: 1.2.3.4:5\n", "x.yaml:14: metrics: listen[1] has this"},
		{"", "data_dir: ''\n", "x.yaml:13: data_dir: name a directory"},
		{"", "tls: {cert: a.pem}\n", "x.yaml:13: tls.key: is missing beside tls.cert; name both files, or none"},
		{"", "tls: {key: a.pem}\n", "x.yaml:13: tls.cert: is missing beside tls.key; name both files, or none"},
		{"", "protect_ip: never\n", `x.yaml:13: protect_ip: write "always", or leave it out`},
		{"", "strangers: nice\n", `x.yaml:13: strangers: write "uniform" or "honest"`},
		{"", "strangers_in: [example.org=honest]\n", `x.yaml:13: strangers_in[0]: "example.org" is not served here`},
		{"", "strangers_in: [example.org=kind]\n", `x.yaml:13: strangers_in[0]: "example.org=kind" says nothing of a domain`},
		{"", "voicemail: mail\n", `x.yaml:13: voicemail: no peer is named "mail"; peers has their names`},
		{"", "foreign: on\n", `x.yaml:13: foreign: write "off" or "allow"`},
		{reg, "  min: 1ms", "x.yaml:6: register.min: write a time of a second or more, as 60s"},
		{reg, "  min: 3h", "x.yaml:7: register.max: must not be below register.min"},
		{reg, "  default: 10s", "x.yaml:6: register.default: must be between register.min and register.max"},
		{reg, "  default: 3h", "x.yaml:6: register.default: must be between"},
		{"", "feature_codes: {window_open: \"*6a\"}\n", `x.yaml:13: feature_codes.window_open: "*6a" cannot be dialled`},
		{"", "feature_codes: {window_close: ''}\n", `x.yaml:13: feature_codes.window_close: "" cannot be dialled; write`},
		{"", "feature_codes: {window_close: \"*62\"}\n", "x.yaml:13: feature_codes.window_close: is window_open already"},
		{"", "feature_codes: {window: 1s}\n", "x.yaml:13: feature_codes.window: write a time from 1m to 24h"},
		{reg, "  per_user: 0", "x.yaml:6: register.per_user: must be at least 1"},
		{"", "notice: {min_delay: 1m}\n", "x.yaml:13: notice.max_delay: must not be below notice.min_delay"},
		{ports, "  ports: 20000-20002", "x.yaml:3: media.ports: has too few; a relayed call needs four"},
		{"", "log: {level: all}\n", "x.yaml:13: log.level: write debug, info, warn or error"},
		{"", "log: {format: xml}\n", "x.yaml:13: log.format: write text or json"},
	}
}

// peerMistakes are those of peers.
func peerMistakes() []mistake {
	return []mistake{
		{peer, "  - psap: false", "x.yaml:11: peers[1].name: give each peer a name"},
		{peer, "  - name: pbx", `x.yaml:11: peers[1].name: another peer is named "pbx"; give each its own`},
		{target, "    trusted: false", "x.yaml:11: peers[1]: needs addresses or tls_name to call in, or a target"},
		{target, target + "\n    trusted: true", "x.yaml:13: peers[1].trusted: needs addresses or tls_name, by which"},
		{target, target + "\n    psap: true", "x.yaml:13: peers[1].psap: needs addresses or tls_name, by which"},
		{pbx, "    tls_name: pbx.example", "x.yaml:10: peers[0].tls_name: needs tls.client_ca, which says whose"},
		{pbx, "    addresses: [192.0.2.1, 0.0.0.0/0]", "x.yaml:10: peers[0].addresses[1]: is everybody; name the peer's"},
		{target, "    target: 192.0.2.10", `x.yaml:12: peers[1].target: "192.0.2.10" is no SIP URI; write one as sip:`},
		{target, "    target: sip:192.0.2.10:0", `x.yaml:12: peers[1].target: "sip:192.0.2.10:0" is no SIP URI`},
		{target, "    target: sip:[2001:db8::1]:65536", `x.yaml:12: peers[1].target: "sip:[2001:db8::1]:65536" is no`},
		{target, "    target: 'sip:'", `x.yaml:12: peers[1].target: "sip:" is no SIP URI`},
		{target, "    target: tel:+49", `x.yaml:12: peers[1].target: "tel:+49" is no SIP URI`},
		{"", "default_route: pxb\n", `x.yaml:13: default_route: no peer is named "pxb"; peers has their names`},
	}
}
