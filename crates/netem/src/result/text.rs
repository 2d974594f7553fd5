//! Reports for people.

use super::report::{Outcome, Report, ViewersReport};
use std::fmt::{self, Write as _};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Invalid => "INVALID",
        })
    }
}

impl fmt::Display for Report {
    /// A head line, then one line per verdict, per kind of viewers, and per reason why the run does not count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.about;
        write!(f, "{} in {}, seed {}: {}", about.scenario, about.engine, about.seed, self.outcome)?;
        write!(f, " ({:.0} s in {:.1} s)", about.seconds, about.wall_seconds)?;
        for verdict in &self.verdicts {
            let mark = if verdict.passed { "ok  " } else { "MISS" };
            let what = format!("{} {}", verdict.of, verdict.figure);
            write!(f, "\n  {mark} {what:<32} {:<16} seen {}", verdict.wanted, verdict.seen)?;
        }
        for viewers in &self.viewers {
            write!(f, "\n  {}", Line(viewers))?;
        }
        for reason in &self.validity.reasons {
            write!(f, "\n  does not count: {reason}")?;
        }
        Ok(())
    }
}

struct Line<'a>(&'a ViewersReport);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.0;
        write!(f, "{}: {} of {} joined, ", of.node, of.joined, of.viewers)?;
        write!(f, "{} of {} groups lost", of.groups_lost, of.groups_expected)?;
        if let Some(latency) = &of.latency_seconds {
            write!(f, ", latency p50 {:.1} ms, p99 {:.1} ms", latency.p50 * 1e3, latency.p99 * 1e3)?;
        }
        if let Some(resume) = &of.resume_seconds {
            write!(f, ", resume p50 {:.0} ms, p99 {:.0} ms", resume.p50 * 1e3, resume.p99 * 1e3)?;
        }
        Ok(())
    }
}

/// The head of a table of reports in Markdown.
#[must_use]
pub const fn markdown_head() -> &'static str {
    "| scenario | engine | seed | outcome | wanted and seen | latency p50 / p99 | groups lost | lateness p99 |\n\
     | --- | --- | --- | --- | --- | --- | --- | --- |"
}

/// One line of it.
#[must_use]
pub fn markdown_row(report: &Report) -> String {
    let about = &report.about;
    let mut row = format!("| {} | {} | {} | {} | ", about.scenario, about.engine, about.seed, report.outcome);
    for (at, verdict) in report.verdicts.iter().enumerate() {
        let (end, of) = (if at == 0 { "" } else { "; " }, if verdict.of == "all" { "" } else { &verdict.of });
        let space = if of.is_empty() { "" } else { " " };
        let miss = if verdict.passed { "" } else { " **missed**" };
        // Writing to a String cannot fail.
        let _ = write!(row, "{end}{of}{space}{} {} (wanted {}){miss}", verdict.figure, verdict.seen, verdict.wanted);
    }
    for reason in &report.validity.reasons {
        let _ = write!(row, "; {}", reason.replace('|', "/"));
    }
    let latencies = report.viewers.iter().map(|of| match &of.latency_seconds {
        Some(latency) => format!("{:.1} / {:.1} ms", latency.p50 * 1e3, latency.p99 * 1e3),
        None => "-".to_owned(),
    });
    let latencies: Vec<String> = latencies.collect();
    let (lost, expected) =
        report.viewers.iter().fold((0, 0), |(lost, all), of| (lost + of.groups_lost, all + of.groups_expected));
    let lateness = match &report.validity.lateness_seconds {
        Some(lateness) => format!("{:.2} ms", lateness.p99 * 1e3),
        None => "-".to_owned(),
    };
    let _ = write!(row, " | {} | {lost} of {expected} | {lateness} |", latencies.join(", "));
    row
}
