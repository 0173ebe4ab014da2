//! Who waits until the fetch of another instance has ended.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use crate::redis::address::RecordName;

/// A message to the task that knows who waits.
#[derive(Debug)]
pub(super) enum WaiterMessage {
    Wait(RecordName, oneshot::Sender<()>),
    Released(RecordName),
}

/// After this many new waiters, those that have given up are removed.
const SWEEP: usize = 1_024;

/// Wakes who waits for a record. It ends when all senders are dropped.
pub(super) async fn wake_waiters(mut messages: mpsc::UnboundedReceiver<WaiterMessage>) {
    let mut waiting: HashMap<RecordName, Vec<oneshot::Sender<()>>> = HashMap::new();
    let mut added = 0;
    while let Some(message) = messages.recv().await {
        match message {
            WaiterMessage::Wait(name, waiter) => {
                waiting.entry(name).or_default().push(waiter);
                added += 1;
            }
            WaiterMessage::Released(name) => {
                for waiter in waiting.remove(&name).unwrap_or_default() {
                    // It may have given up.
                    let _ = waiter.send(());
                }
            }
        }
        if added == SWEEP {
            added = 0;
            waiting.retain(|_, waiters| {
                waiters.retain(|waiter| !waiter.is_closed());
                !waiters.is_empty()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::address::SharedAddress;

    #[tokio::test]
    async fn all_that_wait_for_a_record_are_woken() {
        let name = |resource: &str| {
            RecordName::of(&SharedAddress {
                resource: resource.as_bytes().into(),
                partition: Box::default(),
            })
        };
        let (sender, messages) = mpsc::unbounded_channel();
        let wait = |resource| {
            let (waiter, woken) = oneshot::channel();
            sender
                .send(WaiterMessage::Wait(name(resource), waiter))
                .unwrap();
            woken
        };
        let (first, second, other) = (wait("/a"), wait("/a"), wait("/b"));
        for _ in 0..SWEEP {
            drop(wait("/c"));
        }
        sender.send(WaiterMessage::Released(name("/a"))).unwrap();
        drop(sender);
        wake_waiters(messages).await;
        assert_eq!((first.await, second.await), (Ok(()), Ok(())));
        assert!(other.await.is_err());
    }
}
