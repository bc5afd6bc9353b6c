//go:build race

package soft_test

// raceDetector says that memory use means nothing.
const raceDetector = true
