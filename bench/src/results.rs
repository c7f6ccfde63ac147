//! All samples of a run, their medians, and the ratios within each round.

use std::collections::BTreeMap;

use crate::cell::{Cell, Contestant, Mean, Target};
use crate::run::Sample;

/// Median and range of one value over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Middle value; mean of the two middle ones if their number is even.
    pub(crate) median: f64,
    /// Smallest.
    pub(crate) low: f64,
    /// Largest.
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, low, high })
    }
}

/// Samples by cell and contestant; a void round is `Err` with the reason.
#[derive(Debug, Default)]
pub(crate) struct Results {
    rounds: BTreeMap<(String, Contestant), Vec<Result<Sample, String>>>,
}

impl Results {
    /// Adds the next round's sample.
    pub(crate) fn push(&mut self, cell: &str, server: &Contestant, sample: Result<Sample, String>) {
        self.rounds.entry((cell.to_owned(), server.clone())).or_default().push(sample);
    }

    /// All rounds of a cell on a server.
    pub(crate) fn rounds(&self, cell: &str, server: &Contestant) -> &[Result<Sample, String>] {
        self.rounds.get(&(cell.to_owned(), server.clone())).map_or(&[], Vec::as_slice)
    }

    /// Reasons why rounds are void.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.rounds.iter().flat_map(|((cell, server), rounds)| {
            let reasons = rounds.iter().filter_map(|round| round.as_ref().err());
            reasons.map(|reason| (cell.as_str(), server.name(), reason.as_str()))
        })
    }

    /// One measured value over the rounds that count.
    pub(crate) fn spread(&self, cell: &str, server: &Contestant, measure: &str) -> Option<Spread> {
        let values = self.rounds(cell, server).iter().flatten().filter_map(|sample| sample.get(measure));
        Spread::of(values.copied().collect())
    }

    /// One value divided by the same value of another cell and server, round by round.
    pub(crate) fn ratio(
        &self,
        of: (&str, &Contestant),
        to: (&str, &Contestant),
        measure: &str,
    ) -> Option<Spread> {
        let pairs = self.rounds(of.0, of.1).iter().zip(self.rounds(to.0, to.1));
        let ratios = pairs
            .filter_map(|(of, to)| Some(of.as_ref().ok()?.get(measure)? / to.as_ref().ok()?.get(measure)?));
        Spread::of(ratios.collect())
    }

    /// What was reached in `cell`, in the terms of the target.
    pub(crate) fn reached(&self, cell: &str, target: &Target) -> Option<Spread> {
        Spread::of(self.reached_by_round(cell, target).into_iter().flatten().collect())
    }

    /// The geometric mean of what the cells reached, of the rounds in which each of them counts.
    pub(crate) fn mean(&self, cells: &[Cell], mean: &Mean) -> Option<Spread> {
        let mut sums: Vec<Option<f64>> = Vec::new();
        for name in &mean.cells {
            let cell = cells.iter().find(|cell| cell.name == *name)?;
            let target = cell.targets.iter().find(|target| mean.is_of(target))?;
            let logarithms =
                self.reached_by_round(name, target).into_iter().map(|reached| reached.map(f64::ln));
            sums = if sums.is_empty() {
                logarithms.collect()
            } else {
                sums.into_iter().zip(logarithms).map(|(sum, more)| Some(sum? + more?)).collect()
            };
        }
        let count = mean.cells.len() as f64;
        Spread::of(sums.into_iter().flatten().map(|sum| (sum / count).exp()).collect())
    }

    fn reached_by_round(&self, cell: &str, target: &Target) -> Vec<Option<f64>> {
        let value = |cell: &str, server: &Contestant, round: usize| {
            self.rounds(cell, server).get(round)?.as_ref().ok()?.get(target.measure).copied()
        };
        let best = |round| {
            let others: Option<Vec<f64>> =
                target.against.iter().map(|(cell, server)| value(cell, server, round)).collect();
            others?.into_iter().reduce(if target.at_least { f64::max } else { f64::min })
        };
        let reached = |round| {
            let own = value(cell, &target.who, round)?;
            if target.against.is_empty() { Some(own) } else { Some(own / best(round)?) }
        };
        (0..self.rounds(cell, &target.who).len()).map(reached).collect()
    }
}

/// Whether the median keeps the limit.
pub(crate) fn met(target: &Target, reached: Spread) -> bool {
    if target.at_least { reached.median >= target.limit } else { reached.median <= target.limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut results = Results::default();
        for (raw, whub) in [(1.0, 2.0), (10.0, 11.0), (4.0, 6.0)] {
            results.push("echo", &Contestant::Raw, Ok(Sample::from([("cpu_us", raw)])));
            results.push("echo", &Contestant::Whub, Ok(Sample::from([("cpu_us", whub)])));
        }
        let ratio = results.ratio(("echo", &Contestant::Whub), ("echo", &Contestant::Raw), "cpu_us");
        assert_eq!(ratio, Some(Spread { median: 1.5, low: 1.1, high: 2.0 }));
    }

    #[test]
    fn the_best_of_several_is_that_of_the_round_and_the_mean_is_geometric() {
        let cells = crate::cell::chosen(&["gateway".to_owned()]);
        let means = crate::cell::means();
        let mut results = Results::default();
        let mut push = |cell: &str, server: &Contestant, cpu| {
            results.push(cell, server, Ok(Sample::from([("cpu_us", cpu)])));
        };
        for (whub, nginx, haproxy) in [(4.0, 2.0, 8.0), (8.0, 16.0, 4.0)] {
            for (name, factor) in means[0].cells.iter().zip([1.0, 1.0, 4.0, 0.25]) {
                push(name, &Contestant::WhubGateway, whub * factor);
                push(name, &Contestant::NginxWs, nginx);
                push(name, &Contestant::HaproxyWs, haproxy);
            }
        }
        let cell = cells.iter().find(|cell| cell.name == "gateway-64x16").expect("a cell of this name");
        assert_eq!(results.reached(cell.name, &cell.targets[0]).map(|reached| reached.median), Some(8.0));
        let mean = results.mean(&cells, &means[0]).expect("all cells count");
        assert!((mean.median - 2.0).abs() < 1e-9, "{mean:?}");
        assert_eq!(results.mean(&cells, &means[1]), None, "nobody measured it");
    }

    #[test]
    fn a_void_round_counts_for_nobody() {
        let mut results = Results::default();
        results.push("echo", &Contestant::Raw, Err("lost".to_owned()));
        results.push("echo", &Contestant::Whub, Ok(Sample::from([("cpu_us", 1.0)])));
        assert_eq!(results.ratio(("echo", &Contestant::Whub), ("echo", &Contestant::Raw), "cpu_us"), None);
        assert_eq!(results.faults().collect::<Vec<_>>(), [("echo", "raw", "lost")]);
    }
}
