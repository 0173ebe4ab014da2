//! The connections to one server, or to the nodes of a cluster.

use std::{collections::BTreeMap, sync::Arc};

use ::redis::{Cmd, RedisError, Value, cmd};
use tokio::sync::Notify;

use crate::redis::{
    connect::{ConnectError, Connector, OnMessage, ServerConnection},
    replies,
    slots::{SLOTS, SlotRange, read_slots, slot},
    url::ServerPlace,
};

/// The most nodes of a cluster that connections are opened to.
const MAX_NODES: usize = 1_000;

/// The connections to a node.
struct ServerNode {
    /// For small commands. A large body must not delay them.
    quick: ServerConnection,
    /// For large bodies.
    bulk: ServerConnection,
}

/// The connections to all nodes. A change of the cluster makes another one.
pub(super) struct Servers {
    /// `None` if a node of the cluster cannot be reached.
    nodes: Vec<Option<ServerNode>>,
    places: Vec<ServerPlace>,
    /// The node of each slot. Empty if there is one node alone.
    node_of_slot: Vec<u16>,
    /// Notified when one of the connections has ended.
    pub(super) lost: Arc<Notify>,
}

/// What a command is sent by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Quick,
    Bulk,
}

/// Why a command has no reply.
#[derive(Debug)]
pub(super) enum SendError {
    /// The node that has the key is not connected.
    NoNode,
    /// The server has refused it, or the connection broke.
    Redis(RedisError),
}

impl Servers {
    /// Connects to the servers that a URL names. `on_message` gets what is published on channels that the node of
    /// `main_key` is subscribed to.
    pub(super) async fn connect(
        connector: &Connector,
        main_key: &str,
        on_message: &OnMessage,
    ) -> Result<Self, ConnectError> {
        let mut last = None;
        for place in &connector.url.places {
            match Self::connect_by(connector, place, main_key, on_message).await {
                Ok(servers) => return Ok(servers),
                Err(error) => last = Some(error),
            }
        }
        // There is at least one place.
        Err(last.unwrap_or(ConnectError::Late {
            place: connector.url.to_string(),
        }))
    }

    async fn connect_by(
        connector: &Connector,
        place: &ServerPlace,
        main_key: &str,
        on_message: &OnMessage,
    ) -> Result<Self, ConnectError> {
        let lost = Arc::new(Notify::new());
        let (places, node_of_slot) = match connector.url.is_cluster {
            false => (vec![place.clone()], Vec::new()),
            true => nodes_of(slots_of(connector, place).await?),
        };
        let main = match node_of_slot.is_empty() {
            true => 0,
            false => node_of_slot[usize::from(slot(main_key.as_bytes()))],
        };
        let mut nodes = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let is_main = index == usize::from(main);
            let node = connect_node(connector, place, &lost, is_main.then(|| on_message.clone()));
            match node.await {
                Ok(node) => nodes.push(Some(node)),
                Err(error) if is_main => return Err(error),
                Err(_) => nodes.push(None),
            }
        }
        Ok(Self {
            nodes,
            places,
            node_of_slot,
            lost,
        })
    }

    fn index_of(&self, key: &str) -> usize {
        let slot = usize::from(slot(key.as_bytes()));
        self.node_of_slot
            .get(slot)
            .map_or(0, |node| usize::from(*node))
    }

    /// Where the server is that has a key.
    pub(super) fn place_of(&self, key: &str) -> Option<&ServerPlace> {
        self.places.get(self.index_of(key))
    }

    /// Whether a node of the cluster could not be reached.
    pub(super) fn is_partial(&self) -> bool {
        self.nodes.iter().any(Option::is_none)
    }

    /// Sends a command to the node that has `key`, and waits for its reply without a limit.
    pub(super) async fn send(
        &self,
        key: &str,
        line: Line,
        command: &Cmd,
    ) -> Result<Value, SendError> {
        let node = self.nodes.get(self.index_of(key)).and_then(Option::as_ref);
        let node = node.ok_or(SendError::NoNode)?;
        let connection = match line {
            Line::Quick => &node.quick,
            Line::Bulk => &node.bulk,
        };
        let reply = connection.send(command).await;
        reply.map_err(|error| {
            if error.is_cluster_error() {
                // Another node has the key now: the connections are made again.
                self.lost.notify_one();
            }
            SendError::Redis(error)
        })
    }
}

async fn connect_node(
    connector: &Connector,
    place: &ServerPlace,
    lost: &Arc<Notify>,
    on_message: Option<OnMessage>,
) -> Result<ServerNode, ConnectError> {
    Ok(ServerNode {
        quick: connector.connect(place, lost, on_message).await?,
        bulk: connector.connect(place, lost, None).await?,
    })
}

/// Asks a node of a cluster which nodes have which slots.
async fn slots_of(
    connector: &Connector,
    place: &ServerPlace,
) -> Result<Vec<SlotRange>, ConnectError> {
    let no_cluster = |reason: String| ConnectError::NoCluster {
        place: place.to_string(),
        reason,
    };
    let connection = connector.connect(place, &Arc::default(), None).await?;
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    let reply = tokio::time::timeout(connector.limit, connection.send(&command)).await;
    let reply = reply.map_err(|_| ConnectError::Late {
        place: place.to_string(),
    })?;
    let reply = reply.map_err(|error| no_cluster(replies::reason(&error)))?;
    let slots = read_slots(reply, place);
    let slots = slots.filter(|ranges| covers_all(ranges));
    slots.ok_or_else(|| no_cluster("not all slots have a node".into()))
}

fn covers_all(ranges: &[SlotRange]) -> bool {
    let slots = ranges
        .iter()
        .map(|range| u32::from(range.last - range.first) + 1);
    slots.sum::<u32>() == u32::from(SLOTS)
}

/// The nodes, and the node of each slot.
fn nodes_of(ranges: Vec<SlotRange>) -> (Vec<ServerPlace>, Vec<u16>) {
    let mut places = Vec::new();
    let mut indexes = BTreeMap::new();
    let mut node_of_slot = vec![0; usize::from(SLOTS)];
    for range in ranges {
        let next = u16::try_from(indexes.len()).unwrap_or_default();
        if indexes.len() >= MAX_NODES {
            break;
        }
        let index = *indexes.entry(range.place.to_string()).or_insert(next);
        if usize::from(index) == places.len() {
            places.push(range.place);
        }
        let slots = usize::from(range.first)..=usize::from(range.last);
        if let Some(slots) = node_of_slot.get_mut(slots) {
            slots.fill(index);
        }
    }
    (places, node_of_slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, port: u16) -> SlotRange {
        SlotRange {
            first,
            last,
            place: ServerPlace::Tcp {
                host: "node".into(),
                port,
            },
        }
    }

    #[test]
    fn each_slot_has_its_node() {
        let ranges = vec![
            range(0, 99, 1),
            range(100, 16_000, 2),
            range(16_001, 16_383, 1),
        ];
        assert!(covers_all(&ranges));
        let (places, node_of_slot) = nodes_of(ranges);
        assert_eq!(places.len(), 2);
        let nodes = [0, 99, 100, 16_000, 16_001, 16_383].map(|slot: usize| node_of_slot[slot]);
        assert_eq!(nodes, [0, 0, 1, 1, 0, 0]);
        assert!(!covers_all(&[range(0, 99, 1)]));
    }
}
