//! The results of a run.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;

use super::machine::Machine;

/// The figures of one iteration.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) published: u64,
    pub(crate) batches: u64,
    /// Publishes that were refused or lost.
    pub(crate) failed: u64,
    pub(crate) sent_in: Duration,
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) received_in: Duration,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) machine: Machine,
}

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

impl Outcome {
    pub(crate) fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    pub(crate) fn json(&self) -> String {
        let mut latency = serde_json::Map::new();
        for (name, quantile) in QUANTILES {
            latency.insert(name.to_owned(), self.latency.value_at_quantile(quantile).into());
        }
        latency.insert("min".to_owned(), self.latency.min().into());
        latency.insert("max".to_owned(), self.latency.max().into());
        json!({
            "published": self.published,
            "failed": self.failed,
            "sent_seconds": self.sent_in.as_secs_f64(),
            "sent_per_second": rate(self.published, self.sent_in),
            "batches_per_second": rate(self.batches, self.sent_in),
            "expected": self.expected,
            "received": self.received,
            "received_seconds": self.received_in.as_secs_f64(),
            "received_per_second": rate(self.received, self.received_in),
            "latency_us": latency,
            "cpu_seconds": self.machine.cpu.map(|cpu| cpu.as_secs_f64()),
            "peak_kib": self.machine.peak_kib,
        })
        .to_string()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "out:     {} messages in {:.3} s: {:.0} messages/s, {:.0} batches/s",
            self.published,
            self.sent_in.as_secs_f64(),
            rate(self.published, self.sent_in),
            rate(self.batches, self.sent_in),
        );
        if self.failed > 0 {
            let _ = write!(text, ", {} failed", self.failed);
        }
        let _ = writeln!(
            text,
            "\nin:      {} of {} messages in {:.3} s: {:.0} messages/s",
            self.received,
            self.expected,
            self.received_in.as_secs_f64(),
            rate(self.received, self.received_in),
        );
        text.push_str(&histogram(&self.latency));
        let mut quantiles: Vec<String> = QUANTILES
            .iter()
            .map(|(name, quantile)| format!("{name} {}", shown(self.latency.value_at_quantile(*quantile))))
            .collect();
        quantiles.push(format!("max {}", shown(self.latency.max())));
        let _ = write!(text, "latency: {}", quantiles.join(", "));
        if let Some(cpu) = self.machine.cpu {
            let _ = write!(text, "\nclient:  {:.3} s of CPU", cpu.as_secs_f64());
            if let Some(peak) = self.machine.peak_kib {
                let _ = write!(text, ", {:.1} MiB at most", peak as f64 / 1024.0);
            }
        }
        text
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

fn shown(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{micros} µs"),
        10_000..10_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// Twenty rows from the shortest to the longest time, as CometD's load test prints them.
fn histogram(latency: &Histogram<u64>) -> String {
    const ROWS: u64 = 20;
    const WIDTH: u64 = 50;
    let mut text = String::new();
    if latency.is_empty() {
        return text;
    }
    let step = ((latency.max() - latency.min()) / ROWS + 1).max(1);
    let rows: Vec<(u64, u64)> = (0..ROWS)
        .map(|row| latency.min() + row * step)
        .map(|from| (from, latency.count_between(from, from + step - 1)))
        .collect();
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (from, count) in rows {
        let length = (count * WIDTH).div_ceil(most) as usize;
        let _ = writeln!(text, "{:>9} | {:<50} {count}", shown(from), "#".repeat(length));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_has_twenty_rows_that_hold_everything() {
        let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        for micros in 100..1100 {
            latency.record(micros).unwrap();
        }
        let text = histogram(&latency);
        let counts: Vec<u64> =
            text.lines().map(|line| line.split_whitespace().last().unwrap().parse().unwrap()).collect();
        assert_eq!(counts.len(), 20);
        assert_eq!(counts.iter().sum::<u64>(), 1000);
        assert!(text.starts_with("   100 µs | ###"), "{text}");
        assert_eq!(histogram(&Histogram::<u64>::new(3).unwrap()), "");
    }
}
