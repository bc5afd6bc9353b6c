package controller

import (
	"context"
	"errors"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// cursorWay is how a meter takes a cursor: in a SetGet, or in a SetC before a
// Get, for those that know no SetGet.
type cursorWay struct {
	works bool // a SetGet has been answered
	split bool // SetC and Get are used
}

var windowEPCs = [meter.Windows]byte{meter.EPCWindow0, meter.EPCWindow0 + 1, meter.EPCWindow0 + 2, meter.EPCWindow3}

// errWindow: the answer holds no window at the cursor that was asked for.
var errWindow = errors.New("controller: no window at the cursor asked for")

// windows reads n windows at the cursor and returns the bytes of those that
// follow each other, at least one window. A window belongs to the cursor that
// it shows, whatever was asked for; that of another reader's is no answer.
func (c *Collector) windows(ctx context.Context, at meter.Cursor, n int) (data []byte, err error) {
	try := func() error {
		ps, err := c.ask(ctx, at, n)
		if err != nil {
			return err
		}
		data, err = join(ps, at, n)
		if err != nil {
			c.stats.Failures++
		}
		return err
	}
	err = c.retry(ctx, try)
	if err == nil || final(ctx, err) || c.cursor.works || c.cursor.split {
		return data, err
	}
	c.cursor.split = true // a meter that has never answered a SetGet may not know it
	if err = c.retry(ctx, try); err != nil {
		c.cursor.split = false
	}
	return data, err
}

// ask sets the cursor and asks for n windows. ErrRefused: the meter has nothing
// there.
func (c *Collector) ask(ctx context.Context, at meter.Cursor, n int) ([]echonet.Property, error) {
	epcs := windowEPCs[:n]
	edt, err := at.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	if !c.cursor.split {
		ps, err := c.end.setGet(ctx, meter.EPCCursor, edt, epcs...)
		err = c.count(refused(err, meter.EPCCursor))
		if !errors.Is(err, ErrRefused) || c.cursor.works {
			c.cursor.works = c.cursor.works || err == nil
			return ps, err
		}
		// Refused was the cursor, or SetGet as such: SetC tells.
	}
	if err := c.count(refused(c.end.setC(ctx, meter.EPCCursor, edt), meter.EPCCursor)); err != nil {
		return nil, err
	}
	c.cursor.split = true
	ps, err := c.end.get(ctx, epcs...)
	var sna *echonet.SNAError
	if errors.As(err, &sna) {
		err = nil
	}
	return ps, c.count(err)
}

// join returns the bytes of the windows that follow each other from the cursor.
func join(ps []echonet.Property, at meter.Cursor, n int) ([]byte, error) {
	data := make([]byte, 0, n*meter.WindowSize)
	for i := range n {
		edt, _ := echonet.Find(ps, meter.EPCWindow0+byte(i))
		shown, window, err := meter.ParseWindow(edt)
		if err != nil || shown != at.Window(i) {
			break
		}
		data = append(data, window...)
		if len(window) < meter.WindowSize {
			break
		}
	}
	if len(data) == 0 {
		return nil, errWindow
	}
	return data, nil
}
