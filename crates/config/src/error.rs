//! What is wrong with a configuration, where, and what to do.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    File {
        /// The file as people know it.
        name: Arc<str>,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag or argument, as it was typed.
    Flag(String),
    /// Nowhere: the value is built in.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, line } => write!(out, "{name}:{line}"),
            Place::Environment(name) => write!(out, "environment variable {name}"),
            Place::Flag(text) => out.write_str(text),
            Place::Default => out.write_str("default"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where; `None` for what no line is to blame for.
    pub place: Option<Place>,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(out, "{place}: {}", self.what),
            None => out.write_str(&self.what),
        }
    }
}

/// All mistakes of a configuration, in the order in which they were found; displayed one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<Mistake>);

impl Errors {
    pub(crate) fn add(&mut self, place: &Place, what: impl Into<String>) {
        self.0.push(Mistake { place: Some(place.clone()), what: what.into() });
    }

    /// A value that a key cannot take. A flag's name says which key it is.
    pub(crate) fn add_value(&mut self, place: &Place, key: &str, what: &str) {
        match place {
            Place::Flag(_) => self.add(place, what),
            _ => self.add(place, format!("{key}: {what}")),
        }
    }

    pub(crate) fn add_anywhere(&mut self, what: impl Into<String>) {
        self.0.push(Mistake { place: None, what: what.into() });
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// The known word nearest to an unknown one, if it is near enough to be what was meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let far = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|one| (distance(&word.to_lowercase(), &one.to_lowercase()), one))
        .filter(|(distance, one)| *distance <= far || one.starts_with(word) && word.len() > 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

/// How many letters to insert, remove, replace or swap with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_found_if_it_is_near() {
        let known = ["workers", "listen", "log_level", "recycle_requests"];
        assert_eq!(nearest("worker", known), Some("workers"));
        assert_eq!(nearest("wrokers", known), Some("workers"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("recycle", known), Some("recycle_requests"));
        assert_eq!(nearest("cpu", known), None);
        assert_eq!(nearest("", known), None);
    }
}
