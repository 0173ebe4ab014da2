//! `check-config`: reads the configuration as a start does, and prints it.

use caching_proxy::{
    cli::SettingsArgs,
    config::{self, Setting, SettingSource, in_words},
};
use serde_json::{Map, Value, json};

use super::text::json_line;
use crate::{failure::Failure, serve::tls_for, terminal::print};

/// Prints that the configuration is valid, and every setting with its source.
pub(super) fn check_config(settings: SettingsArgs, as_json: bool) -> Result<(), Failure> {
    let environment = |variable: &str| std::env::var_os(variable);
    let (config, settings) = config::inspect(&settings.flags(), &environment)?;
    tls_for(&config)?;
    print(&if as_json {
        json_line(&document(settings))?
    } else {
        table(&settings)
    });
    Ok(())
}

fn table(settings: &[Setting]) -> String {
    let mut text = "configuration is valid\n".to_owned();
    for Setting { name, value, place } in settings {
        let from = place.as_ref().map_or("default".to_owned(), where_it_is);
        text.push_str(&format!("{name:<16} {}  ({from})\n", in_words(value)));
    }
    text
}

fn document(settings: Vec<Setting>) -> Value {
    let settings: Map<String, Value> = settings
        .into_iter()
        .map(|Setting { name, value, place }| {
            let source = match place {
                None => "default",
                Some(SettingSource::Flag(_)) => "flag",
                Some(SettingSource::Environment(_)) => "environment",
                Some(SettingSource::File { .. }) => "file",
            };
            let place = place.as_ref().map(where_it_is);
            let setting = json!({ "value": value, "source": source, "place": place });
            (name.to_owned(), setting)
        })
        .collect();
    json!({ "valid": true, "settings": settings })
}

fn where_it_is(place: &SettingSource) -> String {
    match place {
        SettingSource::File { file, line, .. } => format!("{}:{line}", file.display()),
        other => other.to_string(),
    }
}
