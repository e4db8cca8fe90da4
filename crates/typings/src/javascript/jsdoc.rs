//! What JSDoc comments say. Their types are TypeScript's, but for a few old forms.

/// A comment's tags.
#[derive(Debug, Default)]
pub struct Documented {
    /// What stands before the first tag.
    pub about: String,
    /// `@param`, in order.
    pub params: Vec<Param>,
    /// `@returns`; `@yields` as the generator that it means.
    pub returns: Option<String>,
    /// `@type`.
    pub kind: Option<String>,
    /// `@template`: names of type variables.
    pub variables: Vec<String>,
    /// `@typedef` and `@callback`: names and what they are in TypeScript.
    pub types: Vec<(String, String)>,
}

/// One parameter, or one property of a type.
#[derive(Debug)]
pub struct Param {
    pub name: String,
    pub kind: String,
    pub optional: bool,
}

impl Documented {
    pub fn of(comment: Option<&str>) -> Documented {
        let lines = comment.unwrap_or_default().trim_start_matches('*').lines();
        let lines: Vec<&str> = lines.map(|line| line.trim().trim_start_matches('*').trim()).collect();
        let text = lines.join("\n");
        let tags = if text.starts_with('@') { Some(0) } else { text.find("\n@") };
        let (about, tags) = tags.map_or((&*text, ""), |at| text.split_at(at));
        let mut read = Reading { documented: Documented { about: about.trim().to_owned(), ..Documented::default() }, open: None };
        for tag in tags.split("\n@").map(|tag| tag.trim_start_matches('@')) {
            let (word, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
            read.tag(word, rest.trim_start());
        }
        read.close();
        read.documented
    }
}

/// A `@typedef` or `@callback` whose further tags belong to it.
struct Open {
    name: String,
    parts: Vec<Param>,
    /// Of a `@callback`: its result.
    result: Option<String>,
    callback: bool,
}

struct Reading {
    documented: Documented,
    open: Option<Open>,
}

impl Reading {
    fn tag(&mut self, word: &str, rest: &str) {
        let (kind, after) = braced(rest).map_or((None, rest), |(kind, after)| (Some(kind), after.trim_start()));
        match (word, kind) {
            ("template", _) => {
                let names = after.split([',', ' ', '\n']).map(str::trim).filter(|name| !name.is_empty());
                let names = names.take_while(|name| name.chars().all(char::is_alphanumeric));
                self.documented.variables.extend(names.map(str::to_owned));
            }
            ("callback", _) => self.begin(after, true),
            ("typedef", Some("Object" | "object") | None) => self.begin(after, false),
            ("typedef", Some(kind)) => {
                self.close();
                self.documented.types.push((word_of(after), kind.to_owned()));
            }
            ("param" | "arg" | "argument" | "property" | "prop", Some(kind)) => self.param(kind, after),
            ("returns" | "return", Some(kind)) => match &mut self.open {
                Some(open) if open.callback => open.result = Some(kind.to_owned()),
                _ => self.documented.returns = Some(kind.to_owned()),
            },
            ("yields" | "yield", Some(kind)) => self.documented.returns = Some(format!("AsyncGenerator<{kind}>")),
            ("type", Some(kind)) => self.documented.kind = Some(kind.to_owned()),
            _ => {}
        }
    }

    fn param(&mut self, kind: &str, name: &str) {
        let bracketed = name.starts_with('[');
        let name: String =
            name.trim_start_matches('[').chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '.')).collect();
        let optional = bracketed || kind.ends_with('=');
        let kind = kind.trim_end_matches('=').to_owned();
        let params = self.open.as_mut().map_or(&mut self.documented.params, |open| &mut open.parts);
        // `options.top` describes a part of the argument before it.
        if let Some((whole, part)) = name.split_once('.') {
            if let Some(param) = params.iter_mut().find(|param| param.name == whole) {
                param.kind = with_part(&param.kind, &Param { name: part.to_owned(), kind, optional });
            }
            return;
        }
        params.push(Param { name, kind, optional });
    }

    fn begin(&mut self, name: &str, callback: bool) {
        self.close();
        self.open = Some(Open { name: word_of(name), parts: Vec::new(), result: None, callback });
    }

    fn close(&mut self) {
        let Some(Open { name, parts, result, callback }) = self.open.take() else { return };
        let parts: Vec<String> = parts.iter().map(property).collect();
        let text = if callback {
            format!("({}) => {}", parts.join(", "), result.as_deref().unwrap_or("void"))
        } else {
            format!("{{ {} }}", parts.join("; "))
        };
        self.documented.types.push((name, text));
    }
}

fn property(part: &Param) -> String {
    format!("{}{}: {}", part.name, if part.optional { "?" } else { "" }, part.kind)
}

/// An object's type with one more property. Only plain `object`s are described in parts; deeper ones are not.
fn with_part(kind: &str, part: &Param) -> String {
    if part.name.contains('.') {
        return kind.to_owned();
    }
    match kind {
        "Object" | "object" => format!("{{ {} }}", property(part)),
        _ => match kind.strip_suffix(" }") {
            Some(kind) => format!("{kind}; {} }}", property(part)),
            None => kind.to_owned(),
        },
    }
}

fn word_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$')).collect()
}

/// `{…}` at the beginning, with braces within: what it holds, and what follows.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
