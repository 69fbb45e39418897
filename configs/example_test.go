package configs

import (
	"bytes"
	"encoding"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write sotto.yaml anew")

const head = `# The configuration of sotto: every key, with its default. A key whose line
# begins with # has no default; what stands there is an example. A file needs
# only the keys that it changes; "sotto check FILE" reads it and says what is
# wrong.
#
# Made from the comments in configs/config.go by: go test ./configs -update
`

// examples are for keys without a default.
func examples() map[string]string {
	return map[string]string{
		"advertise":                      "sip.example.com",
		"tls.cert":                       "/etc/sotto/cert.pem",
		"tls.key":                        "/etc/sotto/key.pem",
		"tls.client_ca":                  "/etc/sotto/trunks.pem",
		"media.addresses":                "[192.0.2.1, 10.0.0.5=192.0.2.2, 10.0.0.5 for 10.0.0.0/8]",
		"media.max_sessions":             "2000",
		"media.coalesce":                 "1ms",
		"protect_ip":                     "always",
		"known_domains":                  "[example.com]",
		"peers.name":                     "pbx",
		"peers.addresses":                "[192.0.2.9, 198.51.100.0/24]",
		"peers.tls_name":                 "pbx.example.com",
		"peers.target":                   "sip:192.0.2.9:5060",
		"peers.trusted":                  "true",
		"peers.psap":                     "true",
		"default_route":                  "pbx",
		"strangers_in":                   "[localhost=honest]",
		"voicemail":                      "pbx",
		"foreign_domains":                "[example.org]",
		"metrics":                        "127.0.0.1:9464",
		"limits.connections":             "20000",
		"limits.connections_per_address": "200",
		"limits.transactions":            "200000",
		"limits.messages_per_address":    "50",
		"limits.invites_per_address":     "60",
		"limits.messages_of_strangers":   "2000",
		"limits.requests_per_user":       "100",
		"limits.ban":                     "10m",
		"limits.exempt":                  "[192.0.2.0/28]",
	}
}

// TestExample compares sotto.yaml with the comments of the types, and loads
// it, as it is and with every example taken.
func TestExample(t *testing.T) {
	m := manual{examples: examples(), comments: comments(t)}
	m.WriteString(head)
	m.fields(t, "", "", reflect.ValueOf(Default()))
	if len(m.examples) > 0 {
		t.Errorf("examples of keys that are not there, or have a default: %v", m.examples)
	}
	if *update {
		if err := os.WriteFile("sotto.yaml", m.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("sotto.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, m.Bytes()) {
		t.Error("sotto.yaml is not what config.go says: go test ./configs -update")
	}
	if c, err := Load("sotto.yaml"); err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("the example is not the default: %v", err)
	}
	taken := regexp.MustCompile(`(?m)^( *)#( {2,}\S|[^ \n])`).ReplaceAll(have, []byte("$1$2"))
	taken = bytes.Replace(taken, []byte("\nforeign: off"), []byte("\nforeign: allow"), 1)
	c, err := parse("sotto.yaml", taken)
	if err != nil {
		t.Fatalf("with its examples it does not load: %v\n%s", err, taken)
	}
	everySet(t, "", reflect.ValueOf(c))
}

// everySet finds keys that the example, with its examples taken, leaves out.
func everySet(t *testing.T, key string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f, sub := v.Field(i), join(key, v.Type().Field(i).Tag.Get("yaml"))
		switch {
		case f.IsZero():
			t.Errorf("%s is not in the example", sub)
		case f.Type() == reflect.TypeFor[[]Peer]():
			everySet(t, sub, f.Index(0))
		case f.Kind() == reflect.Struct && !isText(f):
			everySet(t, sub, f)
		}
	}
}

// A manual is the example while it is written.
type manual struct {
	bytes.Buffer
	examples map[string]string
	comments map[string]string // type.field → comment
}

// fields writes the keys of a struct with their comments.
func (m *manual) fields(t *testing.T, key, indent string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("yaml")
		if comment := m.comments[v.Type().Name()+"."+field.Name]; comment != "" {
			if indent == "" {
				m.WriteString("\n")
			}
			m.WriteString(regexp.MustCompile(`(?m)^`).ReplaceAllString(comment, indent+"# ") + "\n")
		}
		m.value(t, join(key, name), indent, v.Field(i))
	}
}

// value writes one key: its default, else its example.
func (m *manual) value(t *testing.T, key, indent string, f reflect.Value) {
	t.Helper()
	name := indent + key[strings.LastIndexByte(key, '.')+1:] + ":"
	switch {
	case f.Type() == reflect.TypeFor[[]Peer]():
		inner := manual{examples: m.examples, comments: m.comments}
		inner.fields(t, key, "    ", reflect.New(f.Type().Elem()).Elem())
		block := regexp.MustCompile(`(?m)^(    )#(\S)`).ReplaceAllString(strings.TrimSuffix(inner.String(), "\n"), "$1$2")
		block = strings.Replace(block, "    ", "  - ", 1)
		m.WriteString("#peers:\n" + regexp.MustCompile(`(?m)^`).ReplaceAllString(block, "#") + "\n")
	case f.Kind() == reflect.Struct && !isText(f):
		m.WriteString(name + "\n")
		m.fields(t, key, indent+"  ", f)
	case f.IsZero():
		if m.examples[key] == "" {
			t.Errorf("%s has neither a default nor an example", key)
		}
		m.WriteString(indent + "#" + strings.TrimSpace(name) + " " + m.examples[key] + "\n")
		delete(m.examples, key)
	case f.Kind() == reflect.Slice:
		m.WriteString(name + "\n")
		for i := range f.Len() {
			m.WriteString(indent + "  - " + plain(t, f.Index(i)) + "\n")
		}
	default:
		m.WriteString(name + " " + plain(t, f) + "\n")
	}
}

func isText(f reflect.Value) bool {
	return reflect.PointerTo(f.Type()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// plain is a single value as an operator writes it.
func plain(t *testing.T, f reflect.Value) string {
	t.Helper()
	switch v := f.Interface().(type) {
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	case time.Duration:
		return regexp.MustCompile(`([hm])(0[ms])+$`).ReplaceAllString(v.String(), "$1")
	case string:
		if strings.HasPrefix(v, "*") { // which begins an alias in YAML
			return strconv.Quote(v)
		}
		return v
	default:
		return fmt.Sprint(v)
	}
}

// comments are those of all fields in config.go. Where they name a field, the
// key is meant.
func comments(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if st, ok := spec.Type.(*ast.StructType); ok {
				ofStruct(all, spec.Name.Name, st)
			}
		}
		return true
	})
	return all
}

// ofStruct adds the comments of one struct.
func ofStruct(all map[string]string, name string, st *ast.StructType) {
	var pairs []string
	for _, f := range st.Fields.List {
		for _, id := range f.Names {
			if f.Tag != nil {
				pairs = append(pairs, id.Name, reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"))
			}
		}
	}
	for _, f := range st.Fields.List {
		text := strings.TrimSpace(f.Doc.Text())
		for i := 0; i < len(pairs); i += 2 {
			if regexp.MustCompile(`^` + pairs[i] + `\b| and ` + pairs[i] + ` `).MatchString(text) {
				text = regexp.MustCompile(`\b`+pairs[i]+`\b`).ReplaceAllString(text, pairs[i+1])
			}
		}
		for _, id := range f.Names {
			all[name+"."+id.Name] = text
		}
	}
}
