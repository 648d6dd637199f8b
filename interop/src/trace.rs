//! The end of the wire log and of the reports to the user.

/// How many lines of each are shown.
const LINES: usize = 8;
/// How much of a line is.
const WIDTH: usize = 240;

/// The last lines of the wire, without headers, in the order of time over all connections; and the last of what was
/// reports.
pub(crate) fn last(wire: &str, reported: &[String]) -> String {
    let mut lines: Vec<(f64, &str)> =
        wire.lines().filter_map(timed).filter(|(_, line)| !is_header(line)).collect();
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    let wire = lines.iter().map(|(_, line)| *line);
    let reported = reported.iter().map(String::as_str);
    let mut text = "  --- wire (> to the server, < from it)\n".to_owned();
    tail(&wire.collect::<Vec<_>>(), &mut text);
    text.push_str("  --- reported to the user\n");
    tail(&reported.collect::<Vec<_>>(), &mut text);
    text
}

fn tail(lines: &[&str], text: &mut String) {
    for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
        text.extend(line.trim_start().chars().take(WIDTH));
        text.push('\n');
    }
}

/// A line that begins with its time.
fn timed(line: &str) -> Option<(f64, &str)> {
    let time = line.split_whitespace().next()?.parse().ok()?;
    Some((time, line))
}

/// Whether it is an HTTP header: after the time and the arrow, a name and a colon.
fn is_header(line: &str) -> bool {
    let word = line.split_whitespace().nth(2).unwrap_or_default();
    word.strip_suffix(':')
        .is_some_and(|name| name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_in_the_order_of_time_and_without_headers() {
        let wire = "  connection 1 at 0.000 s\n       0.100 > POST /cometd HTTP/1.1\n       0.100 > content-length: 2\n       \
                    0.300 < []\n  connection 2 at 0.200 s\n       0.200 > [{\"channel\":\"/a\"}]\n";
        let text = last(wire, &["Lost".to_owned()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "0.100 > POST /cometd HTTP/1.1", "{text}");
        assert_eq!(lines[2], "0.200 > [{\"channel\":\"/a\"}]", "{text}");
        assert_eq!(lines[3..], ["0.300 < []", "  --- reported to the user", "Lost"], "{text}");
    }
}
