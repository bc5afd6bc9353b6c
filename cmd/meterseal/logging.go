package main

import (
	"io"
	"log/slog"

	"github.com/sirupsen/logrus"
	logrusslog "github.com/sirupsen/logrus/hooks/slog"
	"github.com/spf13/cobra"
)

// daemon marks commands that run until they are stopped: they log their life
// cycle. The others log what someone may want to know.
var daemon = map[string]string{"daemon": "yes"}

// newLogger makes the logger of a command: logrus on stderr, handed down to
// the libraries as a slog.Logger.
func newLogger(c *cobra.Command) (*slog.Logger, error) {
	level, _ := c.Flags().GetString("log-level")
	if _, ok := c.Annotations["daemon"]; !ok && !c.Flags().Changed("log-level") {
		level = "warn"
	}
	format, _ := c.Flags().GetString("log-format")
	return loggerTo(c.ErrOrStderr(), level, format)
}

func loggerTo(w io.Writer, level, format string) (*slog.Logger, error) {
	l := logrus.New()
	l.SetOutput(w)
	lv, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", level)
	}
	l.SetLevel(lv)
	switch format {
	case "text":
		l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	case "json":
		l.SetFormatter(&logrus.JSONFormatter{})
	default:
		return nil, usagef("--log-format %q: want text or json", format)
	}
	return slog.New(logrusslog.NewHandler(l, &logrusslog.HandlerOptions{})), nil
}
