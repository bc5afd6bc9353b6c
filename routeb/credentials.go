package routeb

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// ErrCredentials is wrapped by errors about the form of a Route-B id or password. Such an error never shows either.
var ErrCredentials = errors.New("routeb: bad credentials")

// Credentials are the Route-B id and password that the utility issues for one meter. They print as asterisks.
type Credentials struct {
	ID       string `toml:"id"`       // 32 characters, 0-9 and A-F
	Password string `toml:"password"` // 12 characters, 0-9, A-Z and a-z
}

// ReadCredentials reads a TOML file with the keys id and password. The file must not be accessible to group or others,
// unless it lies in the directory that systemd passes in CREDENTIALS_DIRECTORY, whose modes are systemd's.
func ReadCredentials(path string) (Credentials, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("routeb: credentials: %w", err)
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if bySystemd := dir != "" && strings.HasPrefix(path, dir+"/"); !bySystemd && info.Mode()&0o077 != 0 {
		return Credentials{}, fmt.Errorf("routeb: credentials: %s: mode %v, want 0600: %w", path, info.Mode().Perm(), fs.ErrPermission)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("routeb: credentials: %w", err)
	}
	c, err := ParseCredentials(b)
	if err != nil {
		return Credentials{}, fmt.Errorf("%w (file %s)", err, path)
	}
	return c, nil
}

// ParseCredentials reads the content of a credentials file and checks the form of both values. It takes the part of TOML
// that such a file needs: comments, and the two keys with quoted values. Errors name lines and never show them.
func ParseCredentials(b []byte) (c Credentials, err error) {
	seen := make(map[string]bool)
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := parseAssignment(line)
		if !ok || seen[key] {
			return Credentials{}, fmt.Errorf("%w: line %d is not id = \"…\" or password = \"…\", once each", ErrCredentials, i+1)
		}
		seen[key] = true
		if key == "id" {
			c.ID = value
		} else {
			c.Password = value
		}
	}
	return c, c.Check()
}

func parseAssignment(line string) (key, value string, ok bool) {
	key, rest, _ := strings.Cut(line, "=")
	key, rest = strings.TrimSpace(key), strings.TrimSpace(rest)
	if key != "id" && key != "password" || rest == "" || !strings.ContainsRune("\"'", rune(rest[0])) {
		return "", "", false
	}
	value, rest, ok = strings.Cut(rest[1:], rest[:1])
	rest = strings.TrimSpace(rest)
	return key, value, ok && (rest == "" || rest[0] == '#')
}

// Check says what is wrong with the form of the credentials, without showing them.
func (c Credentials) Check() error {
	if err := check("id", c.ID, 32, "0123456789ABCDEF"); err != nil {
		return err
	}
	return check("password", c.Password, 12, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
}

func check(name, value string, length int, alphabet string) error {
	if len(value) != length {
		return fmt.Errorf("%w: %s has %d characters, want %d", ErrCredentials, name, len(value), length)
	}
	if i := strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }); i >= 0 {
		return fmt.Errorf("%w: character %d of the %s is not one of %s", ErrCredentials, i+1, name, alphabet)
	}
	return nil
}

// PairID returns the last 8 characters of the id: what the meter's beacons carry.
func (c Credentials) PairID() string { return c.ID[max(0, len(c.ID)-8):] }

// String hides both values.
func (c Credentials) String() string { return "id ******** password ********" }

// GoString hides both values.
func (c Credentials) GoString() string { return c.String() }

// LogValue hides both values.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText hides both values, so that no encoder of settings shows them.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
