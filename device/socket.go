package device

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// ErrNotRunning says that no meter runs on the state directory.
var ErrNotRunning = errors.New("device: no meter is running")

// The protocol of the event socket: a client sends one line of JSON, gets one
// line of JSON, and the connection ends.
const (
	maxLine       = 4096
	maxClients    = 16
	clientTimeout = 10 * time.Second // for each direction
)

// eventRequest is what the client sends.
type eventRequest struct {
	Event   string `json:"event"`             // [CLASS/]CODE, see eventlog.ParseEvent
	Payload string `json:"payload,omitempty"` // hexadecimal
}

// eventReply is what it gets: one of the two.
type eventReply struct {
	Recorded *Recorded `json:"recorded,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// SendEvent makes an event happen on the meter that runs on the state directory
// dir, as Meter.Record does there. It fails with ErrNotRunning if none runs.
func SendEvent(ctx context.Context, dir string, e eventlog.Event, payload []byte) (Recorded, error) {
	path, done, err := socketPath(dir)
	if err != nil {
		return Recorded{}, err
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return Recorded{}, fmt.Errorf("%w in %s", ErrNotRunning, dir)
		}
		return Recorded{}, fmt.Errorf("device: event socket: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	rec, err := exchange(conn, eventRequest{fmt.Sprintf("%d/%d", uint8(e.Class), e.Code), hex.EncodeToString(payload)})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("device: event socket: %w", ctx.Err())
	}
	return rec, err
}

func exchange(conn net.Conn, req eventRequest) (Recorded, error) {
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return Recorded{}, fmt.Errorf("device: event socket: %w", err)
	}
	var reply eventReply
	if err := json.NewDecoder(io.LimitReader(conn, maxLine)).Decode(&reply); err != nil {
		return Recorded{}, fmt.Errorf("device: event socket: the meter went away: %w", err)
	}
	if reply.Recorded == nil {
		return Recorded{}, fmt.Errorf("device: the running meter refuses: %s", strings.TrimPrefix(reply.Error, "device: "))
	}
	return *reply.Recorded, nil
}

// serveEvents answers the clients of the event socket until ctx ends.
func (m *Meter) serveEvents(ctx context.Context) error {
	path, done, err := socketPath(m.cfg.Dir)
	if err != nil {
		return err
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // left behind by a killed process; the lock is ours
		return fmt.Errorf("device: event socket: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("device: event socket: %w", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	m.setReady()

	var clients sync.WaitGroup
	defer clients.Wait()
	slots := make(chan struct{}, maxClients)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("device: event socket: %w", err)
		}
		select {
		case slots <- struct{}{}:
			clients.Go(func() {
				defer conn.Close() // after the slot is free, for who sees it may come again
				m.serveClient(ctx, conn)
				<-slots
			})
		default:
			conn.SetDeadline(time.Unix(1, 0))
			conn.Close()
		}
	}
}

// serveClient answers one request. Whatever it gets, the client learns of it
// and nobody else.
func (m *Meter) serveClient(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	conn.SetReadDeadline(time.Now().Add(clientTimeout))
	var reply eventReply
	if rec, err := m.handleLine(ctx, conn); err != nil {
		reply.Error = err.Error()
	} else {
		reply.Recorded = &rec
	}
	conn.SetWriteDeadline(time.Now().Add(clientTimeout))
	if err := json.NewEncoder(conn).Encode(reply); err != nil {
		m.cfg.Logger.Debug("event socket", "err", err)
	}
}

func (m *Meter) handleLine(ctx context.Context, conn net.Conn) (Recorded, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(conn, maxLine), maxLine).ReadSlice('\n')
	if err != nil {
		return Recorded{}, fmt.Errorf("device: no request of one line, at most %d bytes", maxLine)
	}
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.DisallowUnknownFields()
	var req eventRequest
	if err := d.Decode(&req); err != nil {
		return Recorded{}, fmt.Errorf("device: request: %w", err)
	}
	if d.More() {
		return Recorded{}, errors.New("device: request: something follows it")
	}
	e, err := eventlog.ParseEvent(req.Event)
	if err != nil {
		return Recorded{}, err
	}
	payload, err := hex.DecodeString(req.Payload)
	if err != nil {
		return Recorded{}, fmt.Errorf("device: payload: %w", err)
	}
	return m.Record(ctx, e, payload)
}
