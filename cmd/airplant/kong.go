//go:build !small

package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// parse builds the grammar of the command that the arguments name and parses
// them. done is set when help was printed.
func (f *face) parse(args []string, out io.Writer) (ctx *kong.Context, done bool, err error) {
	options := []kong.Option{
		kong.Name(f.name), kong.Description(f.help), kong.Writers(out, out),
		kong.Exit(func(int) { done = true }),
		kong.ConfigureHelp(kong.HelpOptions{NoExpandSubcommands: true, Compact: true}),
	}
	name, _ := f.named(args)
	for _, c := range f.commands {
		if c.name == name || f.index(name) < 0 {
			options = append(options, kong.DynamicCommand(c.name, c.help, "", c.grammar()))
		}
	}
	parser, err := kong.New(f.globals, options...)
	if err != nil {
		return nil, false, fmt.Errorf("grammar of %s: %w", f.name, err)
	}
	ctx, err = parser.Parse(args)
	if done {
		return nil, true, nil
	}
	return ctx, false, err
}

// slow runs a command by kong, which knows all forms of a command line, help
// and what is wrong with one.
func (f *face) slow(args []string, e *env, with ...any) error {
	ctx, done, err := f.parse(args, e.stdout)
	if err != nil {
		return &exited{fmt.Errorf("%w; see `%s --help`", err, f.name), f.usage}
	}
	if done {
		return nil
	}
	return ctx.Run(append([]any{e}, with...)...)
}
