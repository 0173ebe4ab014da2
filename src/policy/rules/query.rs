//! Queries without ignored parameters, and in a fixed order.

use std::borrow::Cow;

use crate::policy::Globs;

/// The order of the parameters of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryOrder {
    /// As received.
    #[default]
    AsWritten,
    /// By name. Those of one name stay in the order received.
    ByName,
}

/// `target` without the parameters whose names are `ignored`, the others in `order`.
///
/// `&` separates parameters, and a name ends before the first `=`. Names are compared byte for byte, without decoding,
/// so that another spelling is another name. If no parameter is left, the `?` is removed too.
pub(in crate::policy) fn rewritten<'t>(
    target: &'t str,
    ignored: &Globs,
    order: QueryOrder,
) -> Cow<'t, str> {
    let Some((path, query)) = target.split_once('?') else {
        return Cow::Borrowed(target);
    };
    let is_kept = |parameter: &&str| !ignored.matches(name(parameter));
    let is_ordered = || match order {
        QueryOrder::AsWritten => true,
        QueryOrder::ByName => query.split('&').map(name).is_sorted(),
    };
    // An empty query loses its `?`.
    if !query.is_empty() && query.split('&').all(|it| is_kept(&it)) && is_ordered() {
        return Cow::Borrowed(target);
    }
    let mut kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    if order == QueryOrder::ByName {
        kept.sort_by_key(|parameter| name(parameter));
    }
    match kept.join("&") {
        left if left.is_empty() => Cow::Borrowed(path),
        left => Cow::Owned(format!("{path}?{left}")),
    }
}

fn name(parameter: &str) -> &str {
    parameter
        .split_once('=')
        .map_or(parameter, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utm() -> Globs {
        Globs::new(["utm_*", "fbclid"])
    }

    #[test]
    fn ignored_parameters_are_removed_and_the_rest_is_unchanged() {
        for (target, expected) in [
            ("/", "/"),
            ("/?", "/"),
            ("*", "*"),
            ("/a?b=1&c", "/a?b=1&c"),
            ("/a?utm_source=x", "/a"),
            ("/a?fbclid", "/a"),
            ("/a?b=1&utm_source=x&c=2&fbclid=3", "/a?b=1&c=2"),
            ("/a?b=utm_source=x", "/a?b=utm_source=x"),
            ("/a?b==&&c", "/a?b==&&c"),
            ("/utm_x?b", "/utm_x?b"),
            ("/a?b=?utm_x=1&utm_y=?", "/a?b=?utm_x=1"),
            // Another spelling is another name, which is not ignored.
            ("/a?UTM_SOURCE=x", "/a?UTM_SOURCE=x"),
            ("/a?utm%5Fsource=x", "/a?utm%5Fsource=x"),
            ("/a?b=1;utm_source=x", "/a?b=1;utm_source=x"),
        ] {
            assert_eq!(
                rewritten(target, &utm(), QueryOrder::AsWritten),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn sorting_is_stable_and_by_the_bytes_of_the_name() {
        for (target, expected) in [
            ("/a?c=1&a=2&b=3", "/a?a=2&b=3&c=1"),
            ("/a?b=2&a&b=1&a=0", "/a?a&a=0&b=2&b=1"),
            ("/a?b=1&%61=2&B=3", "/a?%61=2&B=3&b=1"),
            ("/a?b&&a", "/a?&a&b"),
            ("/a?utm_x=1&b=2&a=1", "/a?a=1&b=2"),
            ("/a?&", "/a?&"),
        ] {
            assert_eq!(
                rewritten(target, &utm(), QueryOrder::ByName),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn an_untouched_target_is_not_copied() {
        for order in [QueryOrder::AsWritten, QueryOrder::ByName] {
            let target = rewritten("/a?a=1&b=2", &utm(), order);
            assert!(matches!(target, Cow::Borrowed(_)));
        }
    }

    proptest! {
        #[test]
        fn rewriting_is_idempotent_and_removes_all_ignored_parameters(
            target in "/[a-c]{0,2}(\\?[ab&=?;_%utm]{0,24})?",
        ) {
            for order in [QueryOrder::AsWritten, QueryOrder::ByName] {
                let once = rewritten(&target, &utm(), order);
                prop_assert_eq!(&rewritten(&once, &utm(), order), &once);
                let query = once.split_once('?').map_or("", |(_, query)| query);
                prop_assert!(query.split('&').all(|parameter| !utm().matches(name(parameter))));
            }
        }

        #[test]
        fn sorted_queries_do_not_depend_on_the_order_received(
            names in proptest::collection::btree_set("[a-z%]{1,3}", 0..6),
            seed in any::<u64>(),
        ) {
            let mut shuffled: Vec<&String> = names.iter().collect();
            shuffled.sort_by_key(|name| {
                name.bytes().fold(seed, |hash, byte| {
                    hash.wrapping_mul(31).wrapping_add(u64::from(byte)).rotate_left(7)
                })
            });
            let target = |names: Vec<&String>| {
                let parameters: Vec<String> = names.iter().map(|name| format!("{name}=1")).collect();
                format!("/?{}", parameters.join("&"))
            };
            let (one, other) = (target(names.iter().collect()), target(shuffled));
            prop_assert_eq!(
                rewritten(&one, &utm(), QueryOrder::ByName),
                rewritten(&other, &utm(), QueryOrder::ByName)
            );
        }
    }
}
