//! `guide`: prints a guide, or the list of guides.

use caching_proxy::guide::{GUIDES, Guide};

use crate::{failure::Failure, terminal::print};

/// The topic is not one of ours.
#[derive(Debug, thiserror::Error)]
#[error("there is no guide `{topic}`{}; topics: {}", nearest(.topic), topics())]
pub(crate) struct UnknownTopic {
    topic: String,
}

/// Prints the guide for a topic, or without one a line for each guide.
pub(super) fn guide(topic: Option<String>) -> Result<(), Failure> {
    let Some(topic) = topic else {
        print(&list());
        return Ok(());
    };
    match Guide::find(&topic.to_lowercase()) {
        Some(guide) => print(&guide.plain()),
        None => return Err(UnknownTopic { topic }.into()),
    }
    Ok(())
}

fn list() -> String {
    let width = GUIDES.iter().map(|guide| guide.topic.len()).max();
    let width = width.unwrap_or_default();
    let lines = GUIDES
        .iter()
        .map(|Guide { topic, summary, .. }| format!("  {topic:width$}  {summary}\n"));
    format!(
        "Guides (caching-proxy guide TOPIC):\n{}",
        lines.collect::<String>()
    )
}

fn topics() -> String {
    let topics: Vec<&str> = GUIDES.iter().map(|guide| guide.topic).collect();
    topics.join(", ")
}

/// The topic that was probably meant, as a part of the sentence; empty if none begins in the same way.
fn nearest(topic: &str) -> String {
    let common = |other: &str| {
        let pairs = topic.chars().zip(other.chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let nearest = GUIDES
        .iter()
        .map(|guide| guide.topic)
        .max_by_key(|other| common(other));
    match nearest {
        Some(other) if common(other) >= 3 => format!(" (did you mean `{other}`?)"),
        _ => String::new(),
    }
}
