//! `bireme status`

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::arguments::StatusArguments;
use crate::control::Server;
use crate::{Stop, say};

/// Prints a table, or what the server said as JSON.
pub fn run(arguments: &StatusArguments) -> Result<ExitCode, Stop> {
    let status = Server::find(&arguments.server)?.status;
    if arguments.json {
        say(format_args!("{status:#}"))?;
    } else {
        say(render(&status).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let listen: Vec<String> = status["listen"].as_array().into_iter().flatten().map(text).collect();
    let mut out = format!(
        "bireme {}, process {}, up {}, {} open connections\nlistening on {}\n",
        text(&status["version"]),
        status["pid"],
        uptime(&status["uptime_ms"]),
        status["connections"],
        listen.join(", ")
    );
    if let Some(config) = status["config"].as_str() {
        out.push_str(&format!("configured by {config}\n"));
    }
    for service in status["services"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "\n{}: {} {} ({}), {}, {} of {} workers ready\n",
            text(&service["name"]),
            text(&service["language"]),
            text(&service["version"]),
            text(&service["interpreter"]),
            text(&service["kind"]),
            service["ready"],
            service["wanted"]
        ));
        if let Some(why) = service["failing"].as_str() {
            out.push_str(&format!("  failing: {why}\n"));
        }
        let workers = service["workers"].as_array().cloned().unwrap_or_default();
        let rows = workers.iter().map(|worker| {
            [
                text(&worker["name"]),
                worker["pid"].to_string(),
                text(&worker["state"]),
                uptime(&worker["uptime_ms"]),
                worker["restarts"].to_string(),
                worker["in_flight"].to_string(),
                worker["served"].to_string(),
                memory(&worker["memory_bytes"]),
            ]
        });
        let head = ["worker", "pid", "state", "up", "restarts", "in flight", "served", "memory"].map(str::to_owned);
        out.push_str(&table(std::iter::once(head).chain(rows).collect()));
    }
    out
}

/// Names and states to the left, numbers to the right.
fn table<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                if at == 0 || at == 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
        out.push_str(&format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    out
}

fn uptime(millis: &Value) -> String {
    let seconds = Duration::from_millis(millis.as_u64().unwrap_or(0)).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn memory(bytes: &Value) -> String {
    bytes.as_u64().map_or_else(|| "?".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_a_table() {
        let status = json!({
            "version": "0.1.0", "pid": 7, "uptime_ms": 3_700_000, "connections": 2,
            "listen": ["http://127.0.0.1:8000"], "config": "/srv/bireme.toml",
            "services": [{
                "name": "ml", "language": "python", "version": "3.11.2", "interpreter": "/usr/bin/python3", "kind": "asgi",
                "ready": 1, "wanted": 2, "failing": null,
                "workers": [
                    { "name": "ml#1", "pid": 8, "state": "ready", "uptime_ms": 61_000, "restarts": 0, "in_flight": 3, "served": 1234, "memory_bytes": 52_428_800 },
                    { "name": "ml#10", "pid": 90, "state": "starting", "uptime_ms": 10, "restarts": 2, "in_flight": 0, "served": 0, "memory_bytes": null },
                ],
            }],
        });
        let expected = "\
bireme 0.1.0, process 7, up 1h01m, 2 open connections
listening on http://127.0.0.1:8000
configured by /srv/bireme.toml

ml: python 3.11.2 (/usr/bin/python3), asgi, 1 of 2 workers ready
  worker  pid  state        up  restarts  in flight  served  memory
  ml#1      8  ready     1m01s         0          3    1234  50 MiB
  ml#10    90  starting     0s         2          0       0       ?
";
        assert_eq!(render(&status), expected);
    }
}
