//! Pieces of Python.

/// A union of types, each once, literals together; `Any` swallows the rest.
pub fn union(parts: Vec<String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut literals: Vec<String> = Vec::new();
    for part in parts {
        if part == "Any" {
            return part;
        }
        let literal = part.strip_prefix("Literal[").and_then(|rest| rest.strip_suffix(']'));
        let (list, part) = match literal.filter(|_| !part.contains("] | ")) {
            Some(literal) => (&mut literals, literal.to_owned()),
            None => (&mut kept, part),
        };
        if !list.contains(&part) {
            list.push(part);
        }
    }
    if !literals.is_empty() {
        kept.insert(0, format!("Literal[{}]", literals.join(", ")));
    }
    if kept.is_empty() { "Any".to_owned() } else { kept.join(" | ") }
}

const PYTHON_WORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield",
];

/// Whether Python can write it after a dot.
pub fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
        && !PYTHON_WORDS.contains(&name)
}

/// A name for a parameter; nobody gives it by name.
pub fn identifier(name: &str) -> String {
    let name: String = name.chars().map(|letter| if letter == '$' { '_' } else { letter }).collect();
    if is_identifier(&name) { name } else { format!("{name}_") }
}

/// `renderPage` as `RenderPage`.
pub fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Text in quotes, as a docstring.
pub fn documentation(about: &str, indent: &str) -> String {
    if about.is_empty() {
        return String::new();
    }
    let about = about.replace('\\', "\\\\").replace("\"\"\"", "'''");
    let lines: Vec<&str> = about.lines().collect();
    match lines[..] {
        [line] => format!("{indent}\"\"\"{line}\"\"\"\n"),
        _ => format!("{indent}\"\"\"{}\n{indent}\"\"\"\n", lines.join(&format!("\n{indent}"))),
    }
}

/// A string in quotes.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Those of the names that a text uses, in their order.
pub fn used<'n>(names: &[&'n str], text: &str) -> Vec<&'n str> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words: Vec<&str> = text.split(|letter| !is_part(letter)).collect();
    names.iter().filter(|name| words.contains(name)).copied().collect()
}
