package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitBroken = 3 // the evidence is not intact
)

// usageError is an error of the one who typed the command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errNotIntact ends a command whose output has already said why.
var errNotIntact = errors.New("the evidence is not intact")

// run is the program. Everything it needs from outside is a parameter.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == moduleCommand {
		return runModule(stderr)
	}
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errNotIntact):
		return exitBroken
	}
	fmt.Fprintln(stderr, "meterseal: "+strings.TrimPrefix(err.Error(), "meterseal: "))
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "meterseal",
		Short: "A smart meter whose event log cannot be altered unnoticed",
		Long: `meterseal is a smart meter whose event log cannot be altered unnoticed, and
what people need to use one.

A meter speaks ECHONET Lite, keeps an event log, and has a secure element sign
the log's hash. A controller carries log and seal to an MDMS, which verifies
them with that meter's public key. "meterseal demo" shows the whole path.

Each flag can also be given in the environment as METERSEAL_NAME (--listen is
METERSEAL_LISTEN) and, where a command has --config, in its TOML file; a flag
beats the environment, and the environment beats the file.`,
		Version:       version(),
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().String("log-level", "info", "log what is at least this severe: debug, info, warn, error; commands that end by themselves begin with warn")
	root.PersistentFlags().String("log-format", "text", "form of the log on stderr: text or json")
	root.AddCommand(newDemo(), newMeter(), newDongle(), newController(), newMDMS(), newVerify(), newKey(), newEchonet())
	for _, c := range descendants(root) {
		prepare(c)
	}
	return root
}

// prepare gives a command what all of them have: values of flags from the
// environment and the configuration file, and wrong usage as a usage error.
func prepare(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usagef("%w; see %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	if c.RunE == nil && c.Run == nil { // a group: without a known subcommand it is wrong usage
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see %s --help", args[0], c.CommandPath())
			}
			return c.Help()
		}
		return
	}
	inner := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := fillFlags(c); err != nil {
			return usageError{err}
		}
		err := inner(c, args)
		if f := c.Flags().Lookup("state"); f != nil {
			err = withOwner(err, f.Value.String())
		}
		return err
	}
}

// withOwner adds to an error what to do if it is that this user may not use the
// state directory.
func withOwner(err error, dir string) error {
	var path *fs.PathError
	if dir == "" || !errors.As(err, &path) || !errors.Is(path, fs.ErrPermission) {
		return err
	}
	inside, rerr := filepath.Rel(filepath.Clean(dir), path.Path)
	if rerr != nil || inside == ".." || strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
		return err // it is about something else
	}
	return fmt.Errorf("%w: run this as the user to whom %s belongs", err, dir)
}

// wants is the Args of a command with these arguments: one in brackets may be
// left out, and the last may come several times if its name has "...".
func wants(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		last := names[len(names)-1]
		switch n := len(args); {
		case n < len(names) && (!strings.HasPrefix(names[n], "[") || !strings.HasSuffix(names[n], "]")):
			return fmt.Errorf("%s is missing", names[n])
		case n > len(names) && !strings.Contains(last, "..."):
			return fmt.Errorf("%q is one argument too many: want %s", args[len(names)], strings.Join(names, " "))
		}
		return nil
	}
}

func descendants(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, descendants(sub)...)
	}
	return all
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
