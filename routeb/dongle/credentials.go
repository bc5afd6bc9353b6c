package dongle

import "strings"

func (t *text) setPassword(a []string) answer {
	n, ok := hexUpTo(a[0], 2, 1, 32)
	if !ok || len(a[1]) > int(n) {
		return fail(wrongArgument)
	}
	t.cred.Password = a[1] + strings.Repeat("?", int(n)-len(a[1])) // the rest is undefined
	return answer{}
}

func (t *text) setID(a []string) answer {
	if len(a[0]) > 32 {
		return fail(wrongArgument)
	}
	t.cred.ID = a[0] + strings.Repeat("?", 32-len(a[0]))
	t.reg["S0A"] = t.cred.PairID()
	return answer{}
}

func (t *text) setKey(a []string) answer {
	if a[0] != "10" || len(a[1]) != 32 {
		return fail(wrongArgument)
	}
	t.cred.Password = a[1] // no meter knows it: keys are derived from passwords
	return answer{}
}
