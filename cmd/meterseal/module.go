package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/secureelement/soft"
)

// moduleCommand is the argument that makes this program a soft module: it is
// started so by itself, never by people.
const moduleCommand = soft.Argument

func runModule(stderr io.Writer) int {
	if err := soft.Serve(); err != nil {
		fmt.Fprintln(stderr, "meterseal: "+err.Error())
		return exitFailed
	}
	return exitDone
}

const (
	moduleDir      = "se"            // below the state directory
	passphraseName = "se.passphrase" // made beside it if none is given
	credentialName = "meterseal-passphrase"
)

// moduleFlags are the flags of commands that open a secure element.
func moduleFlags(c *cobra.Command) {
	c.Flags().String("state", "", "state directory of the meter (required)")
	c.Flags().String("module", "soft:", "secure element: soft:, or soft:DIR for another directory than STATE/"+moduleDir)
	c.Flags().String("passphrase-file", "", "file with the passphrase of a soft module; else the systemd credential "+credentialName+
		", else "+envPrefix+"PASSPHRASE, else one that is generated beside the key")
}

// stateDir returns --state.
func stateDir(c *cobra.Command) (string, error) {
	dir, _ := c.Flags().GetString("state")
	if dir == "" {
		return "", usagef("--state DIR is required: the directory where the meter keeps key and log")
	}
	return dir, nil
}

// moduleConfig reads the flags of moduleFlags. Only if mayMake may key and
// passphrase be missing: a passphrase is then generated, if none is given.
func moduleConfig(c *cobra.Command, log *slog.Logger, mayMake bool) (soft.Config, error) {
	state, err := stateDir(c)
	if err != nil {
		return soft.Config{}, err
	}
	uri, _ := c.Flags().GetString("module")
	dir, ok := strings.CutPrefix(uri, "soft:")
	if !ok {
		return soft.Config{}, usagef("--module %q: this build has soft: only", uri)
	}
	own := dir == ""
	if own {
		dir = filepath.Join(state, moduleDir)
	}
	has, err := soft.HasKey(dir)
	switch {
	case err != nil:
		return soft.Config{}, err
	case !has && (own || !mayMake) && holdsLog(state):
		return soft.Config{}, fmt.Errorf("no key in %s, and %s holds a log that a key has sealed: put the key back, or name its place with --module. "+
			"If it is lost, start another meter with --state NEWDIR and enrol that", dir, state)
	case !has && !mayMake:
		return soft.Config{}, fmt.Errorf("no key in %s; \"meterseal key new --state %s\" makes one", dir, state)
	}
	pass, err := passphrase(c, filepath.Join(state, passphraseName), dir)
	if err != nil {
		return soft.Config{}, err
	}
	return soft.Config{Dir: dir, Passphrase: pass, Logger: log}, nil
}

// holdsLog reports whether a meter has a log in the state directory, whole or
// not.
func holdsLog(state string) bool {
	if _, stored, err := device.StoredMeter(state); stored || err != nil {
		return true
	}
	_, sealed, err := device.LoggedMeter(state)
	return sealed || err != nil
}

// passphrase chooses where the passphrase of the soft module in dir comes from.
// If it is given nowhere, one is generated into the file own before there is a
// key.
func passphrase(c *cobra.Command, own, dir string) (func() (soft.Secret, error), error) {
	if path, _ := c.Flags().GetString("passphrase-file"); path != "" {
		return soft.PassphraseFile(path), checkSecretFile(path)
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, credentialName)
		if _, err := os.Stat(path); err == nil {
			return soft.PassphraseFile(path), nil
		}
	}
	if value, ok := os.LookupEnv(envPrefix + "PASSPHRASE"); ok {
		return func() (soft.Secret, error) { return soft.Secret(value), nil }, nil
	}
	switch _, err := os.Stat(own); {
	case err == nil:
		return soft.PassphraseFile(own), checkSecretFile(own)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := generatePassphrase(own, dir); err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	fmt.Fprintf(c.ErrOrStderr(), "warning: no passphrase was given; one was generated in %s. Key and passphrase lie together now, so the "+
		"encryption protects a backup of one of them only. Give --passphrase-file to keep them apart.\n", own)
	return soft.PassphraseFile(own), nil
}

// generatePassphrase writes a random passphrase to a new file, durably: a key
// that is sealed with it must not outlive it, and one that is there in keyDir was
// sealed with another. Of two first starts at once one takes what the other has
// made.
func generatePassphrase(path, keyDir string) error {
	dir := filepath.Dir(path)
	lock, err := durable.Lock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if fileExists(path) {
		return nil
	}
	switch has, err := soft.HasKey(keyDir); {
	case err != nil:
		return err
	case has:
		return fmt.Errorf("%s is missing, and without it the key in %s cannot be opened: put it back, or give --passphrase-file. "+
			"If it is lost so is the key: start another meter with --state NEWDIR and enrol that", path, keyDir)
	}
	random := make([]byte, 20)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	files, err := durable.Dir(dir)
	if err != nil {
		return err
	}
	return durable.WriteFile(files, filepath.Base(path), []byte(base32.StdEncoding.EncodeToString(random)+"\n"))
}

// checkSecretFile refuses a file that others than its owner can read.
func checkSecretFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("passphrase: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("passphrase: %s can be read by others: chmod 600 %s", path, path)
	}
	return nil
}

// openModule opens the soft module; if it has no key yet and scheme is not 0,
// it makes one of that scheme first.
func openModule(ctx context.Context, cfg soft.Config, scheme eventlog.Scheme) (*soft.Module, error) {
	m, err := soft.Open(ctx, cfg)
	if scheme == 0 || !errors.Is(err, soft.ErrNoKey) {
		return m, err
	}
	if err := soft.Create(ctx, cfg, scheme); err != nil {
		return nil, err
	}
	return soft.Open(ctx, cfg)
}
