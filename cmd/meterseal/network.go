package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/routeb"
)

// networkFile is the name, in a controller's state directory, of the file that
// says where the meter was found last.
const networkFile = "route-b-network.json"

// networkKeeper remembers where the meter was found across restarts, so that the
// next start need not scan all channels. What a join has failed on is forgotten.
type networkKeeper struct {
	dir  durable.FS
	log  *slog.Logger
	kept networkJSON // zero if there is none
	last routeb.State
}

// networkJSON is the content of the file. The quality of a signal is not kept:
// each scan tells another one.
type networkJSON struct {
	Channel byte         `json:"channel"`
	PAN     uint16       `json:"pan"`
	MAC     routeb.EUI64 `json:"mac"`
}

// openNetwork returns the keeper of a state directory. A file that makes no
// sense is as good as none.
func openNetwork(path string, log *slog.Logger) (*networkKeeper, error) {
	dir, err := durable.Dir(path)
	if err != nil {
		return nil, err
	}
	k := &networkKeeper{dir: dir, log: log}
	text, err := os.ReadFile(filepath.Join(path, networkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	var n networkJSON
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err == nil && (n.Channel < 33 || n.Channel > 60 || n.MAC == (routeb.EUI64{})) {
		err = fmt.Errorf("channel %d, meter %v", n.Channel, n.MAC)
	}
	if err != nil {
		log.Warn("routeb: the network of last time is not used", "file", networkFile, "err", err)
		return k, nil
	}
	k.kept = n
	return k, nil
}

// network returns where the meter was found last; nil if that is not known.
func (k *networkKeeper) network() *routeb.Network {
	if k.kept == (networkJSON{}) {
		return nil
	}
	return &routeb.Network{Channel: k.kept.Channel, PAN: k.kept.PAN, MAC: k.kept.MAC}
}

// take is a routeb.Config.OnChange.
func (k *networkKeeper) take(st routeb.Status) {
	last := k.last
	k.last = st.State
	now := networkJSON{st.Network.Channel, st.Network.PAN, st.Network.MAC}
	var err error
	switch {
	case st.State == routeb.Joined && now != k.kept:
		if err = k.write(now); err == nil {
			k.kept = now
		}
	case st.State == routeb.Lost && last == routeb.Joining && k.kept != (networkJSON{}):
		k.kept = networkJSON{}
		err = errors.Join(k.dir.Remove(networkFile), k.dir.SyncDir())
	}
	if err != nil {
		k.log.Warn("routeb: remember the network", "err", err)
	}
}

func (k *networkKeeper) write(n networkJSON) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return durable.WriteFile(k.dir, networkFile, append(text, '\n'))
}
