// Package effort says how hard tests try.
package effort

import (
	"os"
	"strconv"
)

// Times returns n times the number in the environment variable EFFORT: how
// often a test does what it does n times in its short form.
func Times(n int) int {
	scale, _ := strconv.Atoi(os.Getenv("EFFORT"))
	return n * max(scale, 1)
}
