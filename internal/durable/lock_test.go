//go:build unix

package durable_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/durable"
)

func TestLockNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	first, err := durable.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.Lock(dir)
	if want := fmt.Sprintf("process %d", os.Getpid()); !errors.Is(err, durable.ErrInUse) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want ErrInUse that ends with %q", err, want)
	}
	first.Close()
	second, err := durable.Lock(dir)
	if err != nil {
		t.Fatalf("after the holder has gone: %v", err)
	}
	second.Close()
	if _, err := durable.Lock(dir + "/missing"); err == nil {
		t.Error("a directory that does not exist was locked")
	}
}
