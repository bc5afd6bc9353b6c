// Package explain puts ECHONET Lite into words: the names of objects, services
// and properties, values with their units, and a frame field by field. It
// knows the node profile, the device super class, the controller (05FF) and
// the low-voltage smart electric energy meter (0288); of others it shows the
// hexadecimal data.
//
// It is for people and their tools. Programs that compute with values use
// package meter.
package explain
