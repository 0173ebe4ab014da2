//! What is said of the tier that several instances share.

use super::why::Explanation;
use crate::proxy::SharedFinding;

impl Explanation {
    /// The same with what Redis has for the request. `None` if it would not be asked.
    #[must_use]
    pub fn with_redis(mut self, finding: Option<SharedFinding>) -> Self {
        let Some(finding) = finding else {
            return self;
        };
        let (name, note) = match finding {
            SharedFinding::Served => {
                self.summary = "Would be served from Redis (HIT).".to_owned();
                self.outcome = "hit".to_owned();
                (
                    "hit",
                    "memory and disk have no response that can be used; Redis has one",
                )
            }
            SharedFinding::Validated => (
                "stale",
                "Redis has a response, which would be validated with the origin",
            ),
            SharedFinding::Nothing => ("miss", "Redis has no response that can be used"),
            SharedFinding::NoAnswer => ("no-answer", "Redis does not answer in time"),
        };
        self.in_redis = Some(name.to_owned());
        self.notes.push(note.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_has_is_said_if_it_would_be_asked() {
        let before = Explanation {
            summary: "Would be forwarded (MISS).".to_owned(),
            outcome: "forward".to_owned(),
            ..Explanation::default()
        };
        assert_eq!(before.clone().with_redis(None), before);
        let served = before.clone().with_redis(Some(SharedFinding::Served));
        assert_eq!((served.outcome.as_str(), served.notes.len()), ("hit", 1));
        let nothing = before.with_redis(Some(SharedFinding::Nothing));
        assert_eq!(nothing.outcome, "forward");
        assert_eq!(nothing.in_redis.as_deref(), Some("miss"));
    }
}
