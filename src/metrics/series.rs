//! Counters of one name, one for each word of their labels.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::Counter},
};

/// One label with its value.
pub(super) type Label = (&'static str, &'static str);

/// Counters of one name, told apart by `N` labels, in a fixed order.
pub(super) struct Series<const N: usize> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) rows: Vec<([Label; N], Counter)>,
}

impl<const N: usize> Collector for Series<N> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        for (labels, counter) in &self.rows {
            counter.encode(metric.encode_family(labels)?)?;
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Series<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Series").field(&self.name).finish()
    }
}

pub(super) fn series<const N: usize>(
    name: &'static str,
    help: &'static str,
    (label, words): (&'static str, [&'static str; N]),
    counters: &[Counter; N],
) -> Series<1> {
    let rows = words.into_iter().map(|word| [(label, word)]).zip(counters.iter().cloned()).collect();
    Series { name, help, rows }
}

/// Every pair of the words of two labels, the second changing fastest.
pub(super) fn pairs<const N: usize, const M: usize>(
    (first, words): (&'static str, [&'static str; N]),
    (second, others): (&'static str, [&'static str; M]),
) -> impl Iterator<Item = [Label; 2]> {
    words.into_iter().flat_map(move |word| others.map(move |other| [(first, word), (second, other)]))
}
