// Package table is a list of results on its way to a template of Go's.
//
// Package text/template costs the start of a program that links it, so that
// the main program writes a table, and one that it carries prints it: see
// package template.
package table

// Table is a list of objects and how to print each.
type Table struct {
	// Template is that of --format: of package text/template, perhaps after
	// the word "table", or the word "json".
	Template string `json:"template"`
	// Header gives the heading of each field.
	Header map[string]string `json:"header,omitempty"`
	// Rows are the objects, by the names of their fields.
	Rows []any `json:"rows"`
}
