package durable

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir returns the directory at path, which must exist. Files are created with
// mode 0600.
func Dir(path string) (FS, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("durable: %s is not a directory", path)
	}
	return dir(path), nil
}

type dir string

func (d dir) Open(name string) (File, error)   { return d.open(name, os.O_RDWR) }
func (d dir) Create(name string) (File, error) { return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

func (d dir) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d dir) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d dir) Rename(oldName, newName string) error {
	return os.Rename(filepath.Join(string(d), oldName), filepath.Join(string(d), newName))
}

func (d dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d dir) SyncDir() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Sync() error { return syncData(f.File) }
