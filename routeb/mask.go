package routeb

import "strings"

// masker hides credentials in text that is to be logged or put into an error.
type masker struct{ secrets *strings.Replacer }

func newMasker(c Credentials) masker {
	return masker{strings.NewReplacer(c.ID, "********", c.Password, "********")}
}

// command hides the arguments of the commands that carry secrets, and secrets anywhere else.
func (m masker) command(s string) string {
	word, args, _ := strings.Cut(strings.TrimSpace(s), " ")
	if args != "" && strings.HasPrefix(word, "SKSETP") || strings.HasPrefix(word, "SKSETR") {
		return word + " ********"
	}
	return m.secrets.Replace(strings.TrimSpace(s))
}
