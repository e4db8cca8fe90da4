//! Media types of files by extension, and which media types compress well.
//!
//! Text carries `charset=utf-8`: a browser that has to guess guesses wrong.

/// Value of `content-type` for a file of this name; `application/octet-stream` when the extension is not
/// known, which makes browsers download instead of guess.
pub fn of_name(name: &[u8]) -> &'static str {
    const EXTENSION_MAX: usize = 11;
    let name = name.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|&b| b == b'.') else { return UNKNOWN };
    let extension = &name[dot + 1..];
    if extension.len() > EXTENSION_MAX {
        return UNKNOWN;
    }
    let mut lower = [0; EXTENSION_MAX];
    let lower = &mut lower[..extension.len()];
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    TYPES.binary_search_by(|(known, _)| known.as_bytes().cmp(lower)).map_or(UNKNOWN, |index| TYPES[index].1)
}

/// Whether bodies of this type shrink when compressed. `content_type` may carry parameters; images, video,
/// archives and WOFF fonts are compressed already.
pub fn compresses(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let Some(slash) = essence.iter().position(|&b| b == b'/') else { return false };
    let (kind, subtype) = (&essence[..slash], &essence[slash + 1..]);
    let subtype_is = |known: &[&str]| known.iter().any(|k| subtype.eq_ignore_ascii_case(k.as_bytes()));
    let suffix = subtype.iter().rposition(|&b| b == b'+').map(|at| &subtype[at + 1..]).unwrap_or_default();
    if kind.eq_ignore_ascii_case(b"text") {
        return true;
    }
    if suffix.eq_ignore_ascii_case(b"json") || suffix.eq_ignore_ascii_case(b"xml") {
        return true;
    }
    if kind.eq_ignore_ascii_case(b"application") {
        return subtype_is(&[
            "javascript",
            "json",
            "xml",
            "wasm",
            "x-javascript",
            "x-ndjson",
            "ndjson",
            "jsonl",
            "graphql",
            "yaml",
            "toml",
            "sql",
            "rtf",
            "x-www-form-urlencoded",
            "vnd.ms-fontobject",
        ]);
    }
    if kind.eq_ignore_ascii_case(b"font") {
        return subtype_is(&["ttf", "otf", "collection"]);
    }
    kind.eq_ignore_ascii_case(b"image") && subtype_is(&["bmp", "x-icon", "vnd.microsoft.icon"])
}

const UNKNOWN: &str = "application/octet-stream";

/// In the order of the extensions, for a binary search.
const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("ttc", "font/collection"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "text/xml; charset=utf-8"),
    ("xsl", "text/xml; charset=utf-8"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TYPES.iter().all(|(extension, _)| of_name(format!("x.{extension}").as_bytes()) != UNKNOWN));
    }

    #[test]
    fn names_have_types() {
        assert_eq!(of_name(b"a/b/Index.HTML"), "text/html; charset=utf-8");
        assert_eq!(of_name(b"app.min.js"), "text/javascript; charset=utf-8");
        assert_eq!(of_name(b"site.webmanifest"), "application/manifest+json");
        for name in ["README", "a.", "", ".", "x.unknown", "a.css/x", "x.averyveryverylongextension"] {
            assert_eq!(of_name(name.as_bytes()), UNKNOWN, "{name}");
        }
    }

    #[test]
    fn text_compresses_and_pictures_do_not() {
        for kind in [
            "text/html; charset=utf-8",
            "TEXT/event-stream",
            "application/json",
            "application/problem+json",
            "application/atom+xml;x=y",
            "image/svg+xml",
            "font/ttf",
            "application/wasm",
        ] {
            assert!(compresses(kind.as_bytes()), "{kind}");
        }
        for kind in ["image/png", "font/woff2", "application/zip", "video/mp4", "", "text", "application/octet-stream"] {
            assert!(!compresses(kind.as_bytes()), "{kind}");
        }
    }
}
