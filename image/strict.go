package image

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parseJSON reads a document that somebody else wrote. What two parsers could
// understand in two ways is refused, or not believed: a name that occurs twice
// in an object is an error, and names count as they are spelt, while
// encoding/json takes the last of several and "LAYERS" for layers. Nesting ends
// at a depth of 10,000. Bytes that are not UTF-8, as in descriptions of old
// images, are nothing to fail for.
func parseJSON(text []byte, v any) error {
	return json.Unmarshal(text, v, jsontext.AllowInvalidUTF8(true))
}
