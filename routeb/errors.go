package routeb

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// What a session can fail by. Advice has words for each.
var (
	ErrPortBusy  = errors.New("routeb: port is in use")
	ErrNotPort   = errors.New("routeb: not a serial port")
	ErrUnplugged = errors.New("routeb: device is gone")
	ErrNoAnswer  = errors.New("routeb: no Wi-SUN module answers on this port")
	ErrNoBeacon  = errors.New("routeb: no beacon of this meter")
	ErrRefused   = errors.New("routeb: authentication failed")
	ErrNotJoined = errors.New("routeb: not joined")     // from WriteTo: not sent
	ErrLimited   = errors.New("routeb: transmit limit") // from WriteTo: not sent
	ErrRadio     = errors.New("routeb: no acknowledgement by radio")
	ErrSilent    = errors.New("routeb: meter sends nothing any more")
	ErrEnded     = errors.New("routeb: meter ended the session")
	ErrExpired   = errors.New("routeb: lifetime of the session is over")
)

// CommandError is a module's refusal of a command.
type CommandError struct {
	Command string // without secrets
	Answer  string // such as "ER05"; may be empty
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("routeb: module refused %s: %s", e.Command, strings.TrimSpace("FAIL "+e.Answer))
}

// timeoutError is a net.Error whose Timeout is true: of a datagram it says that it may have been sent.
type timeoutError string

func (e timeoutError) Error() string { return "routeb: " + string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// Advice says in a sentence or two what a person can do about an error of this package; "" if there is nothing to say.
func Advice(err error) string {
	var command *CommandError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrCredentials):
		return "The Route-B id has 32 characters and the password 12, as printed in the utility's letter; spaces do not count."
	case errors.Is(err, ErrPortBusy):
		return "Another program holds the port. Stop it, or give this one a port of its own."
	case errors.Is(err, ErrNotPort):
		return "The dongle's port has a name under /dev/serial/by-id, or one like /dev/ttyUSB0; this is something else."
	case errors.Is(err, fs.ErrPermission):
		return "This user may not open the port. Add the user to the group that owns it (often dialout) and log in again."
	case errors.Is(err, fs.ErrNotExist):
		return "There is no such device. Plug the dongle in and use its name under /dev/serial/by-id, which does not change."
	case errors.Is(err, ErrUnplugged):
		return "The dongle was unplugged or lost power. The session resumes when the device is back under the same name; a name under /dev/serial/by-id survives a change of number."
	case errors.Is(err, ErrNoAnswer):
		return "The port opens, but nothing on it answers like a Wi-SUN module at any speed. Is it the right port? Unplug the dongle and plug it in again."
	case errors.Is(err, ErrNoBeacon):
		return "No meter with this Route-B id was heard. Check the id, bring the dongle nearer to the meter or away from metal, and make sure that the utility has activated Route-B."
	case errors.Is(err, ErrRefused):
		return "The meter was found, but does not let us in. The password may be wrong, or the meter still holds a session with another dongle, which can last a day."
	case errors.Is(err, ErrLimited):
		return "The radio has used up the transmit time that the law allows in an hour. Ask less often; sending resumes by itself."
	case errors.Is(err, ErrRadio):
		return "The meter is out of reach for the moment. If this happens often, the signal is weak: move the dongle."
	case errors.Is(err, ErrSilent), errors.Is(err, ErrEnded), errors.Is(err, ErrExpired), errors.Is(err, ErrNotJoined):
		return "The session with the meter is being set up again; nothing needs to be done."
	case errors.As(err, &command):
		return adviceOn(command)
	}
	return ""
}

func adviceOn(e *CommandError) string {
	switch e.Answer {
	case "ER04":
		return "The module does not know this command: its firmware is of another kind than it says."
	case "ER05":
		return "The module takes another number of arguments: it is of the other family (single or dual stack) than it says."
	case "ER06":
		return "The module does not take an argument of this command."
	case "ER09":
		return "The module lost characters: try another cable or a USB port without a hub."
	}
	return "The module could not carry the command out. Unplug the dongle and plug it in again."
}

// unknownError wraps the failure of a send of which it is not known whether the datagram left: a net.Error with Timeout.
type unknownError struct{ cause error }

func (e *unknownError) Error() string {
	return "routeb: datagram may have been sent: " + e.cause.Error()
}
func (e *unknownError) Unwrap() error { return e.cause }
func (*unknownError) Timeout() bool   { return true }
func (*unknownError) Temporary() bool { return true }
