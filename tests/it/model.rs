//! A model of what clients may see, compared with the proxy under load: many clients, several workers, one small cache.
//!
//! | file | holds |
//! |---|---|
//! | `targets.rs` | the resources and the settings that the test uses |
//! | `rules.rs` | the model: which responses a client may get |
//! | `origin.rs` | the origin: numbers its responses, confirms current ones with 304, fails some validations |
//! | `steps.rs` | what each client does, and the comparison of each response with the model |
//!
//! The steps of a client depend on the seed alone; how the clients interleave does not. `CACHING_PROXY_TEST_SEED` sets
//! the seed. A failure shows it as the name of the thread.

mod origin;
mod rules;
mod steps;
mod targets;

use std::sync::{Arc, atomic::Ordering::SeqCst};

use caching_proxy::policy::Mode::{self, Standard, Strict};

use self::{rules::Model, steps::ModelClient};
use crate::harness::TestProxy;

const WORKERS: usize = 4;
const CLIENTS: u64 = 8;
/// Steps of each client.
const STEPS: u64 = 250;
/// Too small for all responses at a time.
const MAX_MEMORY_BYTES: u64 = 128 * 1024;
const MAX_OBJECT_BYTES: u64 = 32 * 1024;
const DEFAULT_SEED: u64 = 17;

fn seed() -> u64 {
    match std::env::var("CACHING_PROXY_TEST_SEED") {
        Ok(seed) => seed.parse().expect("CACHING_PROXY_TEST_SEED is a number"),
        Err(_) => DEFAULT_SEED,
    }
}

fn compare(mode: Mode) {
    let seed = seed();
    let model = Arc::new(Model::new(mode));
    let origin = origin::start(&model);
    let proxy = TestProxy::builder(&origin)
        .mode(mode)
        .with(|config| {
            config.workers = WORKERS;
            config.max_memory_bytes = MAX_MEMORY_BYTES;
            config.max_object_bytes = MAX_OBJECT_BYTES;
        })
        .start();
    let url = origin.url();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (proxy, model, url) = (&proxy, &model, &url);
            std::thread::Builder::new()
                .name(format!("seed {seed}, {mode:?}, client {client}"))
                .spawn_scoped(scope, move || {
                    let mut client = ModelClient::new(proxy, model, url, seed * 1000 + client + 1);
                    (0..STEPS).for_each(|_| client.step());
                })
                .unwrap();
        }
    });
    // The run proves something only if all of these events occurred.
    let seen = [
        ("hits", model.hits.load(SeqCst) * 5 / 1000),
        ("confirmed", model.confirmed.load(SeqCst)),
        ("failed", model.failed.load(SeqCst)),
        (
            "evictions",
            usize::try_from(proxy.stats().evictions).unwrap(),
        ),
    ];
    assert!(
        seen.iter().all(|(_, count)| *count > 0),
        "seed {seed}, {mode:?}: {seen:?}"
    );
}

#[test]
fn clients_of_a_standard_proxy_see_only_what_the_model_allows() {
    compare(Standard);
}

#[test]
fn clients_of_a_strict_proxy_see_only_what_the_model_allows() {
    compare(Strict);
}
