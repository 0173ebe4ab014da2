//! The rules that each read is tested by.

use std::sync::Arc;

use crate::disk::{
    ended::logged_rules::{BoundedRule, LoggedRule, RuleId, add_rule},
    ends::{DiskRule, ParseRule, RuleAction},
};

/// What the rules say of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum RuleVerdict {
    /// No rule names it.
    Unaffected,
    /// A rule has removed it.
    Removed,
    /// It is expired since the earliest of the times of the rules that name it, in milliseconds since the Unix epoch.
    ExpiredAt(u64),
}

/// The rules in force, immutable. At most 64 that remove and 64 that expire.
#[derive(Clone, Default)]
pub(in crate::disk) struct RulesInForce {
    rules: Vec<RuleInForce>,
    /// The largest number that a rule names.
    newest: u64,
}

#[derive(Clone)]
struct RuleInForce {
    id: RuleId,
    seq: u64,
    action: RuleAction,
    /// `None`: it names everything.
    rule: Option<Arc<dyn DiskRule>>,
}

impl RuleInForce {
    fn names(&self, resource: &[u8], head: &[u8], seq: u64) -> bool {
        let is_named = |rule: &Arc<dyn DiskRule>| rule.names(resource, head);
        seq <= self.seq && self.rule.as_ref().is_none_or(is_named)
    }
}

impl BoundedRule for RuleInForce {
    fn id(&self) -> RuleId {
        self.id
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn action(&self) -> RuleAction {
        self.action
    }

    fn widened(&self, seq: u64, action: RuleAction) -> Self {
        Self {
            seq,
            action,
            rule: None,
            ..self.clone()
        }
    }
}

/// A rule that removes, for the sweep.
#[derive(Clone)]
pub(in crate::disk) struct RemovingRule {
    pub(in crate::disk) id: RuleId,
    rule: RuleInForce,
}

impl RemovingRule {
    /// Whether it names the response of this resource with this head and sequence number.
    pub(in crate::disk) fn names(&self, resource: &[u8], head: &[u8], seq: u64) -> bool {
        self.rule.names(resource, head, seq)
    }

    /// Whether it can name a response with this sequence number.
    pub(in crate::disk) fn may_name(&self, seq: u64) -> bool {
        seq <= self.rule.seq
    }
}

impl RulesInForce {
    /// The rules that a log has handed back.
    pub(in crate::disk) fn from_log(logged: &[LoggedRule], parse: ParseRule) -> Self {
        let rules = logged.iter().map(|logged| RuleInForce {
            id: logged.id,
            seq: logged.seq,
            action: logged.action,
            rule: logged.rule.as_deref().and_then(parse).map(Arc::from),
        });
        Self::of(rules.collect())
    }

    fn of(rules: Vec<RuleInForce>) -> Self {
        let newest = rules.iter().map(|rule| rule.seq).max().unwrap_or(0);
        Self { rules, newest }
    }

    /// These, and one that was appended to the log. `Some(S)`: there were too many that remove, so everything up to S has
    /// ended. The log says so as well, when it is read again.
    pub(in crate::disk) fn with(
        &self,
        id: RuleId,
        seq: u64,
        action: RuleAction,
        rule: Option<Arc<dyn DiskRule>>,
    ) -> (Self, Option<u64>) {
        let mut rules = self.rules.clone();
        let added = RuleInForce {
            id,
            seq,
            action,
            rule,
        };
        let all_ended = add_rule(&mut rules, added);
        (Self::of(rules), all_ended)
    }

    /// These without one, because it is done.
    pub(in crate::disk) fn without(&self, id: RuleId) -> Self {
        let rules = self.rules.iter().filter(|rule| rule.id() != id);
        Self::of(rules.cloned().collect())
    }

    /// These without those that name only older responses. `None`: there are none of them.
    pub(in crate::disk) fn forget(&self, oldest_seq: u64) -> Option<Self> {
        let rules = self.rules.iter().filter(|rule| rule.seq >= oldest_seq);
        let rules: Vec<_> = rules.cloned().collect();
        (rules.len() < self.rules.len()).then(|| Self::of(rules))
    }

    /// What they say of a response.
    pub(in crate::disk) fn judge(&self, resource: &[u8], head: &[u8], seq: u64) -> RuleVerdict {
        let mut verdict = RuleVerdict::Unaffected;
        if !self.may_affect(seq) {
            return verdict;
        }
        for rule in &self.rules {
            if !rule.names(resource, head, seq) {
                continue;
            }
            verdict = match (rule.action, verdict) {
                (RuleAction::Remove, _) => return RuleVerdict::Removed,
                (RuleAction::Expire { at }, RuleVerdict::ExpiredAt(earliest)) => {
                    RuleVerdict::ExpiredAt(at.min(earliest))
                }
                (RuleAction::Expire { at }, _) => RuleVerdict::ExpiredAt(at),
            };
        }
        verdict
    }

    /// Whether one can name a response with this sequence number.
    pub(in crate::disk) fn may_affect(&self, seq: u64) -> bool {
        seq <= self.newest
    }

    /// Those that remove, the oldest first. A sweep can look for all of them at once.
    pub(in crate::disk) fn removing(&self) -> Vec<RemovingRule> {
        let removing = |rule: &&RuleInForce| rule.action == RuleAction::Remove;
        let rules = self.rules.iter().filter(removing);
        rules
            .map(|rule| RemovingRule {
                id: rule.id,
                rule: rule.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Prefix(Vec<u8>);

    impl DiskRule for Prefix {
        fn names(&self, resource: &[u8], head: &[u8]) -> bool {
            resource.starts_with(&self.0) && head != b"spared"
        }
    }

    fn parse(rule: &[u8]) -> Option<Box<dyn DiskRule>> {
        (rule != b"?").then(|| Box::new(Prefix(rule.to_vec())) as Box<dyn DiskRule>)
    }

    fn rules(logged: &[(u64, RuleAction, &[u8])]) -> RulesInForce {
        let number = (1..).zip(logged);
        let logged: Vec<_> = number
            .map(|(id, (seq, action, rule))| LoggedRule {
                id: RuleId(id),
                seq: *seq,
                action: *action,
                rule: Some(rule.to_vec()),
            })
            .collect();
        RulesInForce::from_log(&logged, parse)
    }

    const EXPIRE_9: RuleAction = RuleAction::Expire { at: 9 };
    const EXPIRE_5: RuleAction = RuleAction::Expire { at: 5 };

    #[test]
    fn a_rule_names_only_responses_up_to_its_number() {
        let rules = rules(&[(10, RuleAction::Remove, b"/a"), (20, EXPIRE_9, b"/b")]);
        assert_eq!(rules.judge(b"/a", b"", 10), RuleVerdict::Removed);
        assert_eq!(rules.judge(b"/a", b"", 11), RuleVerdict::Unaffected);
        assert_eq!(rules.judge(b"/a", b"spared", 10), RuleVerdict::Unaffected);
        assert_eq!(rules.judge(b"/b", b"", 20), RuleVerdict::ExpiredAt(9));
        assert_eq!(rules.judge(b"/b", b"", 21), RuleVerdict::Unaffected);
        assert!(rules.may_affect(20) && !rules.may_affect(21));
    }

    #[test]
    fn a_removal_comes_before_an_expiry_and_the_earliest_expiry_counts() {
        let rules = rules(&[
            (20, EXPIRE_9, b"/"),
            (20, EXPIRE_5, b"/b"),
            (20, RuleAction::Remove, b"/c"),
        ]);
        assert_eq!(rules.judge(b"/a", b"", 1), RuleVerdict::ExpiredAt(9));
        assert_eq!(rules.judge(b"/b", b"", 1), RuleVerdict::ExpiredAt(5));
        assert_eq!(rules.judge(b"/c", b"", 1), RuleVerdict::Removed);
    }

    #[test]
    fn a_rule_that_cannot_be_read_names_everything() {
        let rules = rules(&[(10, RuleAction::Remove, b"?")]);
        assert_eq!(rules.judge(b"/x", b"", 10), RuleVerdict::Removed);
    }

    #[test]
    fn a_rule_that_is_done_or_names_only_what_is_gone_is_lifted() {
        let rules = rules(&[(10, RuleAction::Remove, b"/a"), (20, EXPIRE_9, b"/b")]);
        let [removing] = &rules.removing()[..] else {
            panic!("one rule removes");
        };
        assert!(removing.names(b"/a", b"", 10) && !removing.names(b"/a", b"", 11));
        assert!(removing.may_name(10) && !removing.may_name(11));
        let left = rules.without(removing.id);
        assert_eq!(left.judge(b"/a", b"", 10), RuleVerdict::Unaffected);
        assert_eq!(left.judge(b"/b", b"", 10), RuleVerdict::ExpiredAt(9));
        assert!(left.forget(20).is_none());
        assert!(!left.forget(21).unwrap().may_affect(1));
    }

    #[test]
    fn too_many_removing_rules_end_everything_before_the_oldest() {
        let mut rules = RulesInForce::default();
        for number in 1..=64 {
            let (more, all_ended) = rules.with(RuleId(number), number, RuleAction::Remove, None);
            assert_eq!(all_ended, None);
            rules = more;
        }
        let (rules, all_ended) = rules.with(RuleId(65), 65, RuleAction::Remove, None);
        assert_eq!((all_ended, rules.removing().len()), (Some(1), 64));
    }
}
