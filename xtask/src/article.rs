//! `cargo xtask article`: the suite measured, and what docs/node-vs-python.md rests on written from that.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use serde_json::Value;

use crate::places::Places;
use crate::steps::{run_loud, say};
use crate::{package, workloads};

/// Lines around what is written into the article; the prose around it is a person's.
const BEGIN: &str = "<!-- the table that `cargo xtask article` writes -->";
const END: &str = "<!-- end -->";

/// `--from COMPARE.JSON` takes what was measured before; other arguments are those of `bireme compare suite`.
pub fn run(places: &Places, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let bireme = package::build(places)?;
    let measured = match arguments {
        [flag, file] if flag == "--from" => PathBuf::from(file),
        _ => measure(places, &bireme, arguments)?,
    };
    let docs = places.root.join("docs");
    let (data, article) = (docs.join("node-vs-python.json"), docs.join("node-vs-python.md"));
    let text = std::fs::read_to_string(&measured).with_context(|| format!("could not read {}", measured.display()))?;
    let mut document = serde_json::from_str(&text).context("what was measured is no JSON")?;
    forget_places(&mut document)?;
    let whole = places.target.join("node-vs-python.json");
    write(&whole, &serde_json::to_string(&document)?)?;
    reduce(&mut document)?;
    write(&data, &format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    let summary = places.target.join("node-vs-python-summary.md");
    for (from, out) in [(&whole, docs.join("node-vs-python.html")), (&data, summary.clone())] {
        run_loud(
            &format!("write {}", places.short(&out)),
            Command::new(&bireme).args(["compare", "report"]).arg(from).arg("--out").arg(out),
        )?;
    }
    let table = std::fs::read_to_string(&summary).context("could not read the summary")?;
    let prose = std::fs::read_to_string(&article).with_context(|| format!("could not read {}", article.display()))?;
    write(&article, &spliced(&prose, &table)?)?;
    say("✓ now the prose: `cargo test -p compare --test article` names the intervals in it that the data no longer hold");
    Ok(ExitCode::SUCCESS)
}

/// Two hours or so, on a machine with nothing else to do.
fn measure(places: &Places, bireme: &Path, arguments: &[String]) -> anyhow::Result<PathBuf> {
    workloads::prepare(places)?;
    let out = places.target.join("article");
    let mut command = Command::new(bireme);
    // Relative names stand in the report.
    command.current_dir(&places.root).args(["compare", "suite", "--out"]).arg(&out).args(arguments);
    run_loud("measure the suite", &mut command)?;
    Ok(out.join("compare.json"))
}

/// Leaves no path of the machine in the document: names become relative to the folder it was measured in, and an interpreter of elsewhere
/// keeps its file's name.
fn forget_places(document: &mut Value) -> anyhow::Result<()> {
    let folder = document["folder"].as_str().context("what was measured names no folder")?.to_owned();
    let within = |name: &Value| {
        let name = name.as_str()?.replace("app/../", "");
        let inside = name.strip_prefix(&folder).map(|rest| rest.trim_start_matches('/').to_owned());
        inside.or_else(|| Some(Path::new(&name).file_name()?.to_string_lossy().into_owned()))
    };
    for comparison in comparisons(document)? {
        for side in comparison["sides"].as_array_mut().into_iter().flatten() {
            side["interpreter"] = within(&side["interpreter"]).into();
            for file in side.pointer_mut("/code/files").and_then(Value::as_array_mut).into_iter().flatten() {
                *file = within(file).into();
            }
        }
    }
    document["folder"] = ".".into();
    Ok(())
}

/// Leaves what the article may quote: no launches and no curves.
fn reduce(document: &mut Value) -> anyhow::Result<()> {
    for comparison in comparisons(document)? {
        for list in ["launches", "curves"] {
            comparison[list] = Value::Array(Vec::new());
        }
        comparison["note"] = Value::Null;
    }
    Ok(())
}

fn comparisons(document: &mut Value) -> anyhow::Result<&mut Vec<Value>> {
    document["comparisons"].as_array_mut().context("what was measured holds no comparisons")
}

/// The article with the table between its two lines.
fn spliced(article: &str, table: &str) -> anyhow::Result<String> {
    let (before, rest) = article.split_once(BEGIN).with_context(|| format!("docs/node-vs-python.md has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("docs/node-vs-python.md has no line {END} after it"))?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim_end()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let article = |inner: &str| format!("# Title\n\n{BEGIN}\n{inner}\n{END}\n\nProse.\n");
        assert_eq!(spliced(&article("old\n\ntable"), "new\n\n| a |\n").unwrap(), article("new\n\n| a |"));
        assert!(spliced("# Title\n", "x").is_err());
    }

    #[test]
    fn data_for_the_article_hold_no_launches_and_no_places() {
        let side = |interpreter: &str, file: &str| serde_json::json!({"interpreter": interpreter, "code": {"files": [file]}});
        let mut document = serde_json::json!({"folder": "/home/me", "comparisons": [{
            "sides": [side("/usr/bin/node", "/home/me/suite/a.mjs"), side("/home/me/suite/app/../.venv/bin/python", "/else/b.py")],
            "launches": [1], "curves": [2], "note": "n", "measures": [3],
        }]});
        forget_places(&mut document).unwrap();
        reduce(&mut document).unwrap();
        let expected = serde_json::json!({"folder": ".", "comparisons": [{
            "sides": [side("node", "suite/a.mjs"), side("suite/.venv/bin/python", "b.py")],
            "launches": [], "curves": [], "note": null, "measures": [3],
        }]});
        assert_eq!(document, expected);
    }
}
