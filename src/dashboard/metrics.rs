//! `/metrics`: the counters in the text format of OpenMetrics.

use std::{collections::BTreeSet, fmt};

use actix_web::{HttpResponse, web::Data};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text::encode},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use super::{
    samples::{counter, gauge, sample},
    tier_metrics::{disk, shared_tier},
};
use crate::{
    cache::{CacheStats, DiskTier, GetStats, SharedTier},
    clock,
    disk::DiskStats,
    headers::RequestOutcome,
    observe::{
        BOUNDS_MILLIS, CertificateReport, OriginTotals, RouteTotals, Totals, dropped_log_lines,
    },
    proxy::Shared,
    redis::RedisStats,
};

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const PREFIX: &str = "caching_proxy";

/// Responds to a scrape.
pub(super) async fn metrics(shared: Data<Shared>) -> HttpResponse {
    let figures = Figures {
        totals: shared.observer.totals(),
        stored: shared.cache.send(GetStats).await.ok(),
        on_disk: shared.cache.disk().map(DiskTier::stats),
        shared: shared.cache.shared().map(SharedTier::stats),
        certificates: shared.certificates(clock::now()),
        dropped: shared.observer.feed().map_or(0, |feed| feed.dropped()),
        uptime_seconds: shared.observer.uptime().as_secs_f64(),
        is_offline: shared.config().offline,
        routes: shared.observer.route_totals(),
        origins: shared
            .origin_states(clock::now())
            .zip(shared.observer.origin_totals())
            .map(|(state, totals)| {
                let pause = state.pace.state(Instant::now()).pause();
                OriginFigures {
                    origin: state.url.to_string(),
                    queued: state.pace.queued() as u64,
                    paused_seconds: pause.map_or(0.0, |(left, _)| left.as_secs_f64()),
                    totals,
                }
            })
            .collect(),
    };
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(figures));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => HttpResponse::Ok().content_type(TYPE).body(text),
        Err(fmt::Error) => HttpResponse::InternalServerError().finish(),
    }
}

/// The values of one scrape.
#[derive(Debug)]
struct Figures {
    totals: Totals,
    stored: Option<CacheStats>,
    on_disk: Option<DiskStats>,
    shared: Option<RedisStats>,
    certificates: Vec<CertificateReport>,
    dropped: u64,
    uptime_seconds: f64,
    is_offline: bool,
    routes: Vec<RouteTotals>,
    origins: Vec<OriginFigures>,
}

/// The values of one origin.
#[derive(Debug)]
struct OriginFigures {
    origin: String,
    queued: u64,
    paused_seconds: f64,
    totals: OriginTotals,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        self.requests(to)?;
        self.routes(to)?;
        self.reasons(to)?;
        self.bytes(to)?;
        self.origin(to)?;
        self.clients(to)?;
        self.tunnels(to)?;
        if let Some(stored) = &self.stored {
            cache(to, stored)?;
        }
        if let Some(stored) = &self.on_disk {
            disk(to, stored)?;
        }
        if let Some(shared) = &self.shared {
            shared_tier(to, shared)?;
        }
        self.certificates(to)?;
        let help = "Requests that were left out of the dashboard's list";
        counter(to, "dashboard_dropped_requests", help, None, self.dropped)?;
        let help = "Lines of log that were dropped because nobody read them";
        counter(to, "dropped_log_lines", help, None, dropped_log_lines())?;
        let help = "1 while no request goes to an origin, else 0";
        gauge(to, "offline", help, None, u64::from(self.is_offline))?;
        let help = "Time since the start of the proxy";
        gauge(to, "uptime", help, Some(Unit::Seconds), self.uptime_seconds)
    }
}

impl Figures {
    /// The certificates that clients get; nothing without TLS.
    fn certificates(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return Ok(());
        }
        let help = "Time until a certificate expires, by its first host name; 0 after that";
        let name = "tls_certificate_expiry";
        let unit = Some(Unit::Seconds);
        let mut family = to.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        let mut named = BTreeSet::new();
        // Of two for a name, as of an RSA and an ECDSA key, the one that ends first.
        let mut certificates: Vec<_> = self.certificates.iter().collect();
        certificates.sort_by_key(|it| it.seconds_left);
        for certificate in certificates {
            if named.insert(&certificate.name) {
                let labels = vec![("name".to_owned(), certificate.name.clone())];
                let gauge = ConstGauge::new(certificate.seconds_left);
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// Requests by outcome. The reason of a miss is why it went to the origin, that of a failure is its kind.
    fn requests(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.totals;
        let help = "Requests by outcome and reason";
        let mut family = to.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (outcome, count) in [
            (RequestOutcome::Hit, totals.hits()),
            (RequestOutcome::Validated, totals.validated()),
            (RequestOutcome::Stale, totals.stale()),
            (RequestOutcome::Collapsed, totals.collapsed()),
            (RequestOutcome::Own, totals.own()),
            (RequestOutcome::Tunnel, totals.tunnels()),
        ] {
            sample(
                &mut family,
                &[("outcome", outcome.as_str()), ("reason", "")],
                count,
            )?;
        }
        for (forward, count) in totals.misses_by() {
            let labels = [("outcome", "miss"), ("reason", forward.as_str())];
            sample(&mut family, &labels, count)?;
        }
        for (name, count) in totals.failed_by() {
            sample(
                &mut family,
                &[("outcome", "failed"), ("reason", name)],
                count,
            )?;
        }
        let help = "Responses by status class";
        let mut family = to.encode_descriptor("responses", help, None, MetricType::Counter)?;
        for (class, count) in CLASSES.iter().zip(totals.classes()) {
            sample(&mut family, &[("class", class)], *count)?;
        }
        Ok(())
    }

    /// Requests by route. The reasons are in the sum over all routes alone, for the number of series is bounded.
    fn routes(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests by route and outcome";
        let mut family = to.encode_descriptor("route_requests", help, None, MetricType::Counter)?;
        for route in &self.routes {
            for outcome in RouteTotals::OUTCOMES {
                let labels = [("route", &*route.name), ("outcome", outcome.as_str())];
                sample(&mut family, &labels, route.outcome(outcome))?;
            }
        }
        let help = "Responses by route and status class";
        let mut family =
            to.encode_descriptor("route_responses", help, None, MetricType::Counter)?;
        for route in &self.routes {
            for (class, count) in CLASSES.iter().zip(route.classes()) {
                let labels = [("route", &*route.name), ("class", *class)];
                sample(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn reasons(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Responses of the origin that were not stored, by reason";
        let mut family = to.encode_descriptor("not_stored", help, None, MetricType::Counter)?;
        // What has occurred is never left out.
        let not_stored = self.totals.not_stored_by();
        let not_stored =
            not_stored.filter(|(reason, count)| *count > 0 || reason.concerns_storing());
        for (reason, count) in not_stored {
            sample(&mut family, &[("reason", reason.as_str())], count)?;
        }
        let help = "Stored responses that were not reused, by reason";
        let mut family = to.encode_descriptor("not_reused", help, None, MetricType::Counter)?;
        let not_reused = self.totals.not_reused_by();
        let not_reused = not_reused.filter(|(reason, count)| *count > 0 || reason.concerns_reuse());
        for (reason, count) in not_reused {
            sample(&mut family, &[("reason", reason.as_str())], count)?;
        }
        Ok(())
    }

    fn bytes(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (totals, bytes) = (&self.totals, Some(&Unit::Bytes));
        let help = "Bytes of bodies sent to clients";
        counter(to, "sent", help, bytes, totals.sent_bytes())?;
        let help = "Bytes of bodies received from the origin";
        counter(to, "received", help, bytes, totals.received_bytes())?;
        let help = "Bytes of bodies sent to clients without a fetch from the origin";
        counter(to, "saved", help, bytes, totals.saved_bytes())?;
        let help = "Requests served without a request to the origin";
        counter(to, "saved_requests", help, None, totals.saved_requests())?;
        let help = "How long the fetches of the reused responses took";
        let seconds = seconds_of_millis(totals.saved_millis());
        counter(to, "saved_origin", help, Some(&Unit::Seconds), seconds)
    }

    fn clients(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let clients = self.totals.clients();
        let help = "Connections of clients with TLS and without it";
        let mut family = to.encode_descriptor("connections", help, None, MetricType::Counter)?;
        sample(
            &mut family,
            &[("layer", "plain")],
            clients.plain_connections(),
        )?;
        sample(&mut family, &[("layer", "tls")], clients.tls_connections())?;
        let help = "Requests by protocol, without those refused or redirected to https";
        let name = "protocol_requests";
        let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (protocol, count) in clients.requests() {
            let (protocol, layer) = protocol.names();
            let labels = [("protocol", protocol), ("layer", layer)];
            sample(&mut family, &labels, count)?;
        }
        let help = "TLS handshakes with clients by their end";
        let mut family = to.encode_descriptor("tls_handshakes", help, None, MetricType::Counter)?;
        for (end, count) in clients.handshakes() {
            sample(&mut family, &[("end", end.as_str())], count)?;
        }
        Ok(())
    }

    fn tunnels(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (totals, bytes) = (&self.totals, Some(&Unit::Bytes));
        let help = "Tunnels (WebSocket) that are open";
        gauge(to, "open_tunnels", help, None, totals.open_tunnels())?;
        let help = "Bytes that tunnels have passed on to the origin";
        let number = totals.tunnel_to_origin_bytes();
        counter(to, "tunnel_to_origin", help, bytes, number)?;
        let help = "Bytes that tunnels have passed on to clients";
        let number = totals.tunnel_to_client_bytes();
        counter(to, "tunnel_to_client", help, bytes, number)
    }

    fn origin(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time until the headers of an origin's response arrived";
        let unit = Some(&Unit::Seconds);
        let mut family = to.encode_descriptor("origin", help, unit, MetricType::Histogram)?;
        for OriginFigures { origin, totals, .. } in &self.origins {
            latency(&mut family, origin, totals)?;
        }
        let help = "Requests to each origin that failed, by kind";
        let mut family =
            to.encode_descriptor("origin_failures", help, None, MetricType::Counter)?;
        for OriginFigures { origin, totals, .. } in &self.origins {
            for (kind, count) in totals.failed_by() {
                let labels = [("origin", &**origin), ("kind", kind.name())];
                sample(&mut family, &labels, count)?;
            }
        }
        let help = "Requests to each origin: answered or failed";
        let mut family =
            to.encode_descriptor("origin_requests", help, None, MetricType::Counter)?;
        for OriginFigures { origin, totals, .. } in &self.origins {
            for (outcome, count) in [
                ("answered", totals.answers()),
                ("failed", totals.unanswered()),
            ] {
                let labels = [("origin", &**origin), ("outcome", outcome)];
                sample(&mut family, &labels, count)?;
            }
        }
        let help = "Requests that queue for an origin, because of --max-rate";
        let mut family = to.encode_descriptor("origin_queued", help, None, MetricType::Gauge)?;
        for figures in &self.origins {
            let labels = [("origin", figures.origin.as_str())];
            ConstGauge::new(figures.queued).encode(family.encode_family(&labels)?)?;
        }
        let help = "How long an origin gets no requests, as it has asked for";
        let mut family = to.encode_descriptor("origin_paused", help, unit, MetricType::Gauge)?;
        for figures in &self.origins {
            let labels = [("origin", figures.origin.as_str())];
            ConstGauge::new(figures.paused_seconds).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The histogram of the latency of one origin.
fn latency(family: &mut MetricEncoder<'_>, origin: &str, totals: &OriginTotals) -> fmt::Result {
    let bounds = BOUNDS_MILLIS.iter().map(|bound| seconds_of_millis(*bound));
    let counts = totals.latency_counts().iter().copied();
    let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
    let (seconds, all) = (totals.latency_seconds(), totals.answers());
    let labels = [("origin", origin)];
    let mut encoder = family.encode_family(&labels)?;
    encoder.encode_histogram::<NoLabelSet>(seconds, all, &buckets, None)
}

fn cache(to: &mut DescriptorEncoder<'_>, stored: &CacheStats) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    gauge(to, "entries", "Stored responses", None, stored.entries)?;
    let help = "Memory of the stored responses, overhead included";
    gauge(to, "stored", help, bytes(), stored.stored_bytes)?;
    let help = "Memory that counts against the limit of the cache";
    gauge(to, "memory_used", help, bytes(), stored.used_bytes)?;
    let help = "Memory limit of the cache";
    gauge(to, "memory_limit", help, bytes(), stored.limit_bytes)?;
    let help = "Stored responses that were evicted to free memory";
    counter(to, "evictions", help, None, stored.evictions)?;
    gauge(to, "fetches", "Fetches in progress", None, stored.fetches)
}

#[allow(clippy::cast_precision_loss, reason = "a sum for means")]
fn seconds_of_millis(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
