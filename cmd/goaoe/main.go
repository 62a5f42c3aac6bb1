// Command goaoe is an ATA over Ethernet storage target.
package main

import (
	"os"

	"goaoe/internal/cli"
)

func main() { os.Exit(cli.Process(os.Args, os.Stdout, os.Stderr)) }
