// Command watchroute serves resources that can be read, written and watched, and
// is a client of such a server. `watchroute --help` lists its commands, and
// docs/operations.md documents its settings.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/watchroute/watchroute/server/config"
)

// commands is the command line.
type commands struct {
	Config string `name:"config" env:"WATCHROUTE_CONFIG" placeholder:"FILE" help:"File with settings. Default: ./watchroute.yaml, where there is one."`

	Serve   serveCommand       `cmd:"" help:"Run a node."`
	Get     getCommand         `cmd:"" help:"Show one resource."`
	List    listCommand        `cmd:"" help:"Show the resources of a collection."`
	Watch   watchCommand       `cmd:"" help:"Show a collection, or some resources, and every change of them."`
	Put     putCommand         `cmd:"" help:"Create or replace a resource."`
	Delete  deleteCommand      `cmd:"" help:"Remove a resource."`
	Keys    keysCommand        `cmd:"" help:"Make API keys."`
	Grants  grantsCommand      `cmd:"" help:"Answer who asks to watch."`
	Revoke  revokeCommand      `cmd:"" help:"Revoke a token, a key, a subject or an address, at once."`
	Sources sourcesCommand     `cmd:"" help:"Show and change where events are taken from."`
	Dead    deadlettersCommand `cmd:"" name:"deadletters" help:"Show events that could not be applied, and try them again."`
	Demo    demoCommand        `cmd:"" help:"Run a node with the shop contract and a feed of orders, and say how to look at it."`
	Protos  protosCommand      `cmd:"" help:"Write the protos that a contract of one's own imports into a folder."`
	Version versionCommand     `cmd:"" help:"Show the version."`
}

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Environ(), &terminal{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run runs one command line until it is done or ctx ends, and gives the exit
// code: 0, 1 for what went wrong, 2 for a command line that cannot be read.
func run(ctx context.Context, args, environ []string, term *terminal) (code int) {
	// kong ends the process after --help; here it ends run.
	type exit int
	defer func() {
		if p := recover(); p != nil {
			status, ok := p.(exit)
			if !ok {
				panic(p)
			}
			code = int(status)
		}
	}()
	parser, err := kong.New(&commands{},
		kong.Name("watchroute"), kong.Description("Every resource has a Get; any resource may also have a Watch."),
		kong.Writers(term.out, term.err), kong.Exit(func(status int) { panic(exit(status)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(term),
		config.Sources(environ))
	if err != nil {
		fmt.Fprintf(term.err, "error: %v\n", err)
		return 2
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(term.err, "error: %v\n", err)
		return 2
	}
	if err := command.Run(); err != nil {
		fmt.Fprint(term.err, explain(err))
		return 1
	}
	return 0
}
