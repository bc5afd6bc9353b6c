// Package interop holds tests in which programs by others use the virtual dongle. It is a module of its own, so that
// what they need does not become a need of meterseal.
package interop
