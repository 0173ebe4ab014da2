//! The samples of metrics, by the kind of the metric.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

pub(super) fn sample(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    count: u64,
) -> fmt::Result {
    let labels: Vec<(String, String)> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    ConstCounter::new(count).encode(family.encode_family(&labels)?)
}

pub(super) fn counter<N>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    number: N,
) -> fmt::Result
where
    ConstCounter<N>: EncodeMetric,
{
    let encoder = to.encode_descriptor(name, help, unit, MetricType::Counter)?;
    ConstCounter::new(number).encode(encoder)
}

pub(super) fn gauge<N>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    number: N,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let encoder = to.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
    ConstGauge::new(number).encode(encoder)
}
