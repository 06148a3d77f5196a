//! Stacked columns over time, as SVG that the server draws: nothing is loaded to show them, and they
//! show without a script.

use std::fmt::{self, Display, Formatter};

use humantime::format_rfc3339_seconds;

use super::html::{Rate, Text};
use super::status::{History, Series};

/// The last hour and the last day side by side, under one legend.
pub(super) struct Plots<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) history: &'a History,
    /// Unix time at the right edges.
    pub(super) now: u64,
    /// Of the hour and of the day, each from the bottom up.
    pub(super) layers: [&'a [Layer<'a>]; 2],
}

impl Display for Plots<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [hour, day] = self.layers;
        write!(f, r#"{}<div class="plots">"#, Legend(hour))?;
        for (name, span, series, window, step, layers) in [
            ("hour", "last hour", &self.history.hour, 3600, 30, hour),
            ("day", "last 24 hours", &self.history.day, 24 * 3600, 600, day),
        ] {
            let (id, title) = (format!("{}-{name}", self.id), format!("{}, {span}", self.title));
            let plot = Plot { id: &id, title: &title, series, window, step, now: self.now, layers };
            plot.fmt(f)?;
        }
        f.write_str("</div>")
    }
}

/// What is drawn.
struct Plot<'a> {
    id: &'a str,
    title: &'a str,
    series: &'a Series,
    /// How far back, in seconds.
    window: u64,
    /// What one column stands for, in seconds.
    step: u64,
    now: u64,
    layers: &'a [Layer<'a>],
}

/// One colour.
pub(super) struct Layer<'a> {
    pub(super) label: &'a str,
    /// The class that gives it its colour.
    pub(super) class: &'a str,
    /// A count for each slot of the series.
    pub(super) counts: Vec<u64>,
}

/// What was counted within one step.
#[derive(Clone, Default)]
struct Column {
    seconds: f64,
    counts: Vec<u64>,
}

impl Column {
    #[expect(clippy::cast_precision_loss, reason = "a height of a few hundred pixels")]
    fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    fn whole(&self) -> f64 {
        self.rate(self.counts.iter().sum())
    }
}

impl Plot<'_> {
    fn columns(&self) -> Vec<Column> {
        let number = usize::try_from(self.window / self.step).unwrap_or_default();
        let empty = Column { seconds: 0.0, counts: vec![0; self.layers.len()] };
        let mut columns = vec![empty; number];
        let slots = self.series.ended.iter().zip(&self.series.seconds).enumerate();
        for (slot, (ended, seconds)) in slots {
            let back = usize::try_from(self.now.saturating_sub(*ended) / self.step);
            let place = back.ok().and_then(|back| number.checked_sub(back + 1));
            let Some(column) = place.and_then(|place| columns.get_mut(place)) else { continue };
            column.seconds += seconds;
            for (count, layer) in column.counts.iter_mut().zip(self.layers) {
                *count += layer.counts.get(slot).copied().unwrap_or_default();
            }
        }
        columns
    }

    fn time_of(&self, column: usize, columns: usize) -> impl Display {
        let back = (columns - column) as u64 * self.step;
        Clock(self.now.saturating_sub(back))
    }
}

impl Display for Plot<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let peak = columns.iter().map(Column::whole).fold(0.0, f64::max);
        let top = ceiling(peak);
        write!(f, r#"<figure class="plot"><figcaption>{}</figcaption>"#, Text(self.title))?;
        write!(f, r#"<div class="y"><span>{}/s</span>"#, Rate(top))?;
        write!(f, "<span>{}</span><span>0</span></div>", Rate(top / 2.0))?;
        self.picture(f, &columns, top, peak)?;
        let (start, middle) = (self.time_of(0, columns.len()), self.window / 2);
        write!(f, r#"<div class="x"><span>{start}</span>"#)?;
        write!(f, "<span>{}</span>", Clock(self.now.saturating_sub(middle)))?;
        write!(f, "<span>{} UTC</span></div></figure>", Clock(self.now))
    }
}

impl Plot<'_> {
    fn picture(
        &self,
        f: &mut Formatter<'_>,
        columns: &[Column],
        top: f64,
        peak: f64,
    ) -> fmt::Result {
        let (id, number) = (self.id, columns.len());
        write!(
            f,
            r#"<svg viewBox="0 0 {number} {HEIGHT}" preserveAspectRatio="none" role="img" aria-labelledby="{id}-title {id}-desc">"#
        )?;
        write!(f, r#"<title id="{id}-title">{}</title>"#, Text(self.title))?;
        let labels: Vec<_> = self.layers.iter().map(|layer| layer.label).collect();
        write!(
            f,
            r#"<desc id="{id}-desc">Columns of {} s from left to right, stacked: {}. The highest is {} a second.</desc>"#,
            self.step,
            Text(labels.join(", ")),
            Rate(peak)
        )?;
        let unknown = columns.iter().take_while(|column| column.seconds == 0.0).count();
        write!(
            f,
            r#"<rect class="unknown" width="{unknown}" height="{HEIGHT}"><title>airside was not running</title></rect>"#
        )?;
        for y in [0.0, HEIGHT / 2.0, HEIGHT] {
            write!(f, r#"<path class="grid" d="M0 {y}H{number}"/>"#)?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            write!(f, r#"<path class="{}" d=""#, layer.class)?;
            for (place, column) in columns.iter().enumerate() {
                bar(f, place, column, index, top)?;
            }
            f.write_str(r#""/>"#)?;
        }
        for (place, column) in columns.iter().enumerate() {
            self.legend_of(f, place, column, number)?;
        }
        f.write_str("</svg>")
    }

    /// What a pointer over the column shows.
    fn legend_of(
        &self,
        f: &mut Formatter<'_>,
        place: usize,
        column: &Column,
        columns: usize,
    ) -> fmt::Result {
        if column.counts.iter().all(|count| *count == 0) {
            return Ok(());
        }
        let time = self.time_of(place, columns);
        write!(f, r#"<rect class="hover" x="{place}" width="1" height="{HEIGHT}"><title>"#)?;
        write!(f, "{time}: {}/s", Rate(column.whole()))?;
        for (layer, count) in self.layers.iter().zip(&column.counts).rev() {
            if *count > 0 {
                write!(f, "\n{}: {count}", Text(layer.label))?;
            }
        }
        f.write_str("</title></rect>")
    }
}

const HEIGHT: f64 = 100.0;
/// Of a column, so that neighbours are told apart.
const WIDTH: f64 = 0.82;

fn bar(
    f: &mut Formatter<'_>,
    place: usize,
    column: &Column,
    layer: usize,
    top: f64,
) -> fmt::Result {
    let count = column.counts.get(layer).copied().unwrap_or_default();
    if count == 0 {
        return Ok(());
    }
    let below = column.rate(column.counts.iter().take(layer).sum());
    let height = |rate: f64| HEIGHT * rate / top;
    let foot = HEIGHT - height(below);
    // What is there can be seen, be it one in a thousand.
    let head = (foot - height(column.rate(count)).max(0.6)).max(0.0);
    write!(f, "M{place} {foot:.2}h{WIDTH}V{head:.2}h-{WIDTH}z")
}

/// 1, 2 or 5 of a power of ten, and not less than `peak`.
fn ceiling(peak: f64) -> f64 {
    if peak <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(peak.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= peak).unwrap_or(peak)
}

/// Hours and minutes of a day, UTC.
struct Clock(u64);

impl Display for Clock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(self.0);
        let text = format_rfc3339_seconds(time).to_string();
        f.write_str(text.get(11..16).unwrap_or_default())
    }
}

/// The colours and what they stand for.
struct Legend<'a>(&'a [Layer<'a>]);

impl Display for Legend<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(r#"<ul class="legend">"#)?;
        for layer in self.0 {
            write!(
                f,
                r#"<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="{}" width="10" height="10" rx="2"/></svg>{}</li>"#,
                layer.class,
                Text(layer.label)
            )?;
        }
        f.write_str("</ul>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (peak, top) in [(0.0, 1.0), (0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (37.0, 50.0)] {
            assert!((ceiling(peak) - top).abs() < 1e-9, "{peak}: {}", ceiling(peak));
        }
    }

    #[test]
    fn the_hour_and_the_day_stand_under_one_legend() {
        let history = History { hour: Series::default(), day: Series::default() };
        let layers = [Layer { label: "a", class: "ok", counts: vec![] }];
        let (id, title) = ("p", "Requests a second");
        let drawn =
            Plots { id, title, history: &history, now: 1005, layers: [&layers; 2] }.to_string();
        assert_eq!(drawn.matches(r#"class="legend""#).count(), 1, "{drawn}");
        for part in [
            r#"<title id="p-hour-title">Requests a second, last hour</title>"#,
            r#"<title id="p-day-title">Requests a second, last 24 hours</title>"#,
            "Columns of 30 s",
            "Columns of 600 s",
        ] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
    }

    #[test]
    fn slots_fall_into_their_columns_and_the_rest_is_unknown() {
        let series = Series {
            ended: vec![970, 975, 1000, 1005],
            seconds: vec![10.0, 5.0, 10.0, 5.0],
            ..Series::default()
        };
        let layers = [Layer { label: "a<b", class: "ok", counts: vec![7, 3, 20, 10] }];
        let plot = Plot {
            id: "p",
            title: "t",
            series: &series,
            window: 60,
            step: 10,
            now: 1005,
            layers: &layers,
        };
        let columns = plot.columns();
        let rates: Vec<f64> = columns.iter().map(Column::whole).collect();
        assert_eq!(rates, [0.0, 0.0, 10.0 / 15.0, 0.0, 0.0, 2.0]);
        let drawn = plot.to_string();
        assert!(drawn.contains(r#"<rect class="unknown" width="2""#), "{drawn}");
        assert!(drawn.contains("a&lt;b: 30"), "{drawn}");
        assert!(!drawn.contains("a<b"), "{drawn}");
    }
}
