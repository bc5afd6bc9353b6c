package soft_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/secureelement/soft"
)

func TestSecretDoesNotPrint(t *testing.T) {
	secret := soft.Secret("swordfish")
	holder := struct{ Secret soft.Secret }{secret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+verb, secret, holder)
	}
	out.WriteString(secret.String())
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "secret", secret, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "secret", secret, "holder", holder)
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{"swordfish", fmt.Sprintf("%x", "swordfish"), fmt.Sprintf("%X", "swordfish"), "115 119 111", "c3dvcmRmaXNo"} {
		if strings.Contains(out.String(), trace) {
			t.Errorf("%q shows in %s", trace, out.String())
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("nothing says that there is a secret")
	}
}

func TestPassphraseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passphrase")
	for content, want := range map[string]string{
		"plain":            "plain",
		"with newline\n":   "with newline",
		"from windows\r\n": "from windows",
		" spaces stay \n":  " spaces stay ",
		"":                 "",
		"\n":               "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := soft.PassphraseFile(path)()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%q was read as %q", content, string(got))
		}
	}
	if _, err := soft.PassphraseFile(path + ".missing")(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := soft.PassphraseFile(path)(); err != nil || len(got) > 2000 {
		t.Errorf("a huge file gave %d bytes, %v", len(got), err)
	}
}
