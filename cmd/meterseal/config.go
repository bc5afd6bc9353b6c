package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const envPrefix = "METERSEAL_"

// envName is the environment variable of a flag: mdms-key is METERSEAL_MDMS_KEY.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fillFlags gives each flag that was not typed its value from the environment
// or, failing that, from the file that --config names.
func fillFlags(c *cobra.Command) error {
	var errs []error
	set := func(f *pflag.Flag, value, from string) {
		if err := c.Flags().Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", from, err))
		}
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if value, ok := os.LookupEnv(envName(f.Name)); ok && !f.Changed {
			set(f, value, envName(f.Name))
		}
	})
	if f := c.Flags().Lookup("config"); f != nil && f.Value.String() != "" {
		path := f.Value.String()
		entries, err := readConfig(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			from := fmt.Sprintf("%s:%d", path, e.line)
			f := c.Flags().Lookup(e.key)
			values, err := flagValues(e.value)
			switch {
			case f == nil || e.key == "config" || e.key == "help" || e.key == "version":
				errs = append(errs, fmt.Errorf("%s: unknown key %q", from, e.key))
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: %s: %w", from, e.key, err))
			case !f.Changed:
				for _, v := range values {
					set(f, v, from)
				}
			}
		}
	}
	return errors.Join(errs...)
}

// positive refuses flags that are no time to come.
func positive(c *cobra.Command, durations ...string) error {
	for _, name := range durations {
		if d, _ := c.Flags().GetDuration(name); d <= 0 {
			return usagef("--%s %v: want more than 0, such as %s", name, d, c.Flags().Lookup(name).DefValue)
		}
	}
	return nil
}

// entry is one key of a configuration file.
type entry struct {
	key   string
	value any
	line  int
}

// readConfig reads a flat TOML file whose keys are the names of flags. The
// entries are in the order of the file.
func readConfig(path string) ([]entry, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var doc map[string]any
	if err := toml.Unmarshal(text, &doc); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			return nil, fmt.Errorf("%s:%d: %w", path, row, err)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	entries := make([]entry, 0, len(doc))
	for key, value := range doc {
		entries = append(entries, entry{key, value, lineOf(text, key)})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key)) })
	return entries, nil
}

// lineOf finds the line, from 1, that begins with the key.
func lineOf(text []byte, key string) int {
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		line = bytes.TrimLeft(line, " \t\"'[")
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok && (len(rest) == 0 || strings.ContainsRune(" \t=\"']", rune(rest[0]))) {
			return i + 1
		}
	}
	return 1
}

// flagValues returns a value of a configuration file as a flag takes it, one by
// one if it is a list.
func flagValues(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case bool, int64, float64:
		return []string{fmt.Sprint(v)}, nil
	case []any:
		var all []string
		for _, e := range v {
			values, err := flagValues(e)
			if err != nil {
				return nil, err
			}
			all = append(all, values...)
		}
		return all, nil
	}
	return nil, errors.New("want a string, a number, a boolean or a list of them")
}
