//! `portolan completions` and `portolan man`: what shells and `man` know of the commands.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Args, ExitStatus, Printer};

/// For which shell.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  portolan completions bash > /etc/bash_completion.d/portolan
  source <(portolan completions zsh)
  portolan completions fish > ~/.config/fish/completions/portolan.fish

Exit codes:
  0  the script was written
  2  it could not be")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Where the pages go.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  portolan man | man -l -
  portolan man --dir /usr/local/share/man/man1

Exit codes:
  0  the page was written, or all of them
  2  it could not be")]
pub(super) struct ManArgs {
    /// Folder for the pages of all commands (`portolan-save.1`), made if it is not there; without it, portolan's own goes
    /// to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    printer.line(String::from_utf8(script)?.trim_end())?;
    Ok(ExitStatus::Yes)
}

pub(super) fn man(args: &ManArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        Man::new(documented()).render(&mut page)?;
        printer.line(String::from_utf8(page)?.trim_end())?;
        return Ok(ExitStatus::Yes);
    };
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(documented(), folder))
        .with_context(|| format!("cannot write the pages into `{}`", folder.display()))?;
    Ok(ExitStatus::Yes)
}

/// All that has a page: not `help`, which is every other command's `--help`.
fn documented() -> Command {
    Args::command().disable_help_subcommand(true)
}
