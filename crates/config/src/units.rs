//! How durations, sizes and addresses are written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::Listen;

/// `500ms`, `10s`, `1m30s`, `2h`, `1d`. The error says how to write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration; write it with its unit, such as \"500ms\", \"10s\" or \"1m30s\"");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let unit = rest[digits..].find(|letter: char| letter.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let millis = match rest[digits..unit].trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = count.checked_mul(millis).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = rest[unit..].trim_start();
    }
    // Timers and deadlines add this to the present; beyond a year it is a mistake.
    if total > Duration::from_secs(365 * 86_400) {
        return Err(format!("\"{text}\" is more than a year"));
    }
    Ok(total)
}

/// The shortest way to write a duration of whole milliseconds.
pub(crate) fn show_duration(value: Duration) -> String {
    let millis = value.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if !millis.is_multiple_of(1_000) => format!("{millis}ms"),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ => format!("{}s", millis / 1_000),
    }
}

/// `16MiB`, `64KiB`, `1GB`, `4096`. The error says how to write it.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size; write bytes, or a number with its unit, such as \"64KiB\" or \"16MiB\"");
    let trimmed = text.trim();
    let digits = trimmed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(trimmed.len());
    let count: u64 = trimmed[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).ok_or_else(wrong)
}

/// The shortest exact way to write a size.
pub(crate) fn show_bytes(value: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if value >= unit && value.is_multiple_of(unit) {
            return format!("{}{name}", value / unit);
        }
    }
    value.to_string()
}

/// `127.0.0.1:8000`, `[::1]:0`, `localhost:8000`, `:8000` (every IPv4 address), `8000` (loopback) or `unix:PATH`,
/// the path relative to `folder`.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn listen(text: &str, folder: &Path) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err("\"unix:\" is followed by the path of a socket, such as \"unix:/run/app.sock\"".to_owned());
        }
        return Ok(Listen::Unix(folder.join(path)));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Listen::Tcp(address));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => ("localhost", text),
    };
    let host: Option<IpAddr> = match host {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        "" | "*" => Some(Ipv4Addr::UNSPECIFIED.into()),
        other => other.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    };
    match (host, port.parse::<u16>()) {
        (Some(host), Ok(port)) => Ok(Listen::Tcp(SocketAddr::new(host, port))),
        (None, Ok(_)) => Err(format!(
            "\"{text}\" names a host; Bireme listens on addresses: write \"127.0.0.1:PORT\", \"[::]:PORT\", \":PORT\" or \
             \"localhost:PORT\""
        )),
        _ => Err(format!(
            "\"{text}\" is no address to listen on; write \"HOST:PORT\" with a port from 0 to 65535 (0 chooses one), or \
             \"unix:PATH\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_units() {
        let check = |text: &str, millis: u64, shown: &str| {
            let value = duration(text).expect(text);
            assert_eq!(value, Duration::from_millis(millis), "{text}");
            assert_eq!(show_duration(value), shown, "{text}");
        };
        check("500ms", 500, "500ms");
        check("10s", 10_000, "10s");
        check("1m30s", 90_000, "90s");
        check("120s", 120_000, "2m");
        check("2h", 7_200_000, "2h");
        check("1d", 86_400_000, "24h");
        check("0s", 0, "0s");
        check("1 m", 60_000, "1m");
        for wrong in ["", "10", "s", "-1s", "1.5s", "10 parsecs", "99999999999999999999s", "400d", "1s2"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        let check = |text: &str, expected: u64| assert_eq!(bytes(text).expect(text), expected, "{text}");
        check("4096", 4096);
        check("64KiB", 65_536);
        check("16 MiB", 16 << 20);
        check("1g", 1 << 30);
        check("1GB", 1_000_000_000);
        for wrong in ["", "MiB", "-1", "1.5MiB", "1 furlong", "99999999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show_bytes(65_536), "64KiB");
        assert_eq!(show_bytes(1_000), "1000");
    }

    #[test]
    fn addresses_are_written_as_people_do() {
        let check = |text: &str, expected: &str| {
            assert_eq!(listen(text, Path::new("/srv")).expect(text), Listen::Tcp(expected.parse().unwrap()), "{text}");
        };
        check("127.0.0.1:8000", "127.0.0.1:8000");
        check("[::]:0", "[::]:0");
        check("localhost:8000", "127.0.0.1:8000");
        check(":8000", "0.0.0.0:8000");
        check("*:80", "0.0.0.0:80");
        check("8000", "127.0.0.1:8000");
        assert_eq!(listen("unix:x.sock", Path::new("/srv")), Ok(Listen::Unix("/srv/x.sock".into())));
        assert_eq!(listen("unix:/run/x.sock", Path::new("/srv")), Ok(Listen::Unix("/run/x.sock".into())));
        for (wrong, hint) in [
            ("example.com:80", "names a host"),
            ("127.0.0.1:99999", "from 0 to 65535"),
            ("127.0.0.1", "no address"),
            ("unix:", "path of a socket"),
            ("", "no address"),
        ] {
            let error = listen(wrong, Path::new("/srv")).expect_err(wrong);
            assert!(error.contains(hint), "{wrong}: {error}");
        }
    }
}
