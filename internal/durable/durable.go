// Package durable is the few file operations that a log with a promise needs,
// each with a clear moment from which its effect survives a power cut.
//
// The effect of a write or truncation is durable once Sync of the file has
// returned; that of a create, rename or remove once SyncDir has. Until then
// it may survive or not, in any order between files.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// FS is one flat directory. Names are plain file names. Errors for a missing
// file satisfy errors.Is(err, fs.ErrNotExist).
type FS interface {
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Create makes a file that must not exist yet.
	Create(name string) (File, error)
	// Remove deletes a file.
	Remove(name string) error
	// Rename moves a file over another, which is replaced at once or not at all.
	Rename(oldName, newName string) error
	// List returns the names of the regular files, sorted.
	List() ([]string, error)
	// SyncDir makes creates, renames and removes durable.
	SyncDir() error
}

// File is an open file. Its methods may be called concurrently; a read that
// races with Close fails with an error that satisfies errors.Is(err, fs.ErrClosed).
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate cuts or extends with zeros to size bytes.
	Truncate(size int64) error
	// Sync makes what was written, and the length, durable. After an error
	// nobody knows what is durable, and a later Sync that succeeds does not
	// tell either.
	Sync() error
}

// TempExt ends the name of a file that WriteFile has not finished. Whoever
// owns the directory may remove such files at start.
const TempExt = ".tmp"

// ErrUnsure says that WriteFile has replaced the content, but that nobody
// knows whether the old or the new one is there after a power cut.
var ErrUnsure = errors.New("durable: the directory was not synced")

// WriteFile replaces the content of a file so that after a power cut either
// the old or the new content is there. When it returns nil the new content is
// durable; after any error but ErrUnsure the old content stands.
func WriteFile(fsys FS, name string, data []byte) error {
	temp := name + TempExt
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("durable: write %s: %w", name, err)
	}
	if err := writeSynced(fsys, temp, data); err != nil {
		return fmt.Errorf("durable: write %s: %w", name, err)
	}
	if err := fsys.Rename(temp, name); err != nil {
		return fmt.Errorf("durable: write %s: %w", name, err)
	}
	if err := fsys.SyncDir(); err != nil {
		return fmt.Errorf("durable: write %s: %w: %w", name, ErrUnsure, err)
	}
	return nil
}

func writeSynced(fsys FS, name string, data []byte) (err error) {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}

// ReadFile returns the content of a file of at most limit bytes; a larger one
// is an error.
func ReadFile(fsys FS, name string, limit int64) (data []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("durable: read %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("durable: read %s: %w", name, err)
	}
	if size > limit {
		return nil, fmt.Errorf("durable: read %s: %d bytes, more than %d", name, size, limit)
	}
	data = make([]byte, size)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("durable: read %s: %w", name, err)
	}
	return data, nil
}
