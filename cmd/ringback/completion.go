package main

import (
	"github.com/spf13/cobra"
)

// newCompletionCommand prints the script that makes a shell complete command
// lines of ringback.
func newCompletionCommand(e *env) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "print the script with which a shell completes commands and flags",
		Long: "Prints a script that makes bash, zsh, fish or powershell complete the commands,\n" +
			"flags and values of ringback. Load it in the start-up file of the shell, or put\n" +
			"it where the shell looks for completions.",
		Example: "  source <(ringback completion bash)                                         # this bash\n" +
			"  ringback completion bash > /etc/bash_completion.d/ringback                 # every bash\n" +
			"  ringback completion zsh > \"${fpath[1]}/_ringback\"\n" +
			"  ringback completion fish > ~/.config/fish/completions/ringback.fish\n" +
			"  ringback completion powershell | Out-String | Invoke-Expression",
		Args:      oneArg("SHELL", shells...),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.stdout, true)
			case "zsh":
				return root.GenZshCompletion(e.stdout)
			case "fish":
				return root.GenFishCompletion(e.stdout, true)
			}
			return root.GenPowerShellCompletionWithDesc(e.stdout)
		},
	}
}
