//! Real applications behind the proxy: frameworks, servers and package managers as their users run them.
//!
//! `tests/apps/install` installs them below `target/apps`. A test whose application is not there is ignored, so that a
//! registry that is down fails nothing. `cargo test --test apps -- --include-ignored` runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in the helpers that are not test functions themselves"
)]

#[path = "../it/chromium.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod chromium;
#[path = "../it/client.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod client;
#[path = "../it/instance.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod instance;
#[path = "../it/ports.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod ports;
#[path = "../it/waiting.rs"]
mod waiting;

mod application;
mod visitor;

mod django;
mod express;
mod fastapi;
mod graphql;
mod nginx;
mod npm;
mod pip;
mod vite;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// A test that is ignored if one of these is not installed: programs, and `apps/NAME` for what is below `target`.
fn trial(name: &str, needs: &'static [&str], test: fn()) -> Trial {
    let run = move || {
        let missing = needs.iter().find(|name| !application::is_installed(name));
        if let Some(name) = missing {
            return Ok(Completion::ignored_with(format!(
                "{name} is not installed: see tests/apps/install"
            )));
        }
        test();
        Ok(Completion::Completed)
    };
    Trial::ignorable_test(name, run).with_ignored_flag(true)
}

fn main() -> ExitCode {
    let trials = vec![
        trial(
            "django_users_log_in_keep_apart_and_log_out",
            &["apps/python", "apps/django"],
            django::users_log_in_keep_apart_and_log_out,
        ),
        trial(
            "express_users_have_sessions_of_their_own_and_etags_validate",
            &["node", "apps/express"],
            express::users_have_sessions_of_their_own_and_etags_validate,
        ),
        trial(
            "fastapi_socket_and_event_stream_run_in_both_directions",
            &["apps/python", "apps/fastapi", "chromium", "chromedriver"],
            fastapi::socket_and_event_stream_run_in_both_directions,
        ),
        trial(
            "graphql_queries_are_cached_and_errors_and_mutations_are_not",
            &["node", "apps/graphql"],
            graphql::queries_are_cached_and_errors_and_mutations_are_not,
        ),
        trial(
            "nginx_redirects_stay_with_the_proxy",
            &["nginx"],
            nginx::redirects_stay_with_the_proxy,
        ),
        trial(
            "nginx_a_recording_is_sought_by_a_browser",
            &["nginx", "chromium", "chromedriver"],
            nginx::a_recording_is_sought_by_a_browser,
        ),
        trial(
            "npm_views_and_installs_a_package",
            &["node", "npm", "tar"],
            npm::views_and_installs_a_package,
        ),
        trial(
            "pip_downloads_a_package",
            &["apps/python"],
            pip::downloads_a_package,
        ),
        trial(
            "vite_an_edit_shows_without_a_reload",
            &["node", "apps/vite", "chromium", "chromedriver"],
            vite::an_edit_shows_without_a_reload,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
