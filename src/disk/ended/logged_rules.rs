//! The rules that are not done, in a bounded number.

use crate::disk::ends::RuleAction;

/// The most rules of each action. More are merged into the oldest.
pub(super) const MAX_RULES: usize = 64;

/// Which rule. It stays the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::disk) struct RuleId(pub(super) u64);

/// A rule as it is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disk) struct LoggedRule {
    pub(in crate::disk) id: RuleId,
    /// It names responses up to this sequence number.
    pub(in crate::disk) seq: u64,
    pub(in crate::disk) action: RuleAction,
    /// `None`: it names all of them.
    pub(in crate::disk) rule: Option<Vec<u8>>,
}

/// A rule whose list is bounded.
pub(super) trait BoundedRule {
    fn id(&self) -> RuleId;
    fn seq(&self) -> u64;
    fn action(&self) -> RuleAction;
    /// The rule that names everything up to `seq`, in the place of this one.
    fn widened(&self, seq: u64, action: RuleAction) -> Self;
}

impl BoundedRule for LoggedRule {
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

/// Adds a rule to a list. Of too many rules that expire, the two oldest become one that names everything. Of too many that
/// remove, the oldest is taken out; everything up to the number that is returned has ended then.
pub(super) fn add_rule<R: BoundedRule>(rules: &mut Vec<R>, rule: R) -> Option<u64> {
    let is_removing = rule.action() == RuleAction::Remove;
    rules.push(rule);
    let same = |rule: &R| (rule.action() == RuleAction::Remove) == is_removing;
    if rules.iter().filter(|rule| same(rule)).count() <= MAX_RULES {
        return None;
    }
    let first = rules.iter().position(same)?;
    let oldest = rules.remove(first);
    let RuleAction::Expire { at } = oldest.action() else {
        return Some(oldest.seq());
    };
    let second = rules.iter_mut().find(|rule| same(rule))?;
    if let RuleAction::Expire { at: other } = second.action() {
        let seq = oldest.seq().max(second.seq());
        *second = second.widened(seq, RuleAction::Expire { at: at.min(other) });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: u64, action: RuleAction) -> LoggedRule {
        LoggedRule {
            id: RuleId(id),
            seq: id * 10,
            action,
            rule: Some(id.to_le_bytes().to_vec()),
        }
    }

    #[test]
    fn the_oldest_of_too_many_expiring_rules_become_one_that_names_everything() {
        let mut rules = vec![rule(1, RuleAction::Remove)];
        for id in 2..=67 {
            let at = 1000 - id;
            assert_eq!(
                add_rule(&mut rules, rule(id, RuleAction::Expire { at })),
                None
            );
        }
        assert_eq!(rules.len(), MAX_RULES + 1);
        let merged = LoggedRule {
            id: RuleId(4),
            seq: 40,
            action: RuleAction::Expire { at: 996 },
            rule: None,
        };
        assert_eq!(rules[1], merged);
        assert_eq!(rules[2], rule(5, RuleAction::Expire { at: 995 }));
    }

    #[test]
    fn the_oldest_of_too_many_removing_rules_ends_everything_before_it() {
        let mut rules = vec![rule(1, RuleAction::Expire { at: 5 })];
        for id in 2..=65 {
            assert_eq!(add_rule(&mut rules, rule(id, RuleAction::Remove)), None);
        }
        assert_eq!(add_rule(&mut rules, rule(66, RuleAction::Remove)), Some(20));
        assert_eq!(rules.len(), MAX_RULES + 1);
    }
}
