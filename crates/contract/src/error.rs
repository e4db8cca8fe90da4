//! Errors that cross from one language to the other.

use std::fmt;

use crate::value::{Text, Value};

/// What a function raised, or why a call came to nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteError {
    /// `python` or `javascript`.
    pub language: String,
    /// `ValueError`, `TypeError`, …
    pub kind: String,
    /// What it says.
    pub message: String,
    /// `BIREME_CALL_TIMEOUT` and the like, or the error's own.
    pub code: Option<String>,
    /// From the outermost caller to the place of the fault.
    pub frames: Vec<Frame>,
    /// The language's own rendering.
    pub text: String,
    /// What it was raised because of.
    pub cause: Option<Box<RemoteError>>,
    /// Members of a group.
    pub suppressed: Vec<RemoteError>,
    /// Lines that were added on the way.
    pub notes: Vec<String>,
    /// What else the error held.
    pub properties: Vec<(Text, Value)>,
}

/// A place in a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The file.
    pub file: String,
    /// From 1; 0 if unknown.
    pub line: u32,
    /// From 1; 0 if unknown.
    pub column: u32,
    /// The function's name, or empty.
    pub function: String,
    /// The line's text, or empty.
    pub source: String,
    /// `python` or `javascript`.
    pub language: String,
}

impl RemoteError {
    /// From the map that stands for it; `None` if it is none.
    pub fn from_value(value: Value) -> Option<RemoteError> {
        let Value::Object(entries) = value else { return None };
        let mut error = RemoteError::default();
        for (key, value) in entries {
            match key.as_str() {
                Some("language") => error.language = text(value)?,
                Some("type") => error.kind = text(value)?,
                Some("message") => error.message = text(value)?,
                Some("code") => error.code = Some(text(value)?),
                Some("text") => error.text = text(value)?,
                Some("cause") => error.cause = Some(Box::new(RemoteError::from_value(value)?)),
                Some("frames") => error.frames = list(value, frame)?,
                Some("suppressed") => error.suppressed = list(value, RemoteError::from_value)?,
                Some("notes") => error.notes = list(value, text)?,
                Some("properties") => {
                    let Value::Object(properties) = value else { return None };
                    error.properties = properties;
                }
                // A newer peer says more.
                _ => {}
            }
        }
        Some(error)
    }
}

/// In one order for both languages, as Python has it: the place of the fault and the message last.
impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cause) = &self.cause {
            write!(f, "{cause}\n\nThe error above caused this one:\n\n")?;
        }
        let of_bireme = self.code.as_ref().is_some_and(|code| code.starts_with("BIREME_"));
        if self.frames.is_empty() && !self.text.trim().is_empty() && !of_bireme {
            // Without frames the language knows best: it shows where a file cannot be parsed.
            return f.write_str(self.text.trim_end());
        }
        if !self.frames.is_empty() {
            f.write_str("Stack (innermost last):\n")?;
        }
        for frame in &self.frames {
            writeln!(f, "  {frame}")?;
            if !frame.source.trim().is_empty() {
                writeln!(f, "    {}", frame.source.trim())?;
            }
        }
        f.write_str(if self.kind.is_empty() { "Error" } else { &self.kind })?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(code) = &self.code {
            write!(f, " [{code}]")?;
        }
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        for (at, member) in self.suppressed.iter().enumerate() {
            write!(f, "\n\n{} of {} in this group:\n{member}", at + 1, self.suppressed.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for RemoteError {}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        if !self.function.is_empty() {
            write!(f, " in {}", self.function)?;
        }
        write!(f, " ({})", if self.language == "javascript" { "JavaScript" } else { "Python" })
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_lossy().into_owned()),
        _ => None,
    }
}

fn list<T>(value: Value, item: impl FnMut(Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Array(items) => items.into_iter().map(item).collect(),
        _ => None,
    }
}

fn frame(value: Value) -> Option<Frame> {
    let Value::Array(parts) = value else { return None };
    let [file, line, column, function, source, language] = <[Value; 6]>::try_from(parts).ok()?;
    let number = |value: Value| match value {
        Value::Integer(number) => Some(u32::try_from(number).unwrap_or(0)),
        _ => None,
    };
    Some(Frame {
        file: text(file)?,
        line: number(line)?,
        column: number(column)?,
        function: text(function)?,
        source: text(source)?,
        language: text(language)?,
    })
}
