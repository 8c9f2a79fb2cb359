package refbroker

import "rmqbench/refbroker/internal/filter"

// SQLFilter is an SQL92 expression over the properties of a message, as brokers
// evaluate it.
type SQLFilter = filter.Filter

// CompileSQL compiles an expression. Its errors are those that a broker answers
// with.
func CompileSQL(expression string) (*SQLFilter, error) { return filter.Compile(expression) }
