//! Describes stored responses and what the proxy would do with a request, in words and as data.
//!
//! Pure functions: their input are values ([`crate::cache::KeyVariants`], [`crate::proxy::DryRun`]), and the time.
//! The output contains no secrets: values of credentials, cookies and secret parameters are masked.

mod differs;
mod notes;
mod offline;
mod route;
mod shared_tier;
mod show;
mod why;
mod words;

pub use differs::{Mismatch, Nearest};
pub use offline::offline;
pub use route::ExplainedRoute;
pub use show::{Field, Shown, ShownAnswer, show};
pub use why::{ExplainedReason, Explanation, Fallback, LastRefusal, Variant, refused, why};
