package device

// setUp says whether the module answers, and reports whether that is news.
func (m *Meter) setUp(up bool) bool {
	m.mu.Lock()
	changed := m.up != up
	m.up = up
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
	if m.setBroken(true) {
		m.cfg.Logger.Error("the log cannot be written; a restart judges it anew", "err", err)
	}
}

func (m *Meter) setBroken(broken bool) (changed bool) {
	m.mu.Lock()
	changed = m.broken != broken
	m.broken = broken
	m.mu.Unlock()
	if changed {
		m.news.announce()
	}
	return changed
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
