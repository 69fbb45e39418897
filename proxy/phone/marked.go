package phone

import (
	"net/netip"
	"strings"
)

// Marked is the configuration of a phone that tells its address and a mark
// wherever it can: in headers, descriptions and RTCP. Who searches what the
// other party got for both finds what was let through.
func Marked(ip netip.Addr, mark string) Config {
	family := "IP4"
	if ip.Is6() {
		family = "IP6"
	}
	return Config{
		CallIDHost: ip.String(), TagPrefix: mark + "tag-",
		Headers: []Field{
			{"User-Agent", mark + "agent/1.0"},
			{"Organization", mark + "org"},
			{"Call-Info", "<http://" + mark + "web.example/>;purpose=info"},
			{"Warning", `399 ` + mark + `host "` + ip.String() + `"`},
			{"X-Address", ip.String()},
		},
		SDP: SDP{
			Owner: mark + "owner", Session: []string{"i=" + mark + "info", "a=tool:" + mark + "tool"},
			Media: []string{
				"a=x-where:" + ip.String(),
				"a=candidate:1 1 UDP 2130706431 " + ip.String() + " 9 typ host",
				"a=rtcp-xr:stat-summary", "a=source-filter:incl IN " + family + " * " + ip.String(),
			},
		},
		SDES:    []SDESItem{{2, mark + "name"}, {6, mark + "tool"}},
		Goodbye: mark + "bye",
	}
}

// TellAll adds to the configuration of a marked phone a header for each line
// of leaks.md §1 that a phone may send in any message.
func TellAll(c *Config) {
	own := c.CallIDHost
	host := own
	if strings.Contains(own, ":") {
		host = "[" + own + "]"
	}
	c.Instance = "urn:uuid:" + c.SDP.Owner
	for _, name := range strings.Fields(`P-Asserted-Identity P-Preferred-Identity Remote-Party-ID History-Info
		Diversion Referred-By P-Called-Party-ID Reply-To Alert-Info Error-Info Icon Geolocation`) {
		c.Headers = append(c.Headers, Field{name, "<sip:x@" + host + ">"})
	}
	for _, name := range strings.Fields(`P-Access-Network-Info P-Charging-Vector Session-ID Subject X-Any
		P-Any Accept-Language Date Timestamp Server User-to-User Allow-Events Geolocation-Routing`) {
		c.Headers = append(c.Headers, Field{name, c.SDP.Owner})
	}
	c.Headers = append(c.Headers, Field{"Reason", `SIP;cause=200;text="` + own + `"`},
		Field{"Supported", "timer, " + c.SDP.Owner})
}
