//! `whub completions SHELL`.

use clap::{Args, CommandFactory, ValueEnum};

use crate::{cli::Cli, exit::Failure, output};

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  source <(whub completions bash)
  whub completions zsh > \"${fpath[1]}/_whub\"
  whub completions fish > ~/.config/fish/completions/whub.fish";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "whub", &mut script);
        output::write(&script)
    }
}
