//! The names of environment variables.

use std::ffi::OsString;

use super::{
    Config,
    error::nearest,
    keys::{KEYS, ROUTES, RULES},
    routes,
};
use crate::mask;

/// What the variables of settings begin with.
const PREFIX: &str = "CACHING_PROXY_";
/// The beginnings of other names: Kubernetes sets such variables for a service of that name, and tests do.
const OTHERS: &[&str] = &["SERVICE_", "PORT_", "TEST_", "CRASH_"];
/// The most characters of an unknown name that are shown.
const MAX_SHOWN_CHARS: usize = 100;

/// The variable of the setting with this name.
pub(super) fn name_of(setting: &str) -> String {
    let setting = setting.replace('-', "_").to_ascii_uppercase();
    format!("{PREFIX}{setting}")
}

impl Config {
    /// A sentence about each variable that is named as if it were a setting, and is none. `variables` are all variables of
    /// the environment with their values. An empty one counts as unset.
    pub fn unknown_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<String> {
        let settings = KEYS.iter().filter(|key| ![ROUTES, RULES].contains(key));
        let settings: Vec<&str> = settings.copied().chain(["config", routes::FLAG]).collect();
        let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
        set.filter_map(|(name, _)| unknown(&name.to_string_lossy(), &settings))
            .collect()
    }
}

/// `None` if the variable is one of these settings, or is not named like a setting.
fn unknown(variable: &str, settings: &[&str]) -> Option<String> {
    let rest = variable.strip_prefix(PREFIX)?;
    if OTHERS.iter().any(|other| rest.starts_with(other)) {
        return None;
    }
    let key = mask::cut(rest, MAX_SHOWN_CHARS).to_ascii_lowercase();
    if settings.iter().any(|it| name_of(it) == variable) {
        return None;
    }
    let shown = mask::cut(variable, MAX_SHOWN_CHARS);
    let meant = match nearest(&key, settings) {
        Some(setting) => format!("did you mean {}?", name_of(setting)),
        None => "no setting has this name".to_owned(),
    };
    Some(format!("the variable {shown:?} is ignored: {meant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_of(name: &str, value: &str) -> Vec<String> {
        Config::unknown_variables([(name.into(), value.into())])
    }

    #[test]
    fn an_unknown_variable_comes_with_the_nearest_known_one() {
        for (name, meant) in [
            ("CACHING_PROXY_TLL", "did you mean CACHING_PROXY_TTL?"),
            ("CACHING_PROXY_ROUTES", "did you mean CACHING_PROXY_ROUTE?"),
            (
                "CACHING_PROXY_MAX-MEMORY",
                "did you mean CACHING_PROXY_MAX_MEMORY?",
            ),
            ("CACHING_PROXY_TAKE_OVER", "no setting has this name"),
            ("CACHING_PROXY_", "no setting has this name"),
        ] {
            let expected = format!("the variable {name:?} is ignored: {meant}");
            assert_eq!(unknown_of(name, "1"), [expected]);
        }
    }

    #[test]
    fn known_variables_and_those_of_others_are_not_mentioned() {
        let settings = KEYS.iter().filter(|key| ![ROUTES, RULES].contains(key));
        for setting in settings.chain(&["config", "route"]) {
            assert_eq!(unknown_of(&name_of(setting), "1"), [""; 0], "{setting}");
        }
        for name in [
            "CACHING_PROXY_SERVICE_HOST",
            "CACHING_PROXY_PORT_8000_TCP_ADDR",
            "CACHING_PROXY_TEST_ROOT",
            "CACHING_PROXY_CRASH_KILLS",
            "CACHING_PROXYTTL",
            "PATH",
        ] {
            assert_eq!(unknown_of(name, "1"), [""; 0], "{name}");
        }
        assert_eq!(unknown_of("CACHING_PROXY_TLL", ""), [""; 0]);
    }
}
