//! Reading the stream of events, over a connection of its own: its commands wait until there are events.

use std::{sync::Arc, time::Duration};

use ::redis::{Value, cmd};
use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::timeout,
};

use crate::redis::{
    connect::Connector,
    reading::StreamEntry,
    replies,
    settings::{RedisTiming, milliseconds},
    url::ServerPlace,
};

/// The most events that are read at once.
const PAGE_EVENTS: u64 = 64;

/// Entries in their order. It stops when it is dropped.
pub(super) struct StreamReader {
    /// Closed when the stream can no longer be read.
    pub(super) pages: mpsc::Receiver<Vec<StreamEntry>>,
    task: AbortHandle,
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StreamReader {
    /// Reads `key` after the entry with the id `after`.
    pub(super) fn read(
        connector: Connector,
        place: ServerPlace,
        (key, after): (String, String),
        timing: RedisTiming,
    ) -> Self {
        let (sender, pages) = mpsc::channel(4);
        let task = tokio::spawn(async move {
            // The channel closes, and that is noticed.
            let _ = read_on(&connector, &place, (&key, after), &timing, &sender).await;
        });
        Self {
            pages,
            task: task.abort_handle(),
        }
    }
}

/// Reads until something fails.
async fn read_on(
    connector: &Connector,
    place: &ServerPlace,
    (key, mut after): (&str, String),
    timing: &RedisTiming,
    pages: &mpsc::Sender<Vec<StreamEntry>>,
) -> Option<()> {
    let lost = Arc::new(Notify::new());
    let connection = connector.connect(place, &lost, None).await.ok()?;
    let limit = timing.block + timing.answer.max(Duration::from_secs(1));
    loop {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(PAGE_EVENTS);
        command.arg("BLOCK").arg(milliseconds(timing.block).max(1));
        command.arg("STREAMS").arg(key).arg(&after);
        let reply = timeout(limit, connection.send(&command)).await.ok()?.ok()?;
        let (entries, last) = read_page(reply)?;
        if let Some(last) = last {
            after = last;
        }
        if !entries.is_empty() {
            pages.send(entries).await.ok()?;
        }
    }
}

/// The entries of a reply, and the id of the last. `None` if it is no reply of XREAD.
fn read_page(reply: Value) -> Option<(Vec<StreamEntry>, Option<String>)> {
    if reply == Value::Nil {
        return Some((Vec::new(), None));
    }
    let mut last = None;
    let mut read = Vec::new();
    let streams = match reply {
        Value::Map(streams) => streams,
        // The form of RESP2.
        reply => {
            let streams = replies::list(reply)?.into_iter();
            let pair = |stream| replies::pairs(stream)?.pop();
            streams.map(pair).collect::<Option<_>>()?
        }
    };
    for (_, entries) in streams {
        for entry in replies::list(entries)? {
            let (id, fields) = replies::pairs(entry)?.pop()?;
            let id = replies::text(id)?;
            last = Some(id.clone());
            // What others have written there is left out. Positions say whether anything is missing.
            read.extend(read_entry(id, fields));
        }
    }
    Some((read, last))
}

fn read_entry(id: String, fields: Value) -> Option<StreamEntry> {
    let mut fields = replies::pairs(fields)?.into_iter();
    let mut field = |name: &[u8]| {
        let (found, value) = fields.next()?;
        (replies::bytes(found)? == name).then_some(value)
    };
    let position = replies::number(field(b"n")?)?;
    let instance = replies::text(field(b"i")?)?;
    let token = replies::number(field(b"t")?)?;
    let bytes = Bytes::from(replies::bytes(field(b"e")?)?);
    (position > 0).then_some(StreamEntry {
        id,
        position,
        instance,
        token,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|one| text(one)).collect())
    }

    fn page(fields: Vec<Value>) -> Value {
        let entries = fields
            .into_iter()
            .zip(5..)
            .map(|(fields, id)| Value::Array(vec![text(&format!("{id}-0")), fields]));
        Value::Map(vec![(text("stream"), Value::Array(entries.collect()))])
    }

    #[test]
    fn entries_of_others_are_left_out_and_passed() {
        let ours = ["n", "3", "i", "me", "t", "9", "e", "event"];
        let reply = page(vec![
            texts(&ours),
            texts(&["x", "y"]),
            texts(&["n", "0", "i", "me", "t", "9", "e", "event"]),
            texts(&["n", "-1", "i", "me", "t", "9", "e", "event"]),
            Value::Nil,
        ]);
        let (entries, last) = read_page(reply).unwrap();
        assert_eq!(last.as_deref(), Some("9-0"));
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].position, entries[0].token), (3, 9));
        assert_eq!(
            (&entries[0].id[..], &entries[0].bytes[..]),
            ("5-0", &b"event"[..])
        );
    }

    #[test]
    fn both_protocols_are_read_and_other_replies_are_none() {
        let ours = texts(&["n", "3", "i", "me", "t", "9", "e", "event"]);
        let entry = Value::Array(vec![text("5-0"), ours]);
        let stream = Value::Array(vec![text("stream"), Value::Array(vec![entry])]);
        assert_eq!(read_page(Value::Array(vec![stream])).unwrap().0.len(), 1);
        assert_eq!(read_page(Value::Nil), Some((vec![], None)));
        assert_eq!(read_page(Value::Okay), None);
        assert_eq!(read_page(Value::Array(vec![Value::Okay])), None);
    }
}
