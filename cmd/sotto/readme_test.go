package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"sotto/configs"
	"sotto/store"
)

// readme is the README as a newcomer finds it.
func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every command that the README shows is one that sotto understands.
func TestReadmeCommandsParse(t *testing.T) {
	t.Parallel()
	commands := regexp.MustCompile("(?m)(?:^    |`)(?:\\./)?sotto ([a-z][^`#\n]*)").FindAllStringSubmatch(readme(t), -1)
	if len(commands) < 10 {
		t.Fatalf("the README shows only %d commands", len(commands))
	}
	for _, m := range commands {
		var c cli
		p, err := kong.New(&c, kong.Name("sotto"), kong.Writers(io.Discard, io.Discard), kong.Vars{"token_key": "key"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Parse(strings.Fields(m[1])); err != nil {
			t.Errorf("sotto %s: %v", m[1], err)
		}
	}
}

// The table of settings has all settings and no other.
func TestReadmeSettings(t *testing.T) {
	t.Parallel()
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `").FindAllStringSubmatch(readme(t), -1)
	var told []string
	for _, r := range rows {
		told = append(told, r[1])
	}
	var all []string
	for _, s := range store.SettingNames() {
		all = append(all, s[0])
	}
	if got, want := strings.Join(told, " "), strings.Join(all, " "); got != want {
		t.Errorf("the README has the settings\n%s, the store\n%s", got, want)
	}
}

// Every piece of configuration in the README is good.
func TestReadmeConfigurations(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) == 0 {
		t.Fatal("the README shows no configuration")
	}
	for _, b := range blocks {
		file := filepath.Join(t.TempDir(), "sotto.yaml")
		must(t, os.WriteFile(file, []byte(b[1]), 0o600))
		if _, err := configs.Load(file); err != nil {
			t.Errorf("%v, in:\n%s", err, b[1])
		}
	}
}

// The transcript is what the demo prints.
func TestReadmeTranscript(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/demo.txtar")
	must(t, err)
	demo := demoMasked(string(golden))
	block := regexp.MustCompile("(?s)```\n(1  alice.*?)```").FindStringSubmatch(readme(t))
	if block == nil {
		t.Fatal("the README has no transcript of the demo")
	}
	for line := range strings.Lines(block[1]) {
		if !strings.Contains(demo, demoMasked(line)) {
			t.Errorf("the demo does not print %q", line)
		}
	}
}

// Every file that a document links to exists.
func TestDocumentsLinkToFiles(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	top, err := filepath.Glob("../../*.md")
	must(t, err)
	link := regexp.MustCompile(`\]\(([^):#]+)\)`)
	for _, doc := range append(top, docs...) {
		text, err := os.ReadFile(doc)
		must(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to what is not there: %v", doc, err)
			}
		}
	}
}

// demoMasked takes out of the demo's lines what differs from run to run, and
// from the golden file's masks.
func demoMasked(text string) string {
	for _, r := range [][2]string{
		{`\(\d+ packets?, [\d.]+ kB\)`, "(SIZE)"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d UTC`, "DATE TIME"},
		{`127\.0\.0\.(\d):[\dx]{5}`, "127.0.0.$1:PORT"},
		{`[st]1-[\w-]+(…[\w-]+)?…?`, "SEALED"},
		{`\b([0-9a-f]{16}|x{16})\b`, "RANDOM"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}
