//go:build linux || darwin || freebsd

package dongle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// PTY is a pseudo-terminal with a name that does not change.
type PTY struct {
	master, slave *os.File
	link          string
}

// OpenPTY makes a raw pseudo-terminal and, unless link is empty, a symbolic link to its slave, in place of a link that is
// there already. Anything else there is an error that wraps fs.ErrExist.
func OpenPTY(link string) (*PTY, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("dongle: pseudo-terminal: %w", err)
	}
	if master, err = pollable(master); err != nil {
		return nil, errors.Join(fmt.Errorf("dongle: pseudo-terminal: %w", err), slave.Close())
	}
	// The slave stays open, so that a host may come and go. Raw, or it would echo every byte.
	p := &PTY{master: master, slave: slave}
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("dongle: pseudo-terminal: %w", err), p.Close())
	}
	if link == "" {
		return p, nil
	}
	if err := replaceLink(slave.Name(), link); err != nil {
		return nil, errors.Join(fmt.Errorf("dongle: link: %w", err), p.Close())
	}
	p.link = link
	return p, nil
}

// pollable replaces f by a file that Close wakes from a Read, whoever has the slave open.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, f.Close(), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), f.Name()), f.Close()
}

func replaceLink(target, link string) error {
	info, err := os.Lstat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink == 0:
		return &fs.PathError{Op: "symlink", Path: link, Err: fs.ErrExist}
	}
	dir, err := os.MkdirTemp(filepath.Dir(link), ".pty")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fresh := filepath.Join(dir, "link")
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}

// Name returns the path of the slave.
func (p *PTY) Name() string { return p.slave.Name() }

// Baud returns the rate that the host has set, in bit/s; 0 if it is none that modules know.
func (p *PTY) Baud() (rate int) {
	c, err := p.slave.SyscallConn() // not Fd, which Close races with
	if err == nil {
		err = c.Control(func(fd uintptr) { rate = baud(int(fd)) })
	}
	if err != nil {
		return 0
	}
	return rate
}

// Read reads what the host wrote.
func (p *PTY) Read(b []byte) (int, error) { return p.master.Read(b) }

// Write writes to the host. It waits while the host does not read.
func (p *PTY) Write(b []byte) (int, error) { return p.master.Write(b) }

// Close hangs up and removes the link if it is still ours.
func (p *PTY) Close() error {
	if target, err := os.Readlink(p.link); err == nil && target == p.slave.Name() {
		_ = os.Remove(p.link) // a link that stays dangles, which a host takes for an unplugged device
	}
	return errors.Join(p.master.Close(), p.slave.Close())
}
