package dongle

import "maps"

// flash is what outlives a loss of power.
type flash struct {
	wopt, wuart byte
	saved       map[string]string // nil = nothing saved
	writes      int
}

// store writes a byte of flash memory.
func (t *text) store(b *byte, arg string, limit uint64) answer {
	v, ok := hexUpTo(arg, 2, 0, limit)
	if !ok {
		return fail(wrongArgument)
	}
	*b = byte(v)
	t.flash.writes++
	return answer{}
}

func (t *text) save([]string) answer {
	t.flash.saved = maps.Clone(t.reg)
	t.flash.writes++
	return answer{}
}

func (t *text) load([]string) answer {
	if t.flash.saved == nil {
		return fail(cannot)
	}
	t.reg = maps.Clone(t.flash.saved)
	return answer{}
}

func (t *text) erase([]string) answer {
	t.flash.saved = nil
	t.flash.writes++
	return answer{}
}
