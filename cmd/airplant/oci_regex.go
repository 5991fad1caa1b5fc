//go:build !small

package main

import (
	"errors"
	"fmt"
	"regexp"

	"airplant/lifecycle"
)

// matching does something with each container whose name matches, anywhere in
// it, as crun has it. One that goes meanwhile is no error.
func matching(r *lifecycle.Runtime, pattern string, do func(id string) error) error {
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("--regex: %w", err)
	}
	list, err := r.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if !expression.MatchString(s.ID) {
			continue
		}
		if err := do(s.ID); !errors.Is(err, lifecycle.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
