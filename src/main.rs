//! The program: parses the command line, then serves, clears caches or runs a command.
//!
//! | file | what |
//! |---|---|
//! | `clear.rs` | `--clear-cache` |
//! | `commands/` | the other commands, one file each |
//! | `failure.rs` | everything that ends the program with an error, and its exit code |
//! | `file_limit.rs` | the limit of open files |
//! | `inherited.rs` | listening sockets that the program was started with |
//! | `listen.rs` | the sockets the proxy listens on |
//! | `logging/` | the log: its formats and its filter |
//! | `output_queue.rs` | a queue in front of stdout or stderr, for a proxy that serves |
//! | `running.rs` | a proxy that serves, and how it ends |
//! | `serve.rs` | a proxy that starts |
//! | `signals.rs` | SIGINT, SIGTERM and SIGHUP |
//! | `sockets.rs` | the sockets of a proxy, opened here or taken over |
//! | `terminal.rs` | printing to stdout and stderr |

mod clear;
mod commands;
mod failure;
mod file_limit;
mod inherited;
mod listen;
mod logging;
mod output_queue;
mod running;
mod serve;
mod signals;
mod sockets;
mod terminal;

use std::{process::ExitCode, sync::Arc};

use caching_proxy::{
    cli::Cli,
    config::{Config, ConfigLoader, Flags, LogFormat},
};

use self::{failure::Failure, inherited::InheritedSockets, serve::Startup, terminal::say_error};

/// The cache mixes many small long-lived allocations with short-lived ones; mimalloc fragments less than most allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::of(std::env::args_os()) {
        Ok(cli) => cli,
        // Help and version arrive here too, with exit code 0.
        Err(error) => {
            commands::tell_misuse(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Some(command) => {
            logging::start(LogFormat::Text);
            commands::run(command)
        }
        None if cli.running.clear_cache => {
            logging::start(LogFormat::Text);
            clear::clear_caches(&cli.settings.flags(), cli.running.wait)
        }
        None => serve(cli.settings.flags(), cli.running.take_over),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say_error(&failure);
            failure.exit_code()
        }
    };
    terminal::flush();
    code
}

/// Starts the proxy from flags, environment and configuration file.
fn serve(flags: Flags, takes_over: bool) -> Result<(), Failure> {
    let inherited = InheritedSockets::take()?;
    let config = Config::load_everything(&flags)?;
    logging::start(config.log_format);
    for unknown in Config::unknown_variables(std::env::vars_os()) {
        log::warn!("{unknown}");
    }
    let (bind, port) = (config.bind, config.port);
    let startup = Startup {
        loader: ConfigLoader::new(flags, Config::load_everything),
        config: Arc::new(config),
        hints: None,
        inherited,
        takes_over,
    };
    startup.serve(|given| listen::bind_all(bind, (listen::PORT, port), given))
}
