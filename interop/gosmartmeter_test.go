package interop_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/hnw/go-smartmeter"

	"github.com/meterseal/meterseal/internal/dongletest"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

var credentials = routeb.Credentials{ID: "00112233445566778899AABBCCDDEEFF", Password: "0123456789AB"}

// values are what the stand-in meter knows. None holds the byte 0A, at which go-smartmeter ends a binary datagram.
var values = map[smartmeter.PropertyCode][]byte{
	0xD3: {0, 0, 0, 1},
	0xE0: {0, 1, 0xE2, 0x40},
	0xE1: {1},
	0xE7: {0, 0, 1, 0xF8},
	0xE8: {0, 0x28, 0, 0x14},
}

// serveMeter answers Get with go-smartmeter's own codec, so that nothing of ours takes part but the dongle.
func serveMeter(conn net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		req, err := smartmeter.ParseFrame(b[:n])
		if err != nil || req.ESV != smartmeter.Get {
			continue
		}
		res := &smartmeter.Frame{TID: req.TID, SEOJ: req.DEOJ, DEOJ: req.SEOJ, ESV: smartmeter.GetRes}
		for _, p := range req.Properties {
			res.Properties = append(res.Properties, smartmeter.NewProperty(p.EPC, values[p.EPC]))
		}
		_, _ = conn.WriteTo(res.Build(), from)
	}
}

func TestGoSmartmeter(t *testing.T) {
	for _, model := range dongle.Models() {
		if model == dongle.BP35C2J11 {
			continue // it does not speak J11
		}
		for _, data := range []string{"binary", "hex"} {
			t.Run(fmt.Sprintf("%s/%s", model, data), func(t *testing.T) {
				dual := model != dongle.BP35A1 && model != dongle.RL7023IPS
				port := plugIn(t, dongle.Config{Model: model, Data: data, EchoOff: true, Speed: 100})
				d, err := smartmeter.Open(port, smartmeter.ID(credentials.ID), smartmeter.Password(credentials.Password),
					smartmeter.DualStackSK(dual), smartmeter.Timeout(20*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				if v, err := d.GetVersion(); err != nil || v == "" {
					t.Errorf("version %q, %v", v, err)
				}
				if err := d.Authenticate(); err != nil {
					t.Fatal(err)
				}
				ip, err := d.GetNeibourIP()
				if err != nil || ip != d.IPAddr {
					t.Errorf("neighbour %q, %v; want %q", ip, err, d.IPAddr)
				}
				for i, epcs := range [][]smartmeter.PropertyCode{{0xE7}, {0xE0, 0xE1, 0xD3}, {0xE8}} {
					var props []*smartmeter.Property
					for _, epc := range epcs {
						props = append(props, smartmeter.NewProperty(epc, nil))
					}
					req := smartmeter.NewFrame(smartmeter.LvSmartElectricEnergyMeter, smartmeter.Get, props)
					req.TID = uint16(0x0101 * (i + 1)) // a random one may hold 0A
					res, err := d.QueryEchonetLite(req)
					if err != nil {
						t.Fatal(err)
					}
					for _, p := range res.Properties {
						if string(p.EDT) != string(values[p.EPC]) {
							t.Errorf("property %02X: % X, want % X", byte(p.EPC), p.EDT, values[p.EPC])
						}
					}
				}
			})
		}
	}
}

// plugIn runs a dongle on a pseudo-terminal in front of the stand-in meter, and returns its port.
func plugIn(t *testing.T, cfg dongle.Config) (port string) {
	t.Helper()
	// The channel leaves a second between the beacon and the end of a scan: node-echonet-lite misses either if both come in
	// one read.
	_, port = dongletest.OnPTY(t, cfg, &dongle.Meter{Credentials: credentials, Channel: 35}, serveMeter)
	return port
}
