//! From series to SVG.

use super::BINS;
use super::series::{Away, Row, away, latency, rows};
use crate::result::{Evidence, Outcome, Report};
use crate::scenario::Scenario;
use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 30.0;
const ROW: f64 = 18.0;
const AWAY: f64 = 14.0;
const LATENCY: f64 = 120.0;
/// Events with a label; all have a mark.
const LABELS_MAX: usize = 24;
/// Rows of labels above each other before they may overlap.
const LABEL_ROWS: usize = 4;
const LABEL: f64 = 14.0;
/// Width of a letter, on average.
const LETTER: f64 = 6.2;

const STYLE: &str = "<style>\
svg{background:#fff;color:#1b1f24;font:11px system-ui,sans-serif}\
text{fill:currentColor}.quiet{fill:#6b7280}.title{font-size:15px;font-weight:600}\
.density{fill:#2f7dd1}.gap{fill:#d92d20;opacity:.8}.away{fill:#d92d20}.here{fill:#2e9e5b}\
.track{fill:#8884;opacity:.35}.event{stroke:#b45309;stroke-dasharray:3 3}.mark{fill:#b45309}\
.p50{fill:none;stroke:#2f7dd1;stroke-width:1.5}.p99{fill:none;stroke:#a855f7;stroke-width:1.5}\
.axis{stroke:#8888;stroke-width:1}.bad{fill:#d92d20}.good{fill:#2e9e5b}\
@media(prefers-color-scheme:dark){svg{background:#14171c;color:#e6e8eb}.quiet{fill:#9aa3af}\
.density,.here{filter:brightness(1.15)}.event{stroke:#f59e0b}.mark{fill:#f59e0b}}\
</style>";

/// A picture as it grows, from top to bottom.
pub(super) struct Picture<'a> {
    scenario: &'a Scenario,
    evidence: &'a Evidence,
    report: &'a Report,
    out: String,
    y: f64,
}

impl<'a> Picture<'a> {
    pub(super) const fn new(scenario: &'a Scenario, evidence: &'a Evidence, report: &'a Report) -> Self {
        Self { scenario, evidence, report, out: String::new(), y: 0.0 }
    }

    pub(super) fn draw(mut self) -> String {
        self.head();
        let top = self.events();
        for away in away(self.scenario, self.evidence) {
            self.away(&away);
        }
        self.y += 8.0;
        for row in rows(self.scenario, self.evidence) {
            self.row(&row);
        }
        self.y += 14.0;
        self.latency();
        self.marks(top);
        self.axis();
        self.misses();
        let height = self.y + 12.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\">{STYLE}\n{}</svg>\n",
            self.out
        )
    }

    fn head(&mut self) {
        let about = &self.report.about;
        let class = if self.report.outcome == Outcome::Passed { "good" } else { "bad" };
        let title = format!("{} in {}, seed {}", about.scenario, about.engine, about.seed);
        self.text(16.0, 24.0, "title", &title);
        let beside = 16.0 + 8.4 * letters(&title);
        self.text(beside + 12.0, 24.0, &format!("title {class}"), &self.report.outcome.to_string());
        self.text(16.0, 42.0, "quiet", &about.description.chars().take(180).collect::<String>());
        self.y = 58.0;
    }

    /// Labels of events, above each other where they would touch; returns where the marks begin.
    fn events(&mut self) -> f64 {
        let top = self.y;
        let mut free = [0.0_f64; LABEL_ROWS];
        let mut used = 0;
        let events: Vec<(f64, String)> =
            self.report.events.iter().map(|event| (self.x_of(event.at_seconds), event.what.clone())).collect();
        for (x, what) in events.iter().take(LABELS_MAX) {
            let width = LETTER * letters(what) + 10.0;
            let x = x.min(WIDTH - RIGHT - width + 10.0);
            let Some(row) = (0..LABEL_ROWS).find(|row| free.get(*row).is_some_and(|end| *end <= x)) else { continue };
            if let Some(end) = free.get_mut(row) {
                *end = x + width;
            }
            used = used.max(row + 1);
            self.text(x + 3.0, top + LABEL * unsigned(row) + 10.0, "mark", what);
        }
        self.y = top + LABEL * unsigned(used) + 4.0;
        top
    }

    fn marks(&mut self, top: f64) {
        for event in &self.report.events {
            let x = self.x_of(event.at_seconds);
            let _ = writeln!(
                self.out,
                "<line class=\"event\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{:.0}\"/>",
                self.y
            );
        }
    }

    fn away(&mut self, away: &Away) {
        self.label(&away.label, self.y + AWAY - 4.0);
        self.rect("here", (LEFT, WIDTH - RIGHT), (self.y + 3.0, AWAY - 6.0));
        for (from, to) in &away.spans {
            self.rect("away", (self.x(*from), self.x(*to)), (self.y + 1.0, AWAY - 2.0));
        }
        self.y += AWAY;
    }

    fn row(&mut self, row: &Row) {
        self.label(&row.label, self.y + ROW - 5.0);
        let (base, full) = (self.y + ROW - 2.0, ROW - 4.0);
        self.rect("track", (LEFT, WIDTH - RIGHT), (base - 1.0, 1.0));
        let mut path = format!("M{LEFT:.1} {base:.1}");
        let step = (WIDTH - LEFT - RIGHT) / unsigned(BINS);
        for (at, density) in row.density.iter().enumerate() {
            // A burst after a gap is cut off: what counts is where nothing came.
            let (x, y) = (step.mul_add(unsigned(at), LEFT), full.mul_add(-(density / 1.25).min(1.0), base));
            let _ = write!(path, "V{y:.1}H{:.1}", x + step);
        }
        let _ = writeln!(self.out, "<path class=\"density\" d=\"{path}V{base:.1}Z\"/>");
        for (from, to) in row.gaps.iter().take(BINS) {
            self.rect("gap", (self.x(*from), self.x(*to)), (self.y + 1.0, ROW - 3.0));
        }
        self.y += ROW;
    }

    /// Latency of all viewers, from nothing to the largest 99th percentile.
    fn latency(&mut self) {
        let bins = latency(self.evidence);
        let most = bins.iter().flatten().map(|(_, p99)| *p99).max().unwrap_or_default().as_secs_f64().max(0.001);
        let (top, base) = (self.y, self.y + LATENCY);
        self.label("latency", top + 12.0);
        self.text(16.0, top + 28.0, "quiet", "blue p50, violet p99");
        for (share, y) in [(1.0, top), (0.5, top + LATENCY / 2.0), (0.0, base)] {
            let _ = writeln!(
                self.out,
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            );
            let text = format!("{:.0} ms", most * share * 1e3);
            self.text(LEFT - 8.0 - LETTER * letters(&text), y + 4.0, "quiet", &text);
        }
        let y = |late: Duration| LATENCY.mul_add(-(late.as_secs_f64() / most), base);
        let p99 = line(&bins, |(_, p99)| y(*p99));
        let p50 = line(&bins, |(p50, _)| y(*p50));
        let _ = writeln!(self.out, "<path class=\"p99\" d=\"{p99}\"/><path class=\"p50\" d=\"{p50}\"/>");
        self.y = base;
    }

    fn axis(&mut self) {
        let seconds = self.evidence.ended.as_secs_f64();
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
        let step = steps.into_iter().find(|step| seconds / step <= 16.0).unwrap_or(seconds);
        let mut at = 0.0;
        while at <= seconds {
            let x = self.x_of(at);
            let text = if step < 1.0 { format!("{at:.1} s") } else { format!("{at:.0} s") };
            self.text(x - LETTER * letters(&text) / 2.0, self.y + 16.0, "quiet", &text);
            at += step;
        }
        self.y += 24.0;
    }

    /// What was missed, in words.
    fn misses(&mut self) {
        let verdicts = self.report.verdicts.iter().filter(|verdict| !verdict.passed);
        let missed = verdicts.map(|v| format!("{} {}: {}, seen {}", v.of, v.figure, v.wanted, v.seen));
        let lines: Vec<String> = missed.chain(self.report.validity.reasons.iter().cloned()).take(12).collect();
        for line in lines {
            self.y += 15.0;
            self.text(16.0, self.y, "bad", &line.chars().take(190).collect::<String>());
        }
    }

    fn x(&self, at: Duration) -> f64 {
        self.x_of(at.as_secs_f64())
    }

    fn x_of(&self, seconds: f64) -> f64 {
        let share = (seconds / self.evidence.ended.as_secs_f64().max(1e-9)).clamp(0.0, 1.0);
        share.mul_add(WIDTH - LEFT - RIGHT, LEFT)
    }

    fn label(&mut self, text: &str, y: f64) {
        self.text(16.0, y, "", &text.chars().take(21).collect::<String>());
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = writeln!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(text));
    }

    fn rect(&mut self, class: &str, (from, to): (f64, f64), (y, height): (f64, f64)) {
        // The shortest absence can still be seen.
        let width = (to - from).max(1.0);
        let _ = writeln!(
            self.out,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }
}

/// A line through the bins that have something; it is broken where there is nothing.
fn line(bins: &[Option<(Duration, Duration)>], y: impl Fn(&(Duration, Duration)) -> f64) -> String {
    let step = (WIDTH - LEFT - RIGHT) / unsigned(BINS);
    let mut path = String::new();
    let mut draws = false;
    for (at, bin) in bins.iter().enumerate() {
        let Some(bin) = bin else {
            draws = false;
            continue;
        };
        let pen = if std::mem::replace(&mut draws, true) { 'L' } else { 'M' };
        let _ = write!(path, "{pen}{:.1} {:.1}", step.mul_add(unsigned(at) + 0.5, LEFT), y(bin));
    }
    path
}

/// Text as it stands in XML; what XML cannot hold becomes a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

fn letters(text: &str) -> f64 {
    unsigned(text.chars().count())
}

#[expect(clippy::cast_precision_loss, reason = "small numbers of things in a picture")]
fn unsigned(number: usize) -> f64 {
    number as f64
}
