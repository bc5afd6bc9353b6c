package dongle

import (
	"fmt"
	"slices"
	"strings"
)

// Model is the name of a module that the dongle can be.
type Model string

// The models. A BP35A1 stands for WSR35A1-00 too, a BP35C2 for BP35C0 and RS-WSUHA-P.
const (
	BP35A1     Model = "bp35a1"
	BP35C2     Model = "bp35c2"
	RL7023IPS  Model = "rl7023-ips"
	RL7023DSS  Model = "rl7023-dss"
	MBRL702311 Model = "mb-rl7023-11"
	BP35C2J11  Model = "bp35c2-j11" // and the other modules with the binary interface J11
)

// Models returns all models.
func Models() []Model { return []Model{BP35A1, BP35C2, RL7023IPS, RL7023DSS, MBRL702311, BP35C2J11} }

// ParseModel reads the name of a model.
func ParseModel(s string) (Model, error) {
	if m := Model(strings.ToLower(s)); slices.Contains(Models(), m) {
		return m, nil
	}
	return "", fmt.Errorf("dongle: no model %q: want one of %v", s, Models())
}

// profile is how a model behaves.
type profile struct {
	dual          bool   // dual-stack family: commands, events and datagrams carry a side
	version       string // EVER
	firmware      string // EAPPVER
	product       bool   // has WOPT, ROPT, WUART and RUART
	hex           bool   // writes received data as hex digits (WOPT 01)
	extraLines    bool   // writes an empty line and the TCP ports into EPORT, an empty line after EEDSCAN
	trailingSpace bool   // after EINFO
	hidesMAC      bool   // PANA datagrams carry FFFFFFFFFFFFFFFF as the sender's MAC address
	binary        bool   // speaks J11, and nothing of the above
}

var profiles = map[Model]profile{
	BP35A1:     {version: "1.2.10", firmware: "rev26e", product: true, extraLines: true},
	RL7023IPS:  {version: "1.2.8", firmware: "rl7023-c", hex: true},
	BP35C2:     {dual: true, version: "1.5.2", firmware: "BP35C2", product: true},
	RL7023DSS:  {dual: true, version: "1.5.2", firmware: "BP35C2", product: true, hex: true},
	MBRL702311: {dual: true, version: "1.5.2", firmware: "MB-RL7023-11", product: true, hex: true, trailingSpace: true, hidesMAC: true},
	BP35C2J11:  {binary: true},
}
