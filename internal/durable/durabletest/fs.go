// Package durabletest is a disk in memory whose power can be cut at any
// operation, and whose writes and syncs can be made to fail. It keeps apart
// what a program sees and what a power cut leaves: every state that a disk may
// be in afterwards can be had.
package durabletest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/meterseal/meterseal/internal/durable"
)

// ErrPowerCut is the result of the operation that the power cut hits, and of
// all later ones.
var ErrPowerCut = errors.New("durabletest: the power is off")

// Kind is the kind of an operation that changes the disk.
type Kind string

// The operations.
const (
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
	Create   Kind = "create"
	Remove   Kind = "remove"
	Rename   Kind = "rename"
	SyncDir  Kind = "syncdir"
)

// Op is one operation as it was asked for.
type Op struct {
	Kind Kind
	Name string
	Size int // bytes of a write
}

// FS is the disk. It implements [durable.FS].
type FS struct {
	mu    sync.Mutex
	names map[string]*inode // the directory as the program sees it
	disk  map[string]*inode // as the last SyncDir left it
	moves []move            // changes since then, in order
	ops   []Op

	cutAt int    // power goes off in this operation, from 1; 0 = never
	off   bool   // the power is off
	torn  *inode // whose last change the power cut hit; nil = none
	fail  map[int]failure
	bad   map[string]error // files that cannot be read
}

type failure struct {
	err  error
	keep int
}

// move is a change of the directory: name becomes node, nil = removed.
type move struct {
	name string
	node *inode
	with *move // happens together with this one; a rename is two
}

// inode is a file. What is on the disk for certain, and the changes since
// then, of which each may reach the disk or not.
type inode struct {
	data    []byte // as the program sees it
	disk    []byte
	pending []change
}

// change is an unsynced write, or a truncation if data is nil.
type change struct {
	off  int
	data []byte
}

// New returns an empty disk.
func New() *FS {
	return &FS{names: map[string]*inode{}, disk: map[string]*inode{}, fail: map[int]failure{}, bad: map[string]error{}}
}

// CutAt cuts the power in the n-th operation, counted from 1 since New,
// Restart or Reopen. A write may then be torn; any other operation does not
// happen.
func (d *FS) CutAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = n
}

// Torn returns the size in bytes of the write that the power cut hit, 0 if it
// hit none.
func (d *FS) Torn() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.torn == nil {
		return 0
	}
	return len(d.torn.pending[len(d.torn.pending)-1].data)
}

// FailAt makes the n-th operation, counted from 1, fail with err; of a write,
// keep bytes are written before. What a failed sync was to make durable is
// lost for good, although the program still sees it.
func (d *FS) FailAt(n int, err error, keep int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[n] = failure{err, keep}
}

// FailReads makes each read of a file fail with err, until err is nil.
func (d *FS) FailReads(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad[name] = err
}

// Ops returns the operations so far.
func (d *FS) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ops)
}

// Outcomes returns how many states the disk may be in after a power cut now.
func (d *FS) Outcomes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.steps() + 1
	for _, node := range d.nodes() {
		for _, c := range node.pending {
			n *= c.outcomes()
		}
	}
	return n
}

// outcomes: the change is lost, or done, or, if it is a write, only its bytes
// are lost and the file has grown.
func (c change) outcomes() int {
	if c.data == nil {
		return 2
	}
	return 3
}

// Restart returns the disk as outcome i, from 0 to Outcomes()-1, of a power
// cut now. The last outcome is that all is done. Of the write that the power
// cut hit, the first keep bytes count, at most Torn().
func (d *FS) Restart(i, keep int) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	nodes := d.nodes()
	content := map[*inode][]byte{}
	for _, node := range nodes {
		b := slices.Clone(node.disk)
		for at, c := range node.pending {
			outcome := i % c.outcomes()
			i /= c.outcomes()
			if node == d.torn && at == len(node.pending)-1 {
				if keep == 0 {
					continue
				}
				c.data = c.data[:keep]
			}
			b = c.apply(b, outcome)
		}
		content[node] = b
	}
	names := maps.Clone(d.disk)
	for _, m := range d.moves {
		if m.with == nil {
			if i == 0 {
				break
			}
			i--
		}
		m.apply(names)
	}
	after := New()
	for name, node := range names {
		n := &inode{data: slices.Clone(content[node]), disk: content[node]}
		after.names[name], after.disk[name] = n, n
	}
	return after
}

// Reopen returns the disk as another process finds it after this one was
// killed while the power stayed on: all that was written is seen, and what was
// not synced is still not durable.
func (d *FS) Reopen() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	return &FS{names: d.names, disk: d.disk, moves: d.moves, fail: map[int]failure{}, bad: map[string]error{}}
}

// nodes returns all files that any outcome may have, in a fixed order.
func (d *FS) nodes() []*inode {
	var nodes []*inode
	add := func(n *inode) {
		if n != nil && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.disk)) {
		add(d.disk[name])
	}
	for _, m := range d.moves {
		add(m.node)
	}
	return nodes
}

// steps returns the number of directory changes, each of which may be the
// first that is lost; a journal keeps their order.
func (d *FS) steps() int {
	n := 0
	for _, m := range d.moves {
		if m.with == nil {
			n++
		}
	}
	return n
}

func (m move) apply(names map[string]*inode) {
	if m.node == nil {
		delete(names, m.name)
	} else {
		names[m.name] = m.node
	}
}

// apply returns b after the change: outcome 0 lost, 1 grown without its bytes
// (a write), last done.
func (c change) apply(b []byte, outcome int) []byte {
	switch {
	case outcome == 0:
		return b
	case c.data == nil:
		return resize(b, c.off)
	}
	if end := c.off + len(c.data); end > len(b) {
		b = resize(b, end)
	}
	if outcome == 2 {
		copy(b[c.off:], c.data)
	}
	return b
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// step counts an operation. The error is ErrPowerCut or one asked for, and
// keep says how many bytes of a write happen before it.
func (d *FS) step(op Op) (keep int, err error) {
	if d.off {
		return 0, ErrPowerCut
	}
	d.ops = append(d.ops, op)
	n := len(d.ops)
	if n == d.cutAt {
		d.off = true
		return op.Size, ErrPowerCut
	}
	if f, ok := d.fail[n]; ok {
		return min(f.keep, op.Size), fmt.Errorf("durabletest: %s %s: %w", op.Kind, op.Name, f.err)
	}
	return op.Size, nil
}

func (d *FS) missing(op Kind, name string) error {
	return &fs.PathError{Op: string(op), Path: name, Err: fs.ErrNotExist}
}

// Open implements [durable.FS].
func (d *FS) Open(name string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, ErrPowerCut
	}
	node, ok := d.names[name]
	if !ok {
		return nil, d.missing("open", name)
	}
	return &file{fs: d, name: name, node: node}, nil
}

// Create implements [durable.FS].
func (d *FS) Create(name string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if _, err := d.step(Op{Create, name, 0}); err != nil {
		return nil, err
	}
	node := &inode{}
	d.names[name] = node
	d.moves = append(d.moves, move{name: name, node: node})
	return &file{fs: d, name: name, node: node}, nil
}

// Remove implements [durable.FS].
func (d *FS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; !ok && !d.off {
		return d.missing(Remove, name)
	}
	if _, err := d.step(Op{Remove, name, 0}); err != nil {
		return err
	}
	delete(d.names, name)
	d.moves = append(d.moves, move{name: name})
	return nil
}

// Rename implements [durable.FS].
func (d *FS) Rename(oldName, newName string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, ok := d.names[oldName]
	if !ok && !d.off {
		return d.missing(Rename, oldName)
	}
	if _, err := d.step(Op{Rename, newName, 0}); err != nil {
		return err
	}
	delete(d.names, oldName)
	d.names[newName] = node
	first := move{name: newName, node: node}
	d.moves = append(d.moves, first, move{name: oldName, with: &first})
	return nil
}

// List implements [durable.FS].
func (d *FS) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, ErrPowerCut
	}
	return slices.Sorted(maps.Keys(d.names)), nil
}

// SyncDir implements [durable.FS].
func (d *FS) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step(Op{SyncDir, "", 0}); err != nil {
		return err
	}
	d.disk, d.moves = maps.Clone(d.names), nil
	return nil
}

type file struct {
	fs     *FS
	name   string
	node   *inode
	closed bool
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	switch {
	case f.closed:
		return 0, fs.ErrClosed
	case f.fs.off:
		return 0, ErrPowerCut
	case f.fs.bad[f.name] != nil:
		return 0, f.fs.bad[f.name]
	case off >= int64(len(f.node.data)):
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	keep, err := f.fs.step(Op{Write, f.name, len(p)})
	if keep > 0 {
		f.node.change(change{int(off), slices.Clone(p[:keep])})
	}
	if errors.Is(err, ErrPowerCut) {
		if keep > 0 {
			f.fs.torn = f.node
		}
		return 0, err
	}
	return keep, err
}

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	if _, err := f.fs.step(Op{Truncate, f.name, 0}); err != nil {
		return err
	}
	f.node.change(change{off: int(size)})
	return nil
}

// change makes a change visible and leaves it pending.
func (n *inode) change(c change) {
	n.data = c.apply(n.data, c.outcomes()-1)
	n.pending = append(n.pending, c)
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	if _, err := f.fs.step(Op{Sync, f.name, 0}); err != nil {
		if !errors.Is(err, ErrPowerCut) {
			f.node.pending = nil
		}
		return err
	}
	for _, c := range f.node.pending {
		f.node.disk = c.apply(f.node.disk, c.outcomes()-1)
	}
	f.node.pending = nil
	return nil
}

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	return int64(len(f.node.data)), nil
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
