package postgres

import (
	"fmt"
	"strings"
)

// rows is the part of a statement that makes rows of arrays of the same
// length, the parameters from first on. columns gives their names and, but for
// a bigint, their types: "id, name text". From unnest the server would write
// each array into a table of its own first, which costs a small statement more
// than all the rest of it.
func rows(first int, columns string) string {
	var b strings.Builder
	for i, column := range strings.Split(columns, ", ") {
		name, kind, ok := strings.Cut(column, " ")
		if !ok {
			kind = "bigint"
		}
		fmt.Fprintf(&b, ", ($%d::%s[])[i] AS %s", first+i, kind, name)
		if i == 0 {
			columns = fmt.Sprintf("$%d::%s[]", first, kind)
		}
	}
	return fmt.Sprintf("(SELECT %s FROM generate_subscripts(%s, 1) AS i)", b.String()[2:], columns)
}

// params counts the parameters of a statement while it is put together.
type params int

// rows makes rows of the next parameters.
func (p *params) rows(columns string) string {
	made := rows(int(*p)+1, columns)
	*p += params(strings.Count(columns, ",") + 1)
	return made
}
