package main_test

import "testing"

// TestImage tells what people do with images apart from running them.
func TestImage(t *testing.T) { tell(t, "image-*.txtar") }
