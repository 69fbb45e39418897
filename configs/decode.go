package configs

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A problem is what is wrong with a configuration file, where, and what to do.
type problem struct {
	line int    // 0: of the key
	key  string // as media.ports, or peers[0].name
	what string
}

// Error implements error.
func (p *problem) Error() string {
	if p.key == "" {
		return p.what
	}
	return p.key + ": " + p.what
}

// document is a configuration file while it is read: what the YAML library
// takes for us is its syntax, and nothing but text reaches the fields, so that
// every mistake has its line and its remedy.
type document struct{ lines map[string]int }

// decode reads a file over what c has.
func (d *document) decode(raw []byte, c *Config) error {
	file, err := parser.ParseBytes(raw, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return syntax(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case empty(doc.Body):
		case body != nil:
			return &problem{lineOf(doc.Body), "", "a second document begins here; write all keys into one"}
		default:
			body = doc.Body
		}
	}
	if body == nil {
		return nil // nothing but comments: the defaults
	}
	return d.fields(body, "", reflect.ValueOf(c).Elem())
}

// syntax is an error of the YAML library in our form.
func syntax(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return &problem{1, "", err.Error()}
	}
	return &problem{ye.GetToken().Position.Line, "", "this is not YAML: " + ye.GetMessage()}
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// empty says that there is nothing, or null.
func empty(n ast.Node) bool {
	switch n.(type) {
	case nil, *ast.NullNode, *ast.CommentNode, *ast.CommentGroupNode:
		return true
	}
	return false
}

// fields reads a mapping into a struct.
func (d *document) fields(n ast.Node, key string, into reflect.Value) error {
	var all []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		all = m.Values
	case *ast.MappingValueNode:
		all = []*ast.MappingValueNode{m}
	default:
		return &problem{lineOf(n), key, "write keys and values here, as " + fieldNames(into.Type())[0] + ": …"}
	}
	for _, kv := range all {
		name := kv.Key.String()
		sub := join(key, name)
		i := fieldOf(into.Type(), name)
		switch {
		case i < 0:
			return &problem{lineOf(kv.Key), sub, "no such key; there are " + strings.Join(fieldNames(into.Type()), ", ")}
		case d.lines[sub] != 0:
			return &problem{lineOf(kv.Key), sub, fmt.Sprintf("is in line %d already", d.lines[sub])}
		}
		d.lines[sub] = lineOf(kv.Key)
		if err := d.value(kv.Value, sub, into.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func join(key, name string) string { return strings.TrimPrefix(key+"."+name, ".") }

// fieldOf is the field that a key names, -1 without.
func fieldOf(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == name {
			return i
		}
	}
	return -1
}

// fieldNames are the keys of a struct.
func fieldNames(t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		all = append(all, t.Field(i).Tag.Get("yaml"))
	}
	return all
}

// value reads one value into a field.
func (d *document) value(n ast.Node, key string, into reflect.Value) error {
	_, isText := into.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case into.Kind() == reflect.Struct && !isText && empty(n):
		return nil // all its keys are comments
	case into.Kind() == reflect.Struct && !isText:
		return d.fields(n, key, into)
	case empty(n):
		return &problem{lineOf(n), key, "has no value; without the line, the default holds"}
	case into.Kind() == reflect.Slice:
		return d.list(n, key, into)
	}
	text, ok := scalar(n)
	if alias, is := n.(*ast.AliasNode); is { // *62 without quotes
		return &problem{lineOf(n), key, fmt.Sprintf("is an alias in YAML; write it in quotes, as %q", alias.String())}
	}
	if !ok {
		return &problem{lineOf(n), key, "takes one value, in the same line"}
	}
	if err := set(into, text); err != nil {
		return &problem{lineOf(n), key, err.Error()}
	}
	return nil
}

// list reads a sequence. What the file has replaces the default.
func (d *document) list(n ast.Node, key string, into reflect.Value) error {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return &problem{lineOf(n), key, "takes a list; write it as [one, another], or each in a line after a -"}
	}
	all := reflect.MakeSlice(into.Type(), len(seq.Values), len(seq.Values))
	for i, one := range seq.Values {
		sub := fmt.Sprintf("%s[%d]", key, i)
		d.lines[sub] = lineOf(one)
		if err := d.value(one, sub, all.Index(i)); err != nil {
			return err
		}
	}
	into.Set(all)
	return nil
}

// scalar is the text of a single value, as it was written.
func scalar(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(s.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// set reads a text into a field. Its error is the remedy.
func set(into reflect.Value, text string) error {
	switch f := into.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return f.UnmarshalText([]byte(text))
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is no time; write one as 30s, 5m or 2h", text)
		}
		*f = d
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 1<<31-1 {
			return fmt.Errorf("%q is no number; write a whole one, 0 or more", text)
		}
		*f = n
	case *bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither; write true or false", text)
		}
		*f = text == "true"
	case *string:
		*f = text
	default:
		return fmt.Errorf("cannot be configured (%T)", f) // a field without its case here
	}
	return nil
}

// line is the line of a key, or of the one that it would be in; 1 without.
func (d *document) line(key string) int {
	for ; key != ""; key = key[:max(0, strings.LastIndexAny(key, ".["))] {
		if n := d.lines[key]; n != 0 {
			return n
		}
	}
	return 1
}

// at puts an error into the form "file:line: key: what to do".
func (d *document) at(path string, err error) error {
	var p *problem
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s:%d: %w", path, cmp.Or(p.line, d.line(p.key)), p)
}
