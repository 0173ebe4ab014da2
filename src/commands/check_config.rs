//! `check-config`: reads the configuration as a start does, and prints it.

use bytesize::ByteSize;
use caching_proxy::{
    cli::SettingsArgs,
    clock,
    config::{self, Config, Setting, SettingSource, in_words},
    error::Chain,
    redis::{self, RedisReport},
    server::redis_tls,
    tls::ServerTls,
};
use serde_json::{Map, Value, json};

use super::text::json_line;
use crate::{
    failure::Failure,
    serve::tls_for,
    terminal::{print, say},
};

/// Prints that the configuration is valid, and every setting with its source.
pub(super) fn check_config(settings: SettingsArgs, as_json: bool) -> Result<(), Failure> {
    let environment = |variable: &str| std::env::var_os(variable);
    let (config, settings) = config::inspect(&settings.flags(), &environment)?;
    for unknown in Config::unknown_variables(std::env::vars_os()) {
        say(&format!("warning: {unknown}"));
    }
    tls_for(&config)?;
    let certificates = match &config.tls {
        Some(settings) => ServerTls::check(settings, clock::now())?,
        None => Vec::new(),
    };
    let redis = redis_report(&config);
    print(&if as_json {
        json_line(&document(settings, &certificates, redis))?
    } else {
        format!(
            "{}{}{}",
            table(&settings),
            certificate_lines(&certificates),
            redis.map_or_else(String::new, redis_lines)
        )
    });
    Ok(())
}

/// How long the certificates for clients are valid; empty if there are none.
fn certificate_lines(certificates: &[String]) -> String {
    let lines = certificates.iter();
    let lines: String = lines
        .map(|it| format!("HTTPS: the certificate for {it}\n"))
        .collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// What the Redis of the configuration is; `None` if there is none. A proxy starts without it, so it is no error of the
/// configuration that it cannot be reached.
fn redis_report(config: &Config) -> Option<Result<RedisReport, String>> {
    let url = config.shared_tier.url.as_ref()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let report = async {
        let tls = redis_tls(config).map_err(|error| error.to_string())?;
        let namespace = &config.shared_tier.namespace;
        let report = redis::check(url, namespace, tls).await;
        report.map_err(|error| Chain(&error).to_string())
    };
    Some(match runtime {
        Ok(runtime) => runtime.block_on(report),
        Err(error) => Err(error.to_string()),
    })
}

/// What the Redis of the configuration is, and what to set there.
fn redis_lines(report: Result<RedisReport, String>) -> String {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            return format!("\nRedis cannot be used now, and a proxy would work alone: {error}\n");
        }
    };
    let version = report.version.as_deref().unwrap_or("of an unknown version");
    let latency = report.latency.as_secs_f64() * 1e3;
    let mut text = format!("\nRedis answers: {version}, {latency:.2} ms\n");
    let memory = report.max_memory_bytes.map(|bytes| match bytes {
        0 => "no limit".to_owned(),
        bytes => ByteSize(bytes).to_string(),
    });
    let policy = report.max_memory_policy.as_deref();
    if let (Some(memory), Some(policy)) = (memory, policy) {
        text.push_str(&format!(
            "  maxmemory {memory}, maxmemory-policy {policy}\n"
        ));
    }
    for advice in advice(&report) {
        text.push_str(&format!("  {advice}\n"));
    }
    text
}

/// What to set in Redis.
fn advice(report: &RedisReport) -> Vec<String> {
    let mut advice = Vec::new();
    if report.max_memory_bytes == Some(0) {
        advice
            .push("set maxmemory: without a limit the cache grows with what is fetched".to_owned());
    }
    let policy = report.max_memory_policy.as_deref();
    if policy.is_some_and(|policy| !policy.ends_with("-lfu") && !policy.ends_with("-lru")) {
        advice.push(
            "set maxmemory-policy to allkeys-lfu, so that what is used least makes room".to_owned(),
        );
    }
    let refused = report.refused.iter();
    advice
        .extend(refused.map(|refusal| {
            format!("the user of the URL may not do all that is needed: {refusal}")
        }));
    advice
}

fn table(settings: &[Setting]) -> String {
    let mut text = "configuration is valid\n".to_owned();
    let width = settings.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for Setting { name, value, place } in settings {
        let from = place.as_ref().map_or("default".to_owned(), where_it_is);
        text.push_str(&format!("{name:<width$}  {}  ({from})\n", in_words(value)));
    }
    text
}

fn document(
    settings: Vec<Setting>,
    certificates: &[String],
    redis: Option<Result<RedisReport, String>>,
) -> Value {
    let redis = redis.map(|report| match report {
        Ok(report) => json!({
            "reached": true,
            "version": report.version,
            "latency_us": u64::try_from(report.latency.as_micros()).unwrap_or(u64::MAX),
            "maxmemory": report.max_memory_bytes,
            "maxmemory_policy": report.max_memory_policy,
            "advice": advice(&report),
        }),
        Err(error) => json!({ "reached": false, "error": error }),
    });
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
    json!({ "valid": true, "settings": settings, "certificates": certificates, "redis": redis })
}

fn where_it_is(place: &SettingSource) -> String {
    match place {
        SettingSource::File { file, line, .. } => format!("{}:{line}", file.display()),
        other => other.to_string(),
    }
}
