//! `completions` and `man`: generated from the definition of the command line.

use std::io;

use caching_proxy::cli::Cli;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::terminal::print;

/// Prints the completion script of a shell.
pub(super) fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "caching-proxy", &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// Prints the manual page, in roff.
pub(super) fn man() -> io::Result<()> {
    let mut page = Vec::new();
    // clap_mangen leaves out the help of options that `-h` hides.
    let command = Cli::command().mut_args(|option| option.hide_short_help(false));
    clap_mangen::Man::new(command).render(&mut page)?;
    let page =
        String::from_utf8_lossy(&page).replace(".SH EXTRA", ".SH \"EXAMPLES AND EXIT CODES\"");
    print(&page);
    Ok(())
}
