//! What any comparison is of: two sides, what they are called, and how each is launched.

use crate::document::{Comparison, Criterion, Equality, Side};

/// Two sides, launched by `L`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject<L> {
    /// Unique in the document.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it stands for.
    pub criterion: Option<Criterion>,
    /// What makes it unfair and how that was avoided.
    pub note: Option<String>,
    /// Left and right.
    pub sides: [Side; 2],
    /// How each is launched.
    pub launchers: [L; 2],
}

impl<L> Subject<L> {
    /// A comparison of it in which nothing has been measured yet.
    pub fn comparison(&self) -> Comparison {
        Comparison {
            name: self.name.clone(),
            title: self.title.clone(),
            criterion: self.criterion,
            note: self.note.clone(),
            sides: self.sides.to_vec(),
            equality: Equality::default(),
            measures: Vec::new(),
            launches: Vec::new(),
            curves: Vec::new(),
            errors: Vec::new(),
            rules: Vec::new(),
            remarks: Vec::new(),
        }
    }
}
