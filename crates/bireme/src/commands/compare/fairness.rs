//! What tilts a comparison before it begins, as far as files and the environment say it; `compare::fairness` sees the rest.

use std::path::Path;

use compare::document::{Finding, Severity};
use compare::fairness::has_module;
use compare::redact;
use config::{App, Service};
use supervise::Language;
use toml::{Table, Value};

/// Variables with which frameworks and Python itself are put into debug modes.
const PYTHON_DEBUG: [&str; 6] = ["PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "DEBUG", "DJANGO_DEBUG", "FLASK_DEBUG", "FASTAPI_DEBUG"];
/// Keys of a rule that say where it holds, and not how it serves.
const RULE_PLACE: [&str; 7] = ["match", "hosts", "methods", "to", "strip_prefix", "shadow", "sample"];

/// Keys of a section that bound or replace workers under load.
const SECTION_LIMITS: [&str; 6] =
    ["queue_requests_max", "queue_timeout", "in_flight_max", "recycle_requests", "recycle_memory", "survive"];

/// A variable of this process's environment.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Two services of one configuration; `rules` are the ones by which they are served.
pub fn of_services(
    services: [&Service; 2],
    whole: &Table,
    rules: [&Table; 2],
    environment: impl Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let [left, right] = services;
    if left.workers != right.workers {
        let what = format!("{} has {} workers and {} has {}", left.name, left.workers, right.name, right.workers);
        found.push(warning(None, what, "give both the same number of workers"));
    }
    for service in services {
        let value = |name: &str| {
            let own = service.env.iter().rev().find(|variable| variable.0 == name).map(|variable| variable.1.clone());
            own.or_else(|| environment(name))
        };
        let name = Some(&*service.name);
        match &service.app {
            App::Node { .. } => {
                if value("NODE_ENV").as_deref() != Some("production") {
                    let what = "NODE_ENV is not production, so Express and others keep development's checks".to_owned();
                    found.push(warning(name, what, "set env = { NODE_ENV = \"production\" } in its section"));
                }
                if value("NODE_OPTIONS").is_some_and(|options| options.contains("--inspect")) {
                    found.push(warning(name, "NODE_OPTIONS turns the inspector on".to_owned(), "unset it for the run"));
                }
            }
            App::Python { .. } => {
                for debug in PYTHON_DEBUG {
                    if value(debug).is_some_and(|value| !["", "0", "false", "False"].contains(&value.as_str())) {
                        found.push(warning(name, format!("{debug} turns a debug mode on"), "unset it for the run"));
                    }
                }
            }
        }
    }
    let section = |service: &Service, key: &str| {
        whole.get("service").and_then(|all| all.get(&*service.name)).and_then(|one| one.get(key)).cloned()
    };
    for key in SECTION_LIMITS {
        uneven(&mut found, key, [section(left, key), section(right, key)], services);
    }
    let keys = rules.iter().flat_map(|rule| rule.keys()).filter(|key| !RULE_PLACE.contains(&key.as_str()));
    let keys: std::collections::BTreeSet<&String> = keys.collect();
    for key in keys {
        uneven(&mut found, &format!("route key {key}"), rules.map(|rule| rule.get(key).cloned()), services);
    }
    found
}

fn uneven(found: &mut Vec<Finding>, key: &str, [left, right]: [Option<Value>; 2], services: [&Service; 2]) {
    if left != right {
        let said = |value: Option<Value>| value.map_or_else(|| "not set".to_owned(), |value| redact::text(&value.to_string()));
        let what = format!("{key} is {} for {} and {} for {}", said(left), services[0].name, said(right), services[1].name);
        found.push(warning(None, what, "set it for both alike, or for neither"));
    }
}

/// Variables that slow one language down, and that its launches would inherit.
pub fn of_environment(environment: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let suspicious = [
        ("NODE_OPTIONS", "node", set("NODE_OPTIONS").filter(|value| value.contains("--inspect") || value.contains("--prof"))),
        ("PYTHONDEVMODE", "python", set("PYTHONDEVMODE")),
        ("PYTHONASYNCIODEBUG", "python", set("PYTHONASYNCIODEBUG")),
        ("PYTHONPROFILEIMPORTTIME", "python", set("PYTHONPROFILEIMPORTTIME")),
        ("PYTHONMALLOC", "python", set("PYTHONMALLOC").filter(|value| value.contains("debug"))),
    ];
    let finding = |(name, side, value): (&str, &str, Option<String>)| {
        value.map(|value| warning(Some(side), format!("{name}={value} slows it down"), &format!("unset {name} for the run")))
    };
    suspicious.into_iter().filter_map(finding).collect()
}

/// An asynchronous Python function without the loop that servers run it on.
pub fn of_function(side: &str, language: Language, file: &Path, function: &str, interpreter: &Path) -> Option<Finding> {
    let text = std::fs::read_to_string(file).ok()?;
    let is_asynchronous = text.contains(&format!("async def {function}("));
    let lacks = || has_module(&interpreter.display().to_string(), "uvloop") == Some(false);
    (language == Language::Python && is_asynchronous && lacks()).then(|| {
        let what = "uvloop is missing, so an asynchronous function runs on asyncio's own loop".to_owned();
        warning(Some(side), what, "install uvloop in its environment")
    })
}

fn warning(side: Option<&str>, what: String, advice: &str) -> Finding {
    Finding { severity: Severity::Warning, side: side.map(str::to_owned), what, advice: advice.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of two services with these sections and rules, under this environment.
    fn check(sections: [&str; 2], rules: [&str; 2], environment: &[(&str, &str)], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for file in ["web.js", "ml.py"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let [web, ml] = sections;
        let text = format!(
            "[service.web]\nnode = \"web.js\"\nworkers = 1\n{web}\n[service.ml]\npython = \"ml:app\"\nworkers = 1\n{ml}\n[[route]]\nmatch = \"/*\"\nto = \"web\"\n"
        );
        let file = folder.path().join("bireme.toml");
        std::fs::write(&file, &text).unwrap();
        let serve = crate::arguments::ServeArguments { config: Some(file), ..Default::default() };
        let settings = crate::load::settings(&serve).unwrap_or_else(|_| panic!("{text}")).settings;
        let service = |name: &str| settings.services.iter().find(|service| &*service.name == name).unwrap();
        let rules = rules.map(|rule| rule.parse::<Table>().unwrap());
        let variable = |name: &str| environment.iter().find(|one| one.0 == name).map(|one| one.1.to_owned());
        let found = of_services([service("web"), service("ml")], &text.parse().unwrap(), [&rules[0], &rules[1]], variable);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, expected) in found.iter().zip(expected) {
            let line = format!("{}: {}; {}", finding.side.as_deref().unwrap_or("both"), finding.what, finding.advice);
            assert!(line.contains(expected), "{line}");
        }
    }

    const PRODUCTION: &str = "env = { NODE_ENV = \"production\" }";

    #[test]
    fn what_files_and_environment_tilt_is_said() {
        check([PRODUCTION, ""], ["", ""], &[], &[]);
        check(["", ""], ["", ""], &[("NODE_ENV", "production")], &[]);
        check(["", ""], ["", ""], &[], &["web: NODE_ENV is not production"]);
        check([PRODUCTION, "env = { FLASK_DEBUG = \"1\" }"], ["", ""], &[], &["ml: FLASK_DEBUG turns a debug mode on; unset it"]);
        check([PRODUCTION, ""], ["", ""], &[("DEBUG", "0")], &[]);
        check([PRODUCTION, ""], ["", ""], &[("NODE_OPTIONS", "--inspect=0")], &["web: NODE_OPTIONS turns the inspector on"]);
        let limited = format!("in_flight_max = 8\n{PRODUCTION}");
        check([&limited, ""], ["", ""], &[], &["both: in_flight_max is 8 for web and not set for ml; set it for both"]);
        let rules = ["match = \"/a\"\nresponse_timeout = \"1s\"", "match = \"/b\""];
        check([PRODUCTION, ""], rules, &[], &["both: route key response_timeout is \"1s\" for web and not set for ml"]);
    }

    #[test]
    fn unequal_workers_are_said() {
        let workers = "[service.web]\nnode = \"web.js\"\nworkers = 2\nenv = { NODE_ENV = \"production\" }\n[service.ml]\npython = \"ml:app\"\nworkers = 1\n[[route]]\nmatch = \"/*\"\nto = \"web\"\n";
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("web.js", ""), ("ml.py", ""), ("bireme.toml", workers)] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let serve = crate::arguments::ServeArguments { config: Some(folder.path().join("bireme.toml")), ..Default::default() };
        let settings = crate::load::settings(&serve).unwrap_or_else(|_| panic!("{workers}")).settings;
        let service = |name: &str| settings.services.iter().find(|service| &*service.name == name).unwrap();
        let empty = Table::new();
        let found = of_services([service("web"), service("ml")], &empty, [&empty, &empty], |_| None);
        assert!(
            matches!(&found[..], [one] if one.what == "web has 2 workers and ml has 1" && one.advice.contains("same number")),
            "{found:?}"
        );
    }

    #[test]
    fn variables_that_slow_a_language_down_are_said() {
        let found = of_environment(|name| (name == "PYTHONDEVMODE").then(|| "1".to_owned()));
        assert!(
            matches!(&found[..], [one] if one.side.as_deref() == Some("python") && one.advice == "unset PYTHONDEVMODE for the run"),
            "{found:?}"
        );
        assert_eq!(of_environment(|_| None), []);
    }
}
