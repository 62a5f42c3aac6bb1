package cli

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"
)

const completionLong = `Print a script that lets the shell complete commands, flags, exports of the running daemon, interfaces, settings and files.
The packages install it. By hand:

  bash   goaoe completion bash > /etc/bash_completion.d/goaoe        (needs the package bash-completion)
  zsh    goaoe completion zsh > /usr/local/share/zsh/site-functions/_goaoe
  fish   goaoe completion fish > ~/.config/fish/completions/goaoe.fish

A new shell has it; or for this one:  source <(goaoe completion bash)`

func newCompletionCmd(env *Env) *cobra.Command {
	shells := map[string]func(root *cobra.Command) (string, error){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print a script for the completion of a shell",
		Long:      completionLong,
		GroupID:   groupTools,
		Args:      args(cobra.ExactArgs(1), "one of bash, zsh, fish"),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, list []string) error {
			write := shells[list[0]]
			if write == nil {
				return Usagef("there is no completion for %q", list[0]).WithHint("it is one of bash, zsh, fish")
			}
			script, err := write(cmd.Root())
			if err != nil {
				return Failf("%w", err)
			}
			_, err = env.Stdout.Write([]byte(script))
			return err
		},
	}
}

// bashEquals makes KEY=VALUE words complete: bash takes what is behind the = for the word, so the candidates must not repeat what is
// before it.
const bashEquals = `
__goaoe_ltrim_equals()
{
    [[ $1 == *=* && $COMP_WORDBREAKS == *=* && $1 != -* ]] || return 0
    local head=${1%"${1##*=}"} i
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=${COMPREPLY[i]#"$head"}
    done
}
`

func bashCompletion(root *cobra.Command) (string, error) {
	var b bytes.Buffer
	if err := root.GenBashCompletionV2(&b, true); err != nil {
		return "", err
	}
	const last = "    __goaoe_process_completion_results\n}"
	return strings.Replace(b.String(), last, strings.TrimSuffix(last, "}")+"    __goaoe_ltrim_equals \"$cur\"\n}"+bashEquals, 1), nil
}

func zshCompletion(root *cobra.Command) (string, error) {
	var b bytes.Buffer
	err := root.GenZshCompletion(&b)
	return b.String(), err
}

func fishCompletion(root *cobra.Command) (string, error) {
	var b bytes.Buffer
	err := root.GenFishCompletion(&b, true)
	return b.String(), err
}
