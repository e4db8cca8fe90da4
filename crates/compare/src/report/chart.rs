//! A curve as an SVG drawing: geometry alone, which `templates/chart.html` writes down. Pure.

use crate::document::{Axis, Curve, Unit};
use crate::table::quantity;

/// Size of a drawing, in its own units; small, so that letters stay legible on a narrow screen.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Stretches of a line that are drawn apart; each keeps its least and its greatest value, so that no spike is lost.
const STRETCHES: usize = 70;
/// A line of so few points shows them.
const DOTS_MAX: usize = 24;
const TICKS: usize = 5;

/// Everything the template needs.
pub struct Chart {
    pub width: f64,
    pub height: f64,
    pub left: f64,
    pub right: f64,
    pub bottom: f64,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    pub x_title: String,
    pub y_title: String,
    pub lines: Vec<Line>,
}

/// A mark on an axis.
pub struct Tick {
    pub at: String,
    pub label: String,
}

/// A line, or several of one side.
pub struct Line {
    /// 0 or 1: decides colour, dashes and dots.
    pub side: usize,
    pub path: String,
    /// Of so many points that only the last one is marked.
    pub dense: bool,
    pub dots: Vec<(String, String)>,
}

/// The drawing of a curve; `None` when there is nothing to draw. `side` tells which side a series belongs to.
pub fn draw(curve: &Curve, side: impl Fn(&str) -> usize) -> Option<Chart> {
    let x =
        Scale::of(&curve.x, curve.id == "latency_distribution", curve.series.iter().flat_map(|s| s.points.iter().map(|p| p.0)))?;
    let y = Scale::of(&curve.y, false, curve.series.iter().flat_map(|s| s.points.iter().map(|p| p.1)))?;
    let at_x = |value: f64| LEFT + x.part(value) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - y.part(value) * (HEIGHT - TOP - BOTTOM);
    let lines = curve.series.iter().map(|series| {
        let drawn: Vec<(f64, f64)> = series.points.iter().copied().filter(|point| x.holds(point.0) && y.holds(point.1)).collect();
        let placed: Vec<(String, String)> = thinned(&drawn).into_iter().map(|(a, b)| (short(at_x(a)), short(at_y(b)))).collect();
        let path =
            placed.iter().enumerate().map(|(index, (a, b))| format!("{}{a} {b}", if index == 0 { 'M' } else { 'L' })).collect();
        let dense = placed.len() > DOTS_MAX;
        let dots = if dense { placed.into_iter().next_back().into_iter().collect() } else { placed };
        Line { side: side(&series.side), path, dense, dots }
    });
    let tick = |at: f64, label: String| Tick { at: short(at), label };
    Some(Chart {
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: WIDTH - RIGHT,
        bottom: HEIGHT - BOTTOM,
        x_ticks: x.ticks().into_iter().map(|(value, label)| tick(at_x(value), label)).collect(),
        y_ticks: y.ticks().into_iter().map(|(value, label)| tick(at_y(value), label)).collect(),
        x_title: curve.x.title.clone(),
        y_title: curve.y.title.clone(),
        lines: lines.filter(|line| !line.path.is_empty()).collect(),
    })
}

/// One decimal: enough for a pixel.
fn short(value: f64) -> String {
    format!("{value:.1}")
}

#[derive(Clone, Copy, PartialEq)]
enum Steps {
    Even,
    Logarithmic,
    /// By the number of nines, so that the tail has room.
    Quantile,
}

struct Scale {
    steps: Steps,
    unit: Unit,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(axis: &Axis, quantile: bool, values: impl Iterator<Item = f64>) -> Option<Scale> {
        let steps = match (quantile, axis.logarithmic) {
            (true, _) => Steps::Quantile,
            (_, true) => Steps::Logarithmic,
            _ => Steps::Even,
        };
        let mut scale = Scale { steps, unit: axis.unit, low: f64::INFINITY, high: f64::NEG_INFINITY };
        for value in values {
            let placed = scale.place(value);
            if placed.is_finite() {
                scale.low = scale.low.min(placed);
                scale.high = scale.high.max(placed);
            }
        }
        if scale.low > scale.high {
            return None;
        }
        match steps {
            // From zero: a cut axis makes small differences look large.
            Steps::Even => {
                scale.low = scale.low.min(0.0);
                scale.high += (scale.high - scale.low) * 0.05;
            }
            Steps::Logarithmic => {
                scale.low -= 0.05;
                scale.high += 0.05;
            }
            Steps::Quantile => {}
        }
        if scale.high - scale.low < 1e-12 {
            scale.high = scale.low + 1.0;
        }
        (scale.high - scale.low).is_finite().then_some(scale)
    }

    fn place(&self, value: f64) -> f64 {
        match self.steps {
            Steps::Even => value,
            Steps::Logarithmic => value.log10(),
            // The greatest value of all has no place on it.
            Steps::Quantile => -(1.0 - value).log10(),
        }
    }

    fn holds(&self, value: f64) -> bool {
        self.place(value).is_finite()
    }

    /// 0 at the low end, 1 at the high end.
    fn part(&self, value: f64) -> f64 {
        (self.place(value) - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let values = match self.steps {
            Steps::Quantile => vec![0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999],
            Steps::Even => even_ticks(self.low, self.high, self.unit),
            Steps::Logarithmic => logarithmic_ticks(self.low, self.high),
        };
        let label = |value: f64| match self.steps {
            Steps::Quantile => format!("{}%", short_part(value)),
            _ => quantity_label(value, self.unit),
        };
        let inside = |value: &f64| (-1e-9..=1.0 + 1e-9).contains(&self.part(*value));
        values.into_iter().filter(inside).map(|value| (value, label(value))).collect()
    }
}

fn short_part(value: f64) -> String {
    let text = format!("{:.3}", value * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// As in tables, without zeros that say nothing.
fn quantity_label(value: f64, unit: Unit) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = quantity(value, unit);
    match text.split_once(' ') {
        Some((number, name)) if number.contains('.') => {
            format!("{} {name}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        None if text.contains('.') && !text.ends_with("/s") => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text,
    }
}

/// Steps of 1, 2 or 5 times a power of ten, but whole ones of what is counted; of KiB, MiB or GiB, if it is bytes.
fn even_ticks(low: f64, high: f64, unit: Unit) -> Vec<f64> {
    let raw = (high - low) / TICKS as f64;
    let base = match unit {
        Unit::Bytes => [1_073_741_824.0, 1_048_576.0, 1024.0].into_iter().find(|base| high >= *base).unwrap_or(1.0),
        _ => 1.0,
    };
    let power = base * 10f64.powf((raw / base).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    // There is no half a worker.
    let step = if unit == Unit::Count { step.max(1.0) } else { step };
    let first = (low / step).ceil();
    (0..=TICKS + 1).map(|index| (first + index as f64) * step).collect()
}

/// Powers of ten, and 2 and 5 times them where there are few; `low` and `high` are logarithms.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = high - low;
    let (factors, every): (&[f64], usize) = match decades {
        d if d <= 0.7 => (&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0], 1),
        d if d <= 2.2 => (&[1.0, 2.0, 5.0], 1),
        d => (&[1.0], (d / TICKS as f64).ceil() as usize),
    };
    // A double has no more than 640 decades.
    let powers = (low.floor() as i32..=high.ceil() as i32).step_by(every.max(1));
    powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power))).collect()
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= STRETCHES * 2 {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(STRETCHES * 2);
    for stretch in points.chunks(points.len().div_ceil(STRETCHES)) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(least), Some(greatest)) = (stretch.iter().min_by(by_value), stretch.iter().max_by(by_value)) else { continue };
        kept.push(*least);
        kept.push(*greatest);
        let end = kept.len();
        kept[end - 2..].sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Criterion, Series};

    fn curve(points: Vec<(f64, f64)>, logarithmic: bool) -> Curve {
        let axis = |logarithmic| Axis { title: "t".to_owned(), unit: Unit::Seconds, logarithmic };
        Curve {
            id: "warm_up".to_owned(),
            title: "Warm-up".to_owned(),
            criterion: Criterion::Performance,
            x: axis(false),
            y: axis(logarithmic),
            series: vec![Series { side: "node".to_owned(), label: String::new(), points }],
            remark: None,
        }
    }

    #[test]
    fn points_land_where_the_axes_say() {
        let chart = draw(&curve(vec![(0.0, 0.001), (10.0, 0.1)], true), |_| 0).unwrap();
        let dots = &chart.lines[0].dots;
        assert_eq!(dots[0].0, "64.0");
        let labels: Vec<&str> = chart.y_ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["1 ms", "2 ms", "5 ms", "10 ms", "20 ms", "50 ms", "100 ms"]);
        // The mark at 1 ms and the point at 1 ms are at one height.
        assert_eq!(chart.y_ticks[0].at, dots[0].1);
    }

    #[test]
    fn what_is_counted_has_whole_marks() {
        let mut two = curve(vec![(1.0, 10.0), (2.0, 20.0)], false);
        two.x.unit = Unit::Count;
        let labels: Vec<String> = draw(&two, |_| 0).unwrap().x_ticks.into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["0", "1", "2"]);
    }

    #[test]
    fn a_spike_survives_thinning() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|at| (f64::from(at), 1.0)).collect();
        points[5_432].1 = 50.0;
        let kept = thinned(&points);
        assert!(kept.len() <= STRETCHES * 2);
        assert!(kept.contains(&(5_432.0, 50.0)));
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn numbers_that_cannot_be_drawn_draw_nothing() {
        assert!(draw(&curve(vec![], false), |_| 0).is_none());
        assert!(draw(&curve(vec![(0.0, 0.0)], true), |_| 0).is_none());
        assert!(draw(&curve(vec![(0.0, -1e308), (1.0, 1e308)], false), |_| 0).is_none());
        assert!(draw(&curve(vec![(0.0, 5.0)], false), |_| 0).is_some());
    }
}
