//! What the other instances were told, and who has applied it.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    cache::{shared_tier::tier::SharedTier, successor::AppliedThere},
    redis::{Acknowledgements, NotPublished, Publishing, Stamp},
};

/// What the other instances were told of an end, and the process that has taken over. Empty if there are none.
#[derive(Default)]
pub struct ToldOthers {
    publication: Option<Publication>,
    there: AppliedThere,
}

struct Publication {
    tier: Arc<SharedTier>,
    published: Pin<Box<dyn Future<Output = Result<Stamp, NotPublished>> + Send>>,
}

/// Where an end does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The names of instances that have not said that they have applied it.
    pub instances: Vec<String>,
    /// Why there may be others; `None` if there are none.
    pub others: Option<OtherInstances>,
}

/// Why an end may not hold at instances whose names are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherInstances {
    /// They could not be told. They will be, as soon as Redis can be reached.
    NotTold,
    /// Redis may not know them: its data are younger than the lease, or it could not be asked.
    NotKnown,
}

impl Unconfirmed {
    /// True if the end holds at all instances.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.others.is_none()
    }
}

impl ToldOthers {
    /// What the process was told that has taken over.
    pub(super) fn by_hand_over(there: AppliedThere) -> Self {
        Self {
            publication: None,
            there,
        }
    }

    /// The same, with what the other instances were told.
    pub(super) fn and_published(self, tier: &Arc<SharedTier>, publishing: Publishing) -> Self {
        let publication = Publication {
            tier: Arc::clone(tier),
            published: Box::pin(publishing.published()),
        };
        Self {
            publication: Some(publication),
            ..self
        }
    }

    /// Waits, at most some seconds, until the process has applied it that has taken over.
    pub(in crate::cache) async fn applied_there(self) {
        self.there.confirmed().await;
    }

    /// Waits, at most about so long, until all instances have applied it. Returns those that have not.
    pub async fn applied(self, wait: Duration) -> Unconfirmed {
        let is_applied_there = self.there.confirmed().await;
        let Some(Publication { tier, published }) = self.publication else {
            return Unconfirmed {
                instances: Vec::new(),
                others: (!is_applied_there).then_some(OtherInstances::NotTold),
            };
        };
        match published.await {
            Err(NotPublished) => Unconfirmed {
                instances: Vec::new(),
                others: Some(OtherInstances::NotTold),
            },
            Ok(stamp) => {
                let Acknowledgements {
                    missing,
                    is_certain,
                } = tier.acknowledged(stamp, wait).await;
                Unconfirmed {
                    instances: missing,
                    others: (!is_certain).then_some(OtherInstances::NotKnown),
                }
            }
        }
    }
}

impl fmt::Debug for ToldOthers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ToldOthers").finish_non_exhaustive()
    }
}
