package secureelementtest_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

func TestConformance(t *testing.T) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		t.Run(scheme.String(), func(t *testing.T) {
			secureelementtest.Run(t, func(t *testing.T) secureelement.Module {
				return secureelementtest.New(t, scheme)
			})
		})
	}
}
