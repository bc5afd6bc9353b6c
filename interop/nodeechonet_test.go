package interop_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/routeb/dongle"
)

// node-echonet-lite in its Wi-SUN mode joins and reads a meter. It takes whatever arrives in one piece for one message, so
// that it also shows that the dongle's output comes in the pieces of a real one.
func TestNodeEchonetLite(t *testing.T) {
	if _, err := os.Stat("node_modules/node-echonet-lite"); err != nil {
		t.Skip("node-echonet-lite is not here: run npm install in this directory")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no node")
	}
	tests := []struct {
		adapter string
		model   dongle.Model
		data    string
	}{
		{"bp35a1", dongle.BP35A1, "binary"},
		{"bp35c2", dongle.BP35C2, "binary"},
		{"rl7023", dongle.RL7023DSS, "hex"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%s", tt.adapter, tt.model), func(t *testing.T) {
			t.Parallel()
			port := plugIn(t, dongle.Config{Model: tt.model, Data: tt.data, Speed: 10})
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "--no-deprecation", "testdata/node-echonet-lite.js", tt.adapter, port)
			cmd.Env = append(os.Environ(), "ROUTEB_ID="+credentials.ID, "ROUTEB_PASSWORD="+credentials.Password, "NODE_PATH=node_modules")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			if got := strings.TrimSpace(string(out)); got != `{"energy":504}` {
				t.Errorf("got %s", got)
			}
		})
	}
}
