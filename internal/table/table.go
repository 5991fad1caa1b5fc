// Package table is a list of results on its way to a template of Go's.
//
// A template sees a row as its JSON is, with docker's names whatever the type:
// see package template.
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
