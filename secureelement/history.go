package secureelement

import (
	"context"

	"github.com/meterseal/meterseal/eventlog"
)

// Historian is a [Module] that remembers what it signed last. A meter holds that
// against its log when it starts: records that were signed and then edited show,
// even where the seal itself was taken away.
type Historian interface {
	// History returns the newest uses of a key of the scheme counter, oldest
	// first; none for a key of the scheme digest. It uses no counter value.
	History(ctx context.Context) ([]eventlog.KeyUse, error)
}
