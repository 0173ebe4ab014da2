//! `completions` and `man`: made from the flags themselves, so that they cannot say anything else.

use std::io;

use caching_proxy::cli::Cli;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::print;

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "caching-proxy", &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// Prints the manual page, in roff.
pub(super) fn man() -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    print(&String::from_utf8_lossy(&page));
    Ok(())
}
