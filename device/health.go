package device

// setUp says whether the module answers, and reports whether that is news.
func (m *Meter) setUp(up bool) bool { return m.setHealth(&m.up, up) }

// setHealth sets a part of the meter's health, and announces and reports a change.
func (m *Meter) setHealth(part *bool, to bool) (changed bool) {
	m.mu.Lock()
	changed = *part != to
	*part = to
	m.mu.Unlock()
	if changed {
		m.news.announce()
	}
	return changed
}

func (m *Meter) moduleUp() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

// storageFailed says that the store did not take a record or a seal. The meter
// goes on metering, and tells of it in its fault status.
func (m *Meter) storageFailed(err error) {
	if m.setHealth(&m.broken, true) {
		m.cfg.Logger.Error("the log cannot be written; a restart judges it anew", "err", err)
	}
}

// fault returns the code of property 89.
func (m *Meter) fault() uint16 {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.broken:
		return faultStore
	case !m.up:
		return faultModule
	}
	return 0
}
