package interop_test

import (
	"context"
	"errors"
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
			got, err := node(t.Context(), tt.adapter, port)
			// On a loaded machine two pieces may lie together before it reads, and then it waits for ever.
			for again := 0; again < 3 && errors.Is(err, errSilent); again++ {
				t.Log(err)
				got, err = node(t.Context(), tt.adapter, port)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != `{"energy":504}` {
				t.Errorf("got %s", got)
			}
		})
	}
}

var errSilent = errors.New("node-echonet-lite got no answer")

// node runs node-echonet-lite on a port and returns what it read.
func node(ctx context.Context, adapter, port string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--no-deprecation", "testdata/node-echonet-lite.js", adapter, port)
	cmd.Env = append(os.Environ(), "ROUTEB_ID="+credentials.ID, "ROUTEB_PASSWORD="+credentials.Password, "NODE_PATH=node_modules")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && strings.Contains(stderr.String(), "no answer in time") {
		return "", errSilent
	}
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
