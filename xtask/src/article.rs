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
    write(&data, &format!("{}\n", reduced(&text)?))?;
    let summary = places.target.join("node-vs-python-summary.md");
    for (from, out) in [(&measured, docs.join("node-vs-python.html")), (&data, summary.clone())] {
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

/// What the article may quote: a document without launches, curves and the folder it ran in.
fn reduced(text: &str) -> anyhow::Result<String> {
    let mut document: Value = serde_json::from_str(text).context("what was measured is no JSON")?;
    document["folder"] = ".".into();
    let comparisons = document["comparisons"].as_array_mut().context("what was measured holds no comparisons")?;
    for comparison in comparisons {
        for list in ["launches", "curves"] {
            comparison[list] = Value::Array(Vec::new());
        }
        comparison["note"] = Value::Null;
    }
    serde_json::to_string_pretty(&document).context("what was measured cannot be written")
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
    fn data_for_the_article_hold_no_launches() {
        let text = r#"{"folder":"/home/me","comparisons":[{"launches":[1],"curves":[2],"note":"n","measures":[3]}]}"#;
        let value: Value = serde_json::from_str(&reduced(text).unwrap()).unwrap();
        let expected =
            serde_json::json!({"folder": ".", "comparisons": [{"launches": [], "curves": [], "note": null, "measures": [3]}]});
        assert_eq!(value, expected);
    }
}
