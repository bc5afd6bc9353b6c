package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/internal/durable"
)

// Names of the files of segment n. The seals as found lie beside a damaged
// segment.
const (
	segmentExt = ".seg"
	sealExt    = ".seal"
	foundExt   = ".found"
)

func fileName(segment uint32, ext string) string { return fmt.Sprintf("%08d%s", segment, ext) }

// inventory is what lies in the directory of a log.
type inventory struct {
	segments []uint32 // ascending
	seals    []uint32 // ascending
	foreign  []string // files that are none of ours
}

// takeInventory lists the directory and removes what an interrupted write left.
func takeInventory(fsys durable.FS) (inventory, error) {
	var inv inventory
	names, err := fsys.List()
	if err != nil {
		return inv, fmt.Errorf("eventlog: list the log: %w", err)
	}
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, durable.TempExt); ok {
			if _, _, ours := parseName(base); ours || base == sealsName {
				if err := fsys.Remove(name); err != nil {
					return inv, fmt.Errorf("eventlog: remove %s: %w", name, err)
				}
				continue
			}
		}
		n, ext, ours := parseName(name)
		switch {
		case ours && ext == segmentExt:
			inv.segments = append(inv.segments, n)
		case ours && ext == sealExt:
			inv.seals = append(inv.seals, n)
		case !ours && name != sealsName:
			inv.foreign = append(inv.foreign, name)
		}
	}
	slices.Sort(inv.segments)
	slices.Sort(inv.seals)
	return inv, nil
}

// parseName splits the name of a file of a segment. Only the one spelling of
// each number is ours.
func parseName(name string) (segment uint32, ext string, ours bool) {
	dot := strings.IndexByte(name, '.')
	if dot < 0 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(name[:dot], 10, 32)
	segment, ext = uint32(n), name[dot:]
	if err != nil || n == 0 || fileName(segment, ext) != name {
		return 0, "", false
	}
	return segment, ext, ext == segmentExt || ext == sealExt || ext == foundExt
}

// removeSegment removes all files of a segment, those that exist.
func removeSegment(fsys durable.FS, segment uint32) error {
	for _, ext := range []string{segmentExt, sealExt, foundExt} {
		if err := fsys.Remove(fileName(segment, ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("eventlog: drop segment %d: %w", segment, err)
		}
	}
	if err := fsys.SyncDir(); err != nil {
		return fmt.Errorf("eventlog: drop segment %d: %w", segment, err)
	}
	return nil
}
