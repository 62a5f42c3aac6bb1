// Command goaoe is an ATA over Ethernet storage target.
package main

import (
	"os"

	"goaoe/internal/cli"
)

func main() { os.Exit(cli.MainAs(os.Args[0], os.Args[1:], os.Stdout, os.Stderr)) }
