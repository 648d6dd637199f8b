//! Bars, as SVG: as long as the messages a second, or a CPU second, of each racer, in parts of the floor, on a
//! logarithmic scale.

use std::fmt::Write;

use crate::results::{Entry, Report, Row};
use crate::works::{PUBLISH, RECEIVE};

pub(crate) struct Plot {
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// The plots for the page.
pub(crate) fn all(report: &Report) -> Vec<Plot> {
    let rate: Measure = Entry::rate;
    let per_cpu: Measure = |entry| entry.cpu().map(|cpu| 1e6 / cpu);
    let wanted = [
        (RECEIVE, "200 B", rate, "Messages received a second, of the floor", "performance-receive.svg"),
        (
            RECEIVE,
            "200 B",
            per_cpu,
            "Messages received a CPU second, of the floor",
            "performance-receive-cpu.svg",
        ),
        (PUBLISH, "", rate, "Messages published a second, of the floor", "performance-publish.svg"),
    ];
    let mut plots = Vec::new();
    for (group, part, measure, title, file) in wanted {
        let rows: Vec<&Row> =
            report.rows.iter().filter(|row| row.group == group && row.name.contains(part)).collect();
        if !rows.is_empty() {
            plots.push(Plot {
                file: file.to_owned(),
                title: title.to_owned(),
                svg: bars(title, &rows, measure),
            });
        }
    }
    plots
}

/// What a bar is as long as.
type Measure = fn(&Entry) -> Option<f64>;

fn bars(title: &str, rows: &[&Row], measure: Measure) -> String {
    const LINE: f64 = 18.0;
    const LEFT: f64 = 130.0;
    const WIDTH: f64 = 460.0;
    /// What is left of the scale: a thousandth of the floor.
    const DECADES: f64 = 3.0;
    let mut body = String::new();
    let mut y = 40.0;
    for row in rows {
        let Some(floor) = row.best(Entry::is_floor, measure) else { continue };
        y += 8.0;
        // Writing to a string cannot fail.
        let _ = writeln!(body, r#"<text x="8" y="{y}" class="work">{}</text>"#, row.name);
        y += 6.0;
        for entry in &row.entries {
            let Some(value) = measure(entry) else { continue };
            let part = value / floor;
            let length = ((part.log10() + DECADES) / DECADES).clamp(0.002, 1.3) * WIDTH;
            let kind = match entry.racer.as_str() {
                "bayeux" => "ours",
                name if name.starts_with("floor") => "floor",
                _ => "other",
            };
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y}" width="{length:.1}" height="12" class="{kind}"/><text x="{:.1}" y="{}">{part:.3}</text>"#,
                LEFT - 6.0,
                y + 10.0,
                entry.racer,
                LEFT + length + 5.0,
                y + 10.0,
            );
            y += LINE - 3.0;
        }
        y += LINE / 2.0;
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" viewBox="0 0 760 {height}" font-family="sans-serif" font-size="11">
<style>text{{fill:#333}}.work{{font-weight:bold}}.ours{{fill:#2563eb}}.floor{{fill:#9ca3af}}.other{{fill:#f59e0b}}</style>
<rect width="100%" height="100%" fill="white"/>
<text x="8" y="20" font-size="14">{title} (logarithmic)</text>
{body}</svg>
"#,
        height = y + 8.0
    )
}
