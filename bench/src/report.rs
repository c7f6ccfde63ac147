//! The table of a run: Markdown for people, JSON with every round for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cell::{self, Cell, Contestant, Mean, Target};
use crate::results::{Results, Spread, met};

/// One table: a row per cell and server; on the hub's rows the figures to reach.
pub(crate) fn markdown(cells: &[Cell], results: &Results, conditions: &Value) -> String {
    let mut text = String::new();
    for (name, value) in conditions.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text += &format!("- {name}: {value}\n");
    }
    text += "\n| cell | server | per s | CPU µs each | CPU ÷ raw | p50 µs | p50 ÷ raw | p99 µs | load \
             | generator | KiB each | figure to reach |\n";
    text += "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n";
    for cell in cells {
        for server in &cell.contestants {
            text += &row(cell, server, results);
        }
    }
    for mean in cell::means() {
        if let Some(reached) = results.mean(cells, &mean) {
            let (name, measure) = (mean.who.name(), label(mean.measure));
            text += &format!(
                "\n{name}, geometric mean of {measure}: ≤ {}: {}\n",
                mean.limit,
                outcome(&mean, reached)
            );
        }
    }
    for (cell, server, reason) in results.faults() {
        text += &format!("\nVoid: {cell} on {server}: {reason}");
    }
    text
}

fn row(cell: &Cell, server: &Contestant, results: &Results) -> String {
    let value = |measure: &str| spread(results.spread(cell.name, server, measure));
    let ratio = |measure: &str| {
        let to = cell.raw.filter(|_| *server != Contestant::Raw);
        spread(to.and_then(|raw| results.ratio((cell.name, server), (raw, &Contestant::Raw), measure)))
    };
    let targets = cell.targets.iter().filter(|target| target.who == *server);
    let targets: Vec<String> = targets.map(|target| verdict(cell, target, results)).collect();
    let mut line = String::new();
    let columns = [
        cell.name.to_owned(),
        server.name().to_owned(),
        value("per_s"),
        value("cpu_us"),
        ratio("cpu_us"),
        value("p50_us"),
        ratio("p50_us"),
        value("p99_us"),
        value("server_load"),
        value("generator_load"),
        value("rss_kib"),
        targets.join("; "),
    ];
    for column in columns {
        // Writing to a string cannot fail.
        let _ = write!(line, "| {column} ");
    }
    line + "|\n"
}

/// `CPU ≤ 1.26 × raw echo-64x16: 1.11 [1.05–1.20] met`
fn verdict(cell: &Cell, target: &Target, results: &Results) -> String {
    let name = label(target.measure);
    let sign = if target.at_least { '≥' } else { '≤' };
    let of = |(other, server): &(&str, Contestant)| {
        let other = if *other == cell.name { String::new() } else { format!(" {other}") };
        format!("{}{other}", server.name())
    };
    let against = match target.against.as_slice() {
        [] => String::new(),
        [one] => format!(" × {}", of(one)),
        several => format!(" × the best of {}", several.iter().map(of).collect::<Vec<_>>().join(", ")),
    };
    let outcome = match results.reached(cell.name, target) {
        Some(reached) if met(target, reached) => format!("{} **met**", spread(Some(reached))),
        Some(reached) => format!("{} **missed**", spread(Some(reached))),
        None => "not measured".to_owned(),
    };
    format!("{name} {sign} {}{against}: {outcome}", target.limit)
}

fn outcome(mean: &Mean, reached: Spread) -> String {
    let word = if reached.median <= mean.limit { "met" } else { "missed" };
    format!("{} **{word}**", spread(Some(reached)))
}

fn label(measure: &'static str) -> &'static str {
    match measure {
        "cpu_us" => "CPU",
        "p50_us" => "p50",
        "per_cpu_s" => "per CPU s",
        "rss_kib" => "KiB",
        "per_s" => "per s",
        "spread" => "calls per provider, most ÷ least",
        "least" => "calls per provider",
        "grown_kib" => "KiB grown",
        other => other,
    }
}

/// Median and range, three digits each.
fn spread(spread: Option<Spread>) -> String {
    let Some(Spread { median, low, high }) = spread else { return String::new() };
    if low == high {
        digits(median)
    } else {
        format!("{} [{}–{}]", digits(median), digits(low), digits(high))
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{:.1} k", value / 1000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Every round of every cell.
pub(crate) fn json(cells: &[Cell], results: &Results, conditions: &Value) -> Value {
    let servers = |cell: &Cell| -> Vec<Value> {
        let rounds = |server: &Contestant| -> Vec<Value> {
            let round = |sample: &Result<_, String>| match sample {
                Ok(sample) => json!(sample),
                Err(reason) => json!({ "void": reason }),
            };
            results.rounds(cell.name, server).iter().map(round).collect()
        };
        cell.contestants.iter().map(|s| json!({ "server": s.name(), "rounds": rounds(s) })).collect()
    };
    let targets = |cell: &Cell| -> Vec<Value> {
        let target = |target: &Target| {
            let reached = results.reached(cell.name, target);
            json!({
                "server": target.who.name(),
                "measure": target.measure,
                "against": target.against.iter().map(|(cell, server)| json!([cell, server.name()])).collect::<Vec<_>>(),
                "limit": target.limit,
                "at_least": target.at_least,
                "reached": reached.map(|reached| reached.median),
                "met": reached.map(|reached| met(target, reached)),
            })
        };
        cell.targets.iter().map(target).collect()
    };
    let mean = |mean: &Mean| {
        let reached = results.mean(cells, mean)?.median;
        Some(
            json!({ "server": mean.who.name(), "cells": mean.cells, "measure": mean.measure, "limit": mean.limit, "reached": reached }),
        )
    };
    let means: Vec<Value> = cell::means().iter().filter_map(mean).collect();
    let cells: Vec<Value> = cells
        .iter()
        .map(|cell| json!({ "cell": cell.name, "servers": servers(cell), "targets": targets(cell) }))
        .collect();
    json!({ "conditions": conditions, "cells": cells, "means": means })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Sample;

    #[test]
    fn the_table_says_whether_a_figure_is_reached() {
        let cells = cell::chosen(&["echo-64x16".to_owned()]);
        for (cpu, expected) in [(1.2, "CPU ≤ 1.26 × raw: 1.20 **met**"), (1.3, "1.30 **missed**")] {
            let mut results = Results::default();
            results.push("echo-64x16", &Contestant::Raw, Ok(Sample::from([("cpu_us", 1.0)])));
            results.push("echo-64x16", &Contestant::Whub, Ok(Sample::from([("cpu_us", cpu)])));
            let text = markdown(&cells, &results, &json!({}));
            assert!(text.contains(expected), "{text}");
            assert_eq!(json(&cells, &results, &json!({}))["cells"][0]["targets"][0]["met"], cpu < 1.26);
        }
    }
}
