package protocol

// Language is the language of the program that sent a command: RocketMQ's
// LanguageCode, a byte in the binary header and a name in the JSON one.
type Language uint8

// The languages that RocketMQ knows.
const (
	LanguageJava Language = iota
	LanguageCPP
	LanguageDotNet
	LanguagePython
	LanguageDelphi
	LanguageErlang
	LanguageRuby
	LanguageOther
	LanguageHTTP
	LanguageGo
	LanguagePHP
	LanguageOMS
	LanguageRust
	LanguageNodeJS
)

// LanguageUnknown stands for a name that is not in the table.
const LanguageUnknown Language = 255

var languageNames = [...]string{
	"JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER",
	"HTTP", "GO", "PHP", "OMS", "RUST", "NODE_JS",
}

// String returns the name that travels in JSON headers.
func (l Language) String() string {
	if int(l) < len(languageNames) {
		return languageNames[l]
	}
	return "UNKNOWN"
}

// ParseLanguage returns the language of a name, LanguageUnknown if there is none.
func ParseLanguage(name string) Language {
	for i, n := range languageNames {
		if n == name {
			return Language(i)
		}
	}
	return LanguageUnknown
}
