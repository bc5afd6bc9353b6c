package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newEnrol() *cobra.Command {
	c := &cobra.Command{
		Use:   "enrol --meter ID --key PEM --scheme SCHEME",
		Short: "Register a meter with its public key, or a further key of it",
		Long: `Register a meter with its public key. Only an administrator does this: a key is
never taken from a controller. Enrolling the same meter with the same key again
changes the policy that is expected of it. --add registers a further key, so
that the meter's own KEY_CHANGE to it is accepted.`,
		Example: `  meterseal mdms enrol --meter FFFFFF-MS0000000001 --key meter1/meter.pem --scheme counter`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f := c.Flags()
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			keyFile, _ := f.GetString("key")
			if keyFile == "" {
				return usagef("--key PEM is required: the meter's public key, which its first start writes to STATE/%s", keyName)
			}
			pub, err := readPublicKey(keyFile)
			if err != nil {
				return err
			}
			scheme, err := schemeFlag(c)
			if err != nil {
				return err
			}
			text, _ := f.GetString("policy")
			policy, err := eventlog.ParsePolicy(1, text)
			if err != nil {
				return usagef("--policy: %w", err)
			}
			key, err := eventlog.KeyIDOf(pub)
			if err != nil {
				return err
			}
			counter, _ := f.GetUint64("counter")
			add, _ := f.GetBool("add")
			from, _ := f.GetUint32("from-seq")
			return onStore(c, func(*mdms.Config) {}, func(s *mdms.Server) error {
				if add {
					err = s.AddKey(c.Context(), mdms.NewKey{Meter: id, PublicKey: pub, Scheme: scheme, Counter: counter, FirstSeq: from})
				} else {
					err = s.Enrol(c.Context(), mdms.Enrolment{Meter: id, PublicKey: pub, Scheme: scheme, Counter: counter, Policy: policy})
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "enrolled meter %s with key %s, scheme %s\n", id, key, scheme)
				return nil
			})
		},
	}
	f := c.Flags()
	f.String("meter", "", "meter id (required)")
	f.String("key", "", "PEM file with the meter's public key (required)")
	f.String("scheme", "counter", "scheme of the key: counter or digest")
	f.Uint64("counter", 0, "counter of the secure element at enrolment")
	f.String("policy", "default", "specific events that the meter has to seal: a list, default, or all")
	f.Bool("add", false, "register a further key of an enrolled meter")
	f.Uint32("from-seq", 0, "with --add: first sequence number that the key may seal")
	return c
}
