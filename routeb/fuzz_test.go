package routeb_test

import (
	"testing"
	"testing/synctest"

	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

// Whatever a port says, Dial comes to an end with a meter or an error.
func FuzzPort(f *testing.F) {
	for _, model := range append(fixtures.Models(), "j11") {
		session, _, err := fixtures.Session(model)
		if err != nil {
			f.Fatal(err)
		}
		var all []byte
		for _, s := range session {
			if !s.Host {
				all = append(all, s.Data...)
			}
		}
		f.Add(all, uint16(64))
	}
	f.Fuzz(func(t *testing.T, says []byte, size uint16) {
		synctest.Test(t, func(t *testing.T) {
			var cable dongle.Cable
			port, err := cable.Plug()
			if err != nil {
				t.Fatal(err)
			}
			go func() { // some more at each thing that the host says
				b := make([]byte, 4096)
				for {
					if _, err := port.Read(b); err != nil {
						return
					}
					n := min(len(says), int(size)+1)
					port.Write(says[:n])
					says = says[n:]
				}
			}()
			c, err := routeb.Dial(t.Context(), routeb.Config{
				Open: cable.Open, Credentials: credentials, Baud: 115200, DialAttempts: 1,
			})
			if err == nil {
				c.Close()
			}
			port.Close()
		})
	})
}
