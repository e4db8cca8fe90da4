use super::open::Opened;
use super::representation::Coding;
use super::*;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

const PAGE: &str = "<!doctype html><title>Digits</title>";
const SCRIPT: &str = "console.log('0123456789')";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

pub(super) fn entry_of(content: &[u8]) -> Entry {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "x.txt", content, 0);
    let root = Folder::open(folder.path()).unwrap();
    let Ok(Opened::File(_, version)) = root.open_below(b"x.txt", Patience::Disk) else { panic!() };
    let rules = Rules {
        settings: settings(folder.path()),
        boundary: String::new(),
        file_bytes_max: usize::MAX,
        compression: compression(),
        compressed_file_bytes_max: 0,
        response_fields: Vec::new(),
    };
    rules.entry(b"x.txt", version, Coding::Plain, Content::Memory(content.to_vec().into()), None)
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>, seconds_later: u64) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds_later);
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
}

fn settings(root: &Path) -> config::Static {
    config::Static {
        root: root.to_owned(),
        prefix: "/assets".into(),
        index: vec!["index.html".into(), "index.htm".into()],
        fallback: None,
        cache_control: None,
        precompressed: true,
        dotfiles: false,
    }
}

fn compression() -> config::Compression {
    let encodings = vec![config::Encoding::Brotli, config::Encoding::Zstd, config::Encoding::Gzip];
    config::Compression { enabled: true, encodings, min_bytes: 1000, types: vec!["model/*".into()] }
}

/// A folder of files and a root that serves it.
struct Site {
    folder: tempfile::TempDir,
    store: Store,
    root: Root,
    now: Instant,
}

impl Site {
    fn new(change: impl FnOnce(&mut config::Static)) -> Site {
        Site::with_cache(
            &config::StaticCache { bytes_max: 1 << 20, file_bytes_max: 64 * 1024, revalidate: Duration::from_secs(1) },
            change,
        )
    }

    fn with_cache(cache: &config::StaticCache, change: impl FnOnce(&mut config::Static)) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "index.html", PAGE, 0);
        write(root, "app.js", SCRIPT, 0);
        write(root, "app.js.br", "brotli", 0);
        write(root, "app.js.gz", "gzip", 1);
        write(root, "old.css", "plain", 10);
        write(root, "old.css.gz", "stale", 0);
        write(root, "empty.txt", "", 0);
        write(root, "docs/index.htm", "docs", 0);
        write(root, "photos/a.png", "png", 0);
        write(root, ".env", "secret", 0);
        let mut settings = settings(root);
        change(&mut settings);
        let store = Store::new(cache);
        let root = store.root(&settings, &compression(), &[]).unwrap();
        Site { folder, store, root, now: Instant::now() }
    }

    /// `status`, fields and body of an answer as text; the type's own order of fields.
    async fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Shown {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let request = Request {
            method: method.as_bytes(),
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            fields: &fields,
            now: self.now,
        };
        match self.root.get(&request).await {
            Answer::Refusal { code, fields } => {
                let fields = fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
                Shown { status: code.status(), fields, body: String::new() }
            }
            Answer::Response(response) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let fields: Vec<(String, String)> = response.fields().map(|(name, value)| (text(name), text(value))).collect();
                let length = response.body.len();
                let (mut body, mut reader) = (Vec::new(), response.body.into_reader());
                while let Some(piece) = reader.next(1000).await.unwrap() {
                    body.extend_from_slice(&piece);
                }
                assert_eq!(body.len() as u64, length);
                let mut shown = Shown { status: response.status, fields, body: text(&body) };
                if !body.is_empty() && shown.field("content-encoding") == "gzip" && body != b"gzip" {
                    let mut unpacked = String::new();
                    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut unpacked).unwrap();
                    assert!(body.len() < unpacked.len());
                    shown.body = unpacked;
                }
                if method == "GET" && shown.status != 304 {
                    assert_eq!(shown.field("content-length"), length.to_string());
                }
                shown
            }
        }
    }

    async fn get(&self, target: &str) -> Shown {
        self.ask("GET", target, &[]).await
    }
}

#[derive(Debug, PartialEq)]
struct Shown {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Shown {
    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    fn brief(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

#[tokio::test]
async fn a_file_comes_with_its_fields() {
    let site = Site::new(|settings| settings.cache_control = Some("max-age=60".into()));
    let shown = site.get("/assets/app.js?v=1").await;
    assert_eq!(shown.brief(), (200, SCRIPT));
    let names: Vec<&str> = shown.fields.iter().map(|(name, _)| &name[..]).collect();
    let expected = ["content-type", "etag", "last-modified", "cache-control", "vary", "accept-ranges", "content-length"];
    assert_eq!(names, expected);
    assert_eq!(shown.field("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(shown.field("last-modified"), MODIFIED);
    assert_eq!(shown.field("cache-control"), "max-age=60");
    assert_eq!(shown.field("vary"), "accept-encoding");
    // From memory, the same.
    assert_eq!(site.get("/assets/app.js").await, shown);
    assert_eq!(site.get("/assets/photos/a.png").await.field("vary"), "");
    assert_eq!(site.get("/assets/empty.txt").await.brief(), (200, ""));
}

#[tokio::test]
async fn head_has_the_fields_alone_and_other_methods_are_refused() {
    let site = Site::new(|_| {});
    let shown = site.ask("HEAD", "/assets/app.js", &[("range", "bytes=0-1")]).await;
    assert_eq!(shown.brief(), (200, ""));
    assert_eq!(shown.field("content-length"), SCRIPT.len().to_string());
    for method in ["POST", "get", "DELETE", "OPTIONS"] {
        let shown = site.ask(method, "/assets/app.js", &[]).await;
        assert_eq!((shown.status, shown.field("allow")), (405, "GET, HEAD"));
    }
}

#[tokio::test]
async fn folders_have_an_index_and_need_their_slash() {
    let site = Site::new(|_| {});
    assert_eq!(site.get("/assets/").await.brief(), (200, PAGE));
    assert_eq!(site.get("/assets/docs/").await.brief(), (200, "docs"));
    for (target, location) in
        [("/assets", "/assets/"), ("/assets/docs?a=b", "/assets/docs/?a=b"), ("//assets/docs", "/assets/docs/")]
    {
        let shown = site.get(target).await;
        assert_eq!((shown.status, shown.field("location")), (301, location), "{target}");
    }
    assert_eq!(site.get("/assets/photos/").await.status, 404);
    assert_eq!(site.get("/assets/app.js/").await.status, 404);
}

#[tokio::test]
async fn nothing_outside_and_nothing_hidden_is_served() {
    let site = Site::new(|_| {});
    let root = site.folder.path();
    symlink("/etc/passwd", root.join("passwd")).unwrap();
    symlink("../../../../../../etc/passwd", root.join("relative")).unwrap();
    symlink("app.js", root.join("link.js")).unwrap();
    assert_eq!(site.get("/assets/link.js").await.brief(), (200, SCRIPT));
    for target in [
        "/assets/passwd",
        "/assets/relative",
        "/assets/.env",
        "/assets/%2eenv",
        "/assets/..%2f..%2fetc/passwd",
        "/assets/../etc/passwd",
        "/assets/none",
        "/other/app.js",
        "/assetsapp.js",
    ] {
        assert_eq!(site.get(target).await.status, 404, "{target}");
    }
    for target in ["/assets/../../etc/passwd", "/assets/%2e%2e/%2e%2e/etc/passwd", "/assets/a%00", "/assets/%"] {
        assert_eq!(site.get(target).await.status, 400, "{target}");
    }
    let site = Site::new(|settings| settings.dotfiles = true);
    assert_eq!(site.get("/assets/.env").await.brief(), (200, "secret"));
}

#[tokio::test]
async fn precompressed_files_go_to_those_who_accept_them() {
    let site = Site::new(|_| {});
    for (accepted, encoding, body) in [
        ("gzip, deflate, br, zstd", "br", "brotli"),
        ("gzip", "gzip", "gzip"),
        ("gzip;q=1, br;q=0.5", "gzip", "gzip"),
        ("zstd", "", SCRIPT),
        ("identity", "", SCRIPT),
        ("", "", SCRIPT),
    ] {
        for _ in 0..2 {
            let shown = site.ask("GET", "/assets/app.js", &[("accept-encoding", accepted)]).await;
            assert_eq!(shown.brief(), (200, body), "{accepted}");
            assert_eq!(shown.field("content-encoding"), encoding);
            assert_eq!(shown.field("content-type"), "text/javascript; charset=utf-8");
            assert_eq!(shown.field("vary"), "accept-encoding");
        }
    }
    let tag = |shown: Shown| shown.field("etag").to_owned();
    let plain = tag(site.get("/assets/app.js").await);
    let packed = tag(site.ask("GET", "/assets/app.js", &[("accept-encoding", "br")]).await);
    assert_ne!(plain, packed);
    // Older than its original.
    let shown = site.ask("GET", "/assets/old.css", &[("accept-encoding", "gzip")]).await;
    assert_eq!((shown.brief(), shown.field("content-encoding")), ((200, "plain"), ""));

    let site = Site::new(|settings| settings.precompressed = false);
    let shown = site.ask("GET", "/assets/app.js", &[("accept-encoding", "br")]).await;
    assert_eq!((shown.brief(), shown.field("vary")), ((200, SCRIPT), ""));
}

/// A text of some kilobytes.
fn text(line: &str) -> String {
    format!("{line}\n").repeat(500)
}

const GZIP: (&str, &str) = ("accept-encoding", "gzip");

#[tokio::test]
async fn what_lies_there_plain_is_compressed_on_the_fly() {
    let site = Site::new(|settings| settings.fallback = Some("page.html".into()));
    for name in ["a.css", "page.html", "b.png", "c.obj"] {
        write(site.folder.path(), name, text(name), 0);
    }
    let plain = site.get("/assets/a.css").await;
    assert_eq!((plain.brief(), plain.field("vary")), ((200, &text("a.css")[..]), "accept-encoding"));
    // The second time from memory.
    for _ in 0..2 {
        let shown = site.ask("GET", "/assets/a.css", &[GZIP]).await;
        assert_eq!((shown.brief(), shown.field("content-encoding")), ((200, &text("a.css")[..]), "gzip"));
        assert_eq!((shown.field("vary"), shown.field("accept-ranges")), ("accept-encoding", ""));
        assert_eq!(shown.field("etag"), format!("W/{}", plain.field("etag")));
        let head = site.ask("HEAD", "/assets/a.css", &[GZIP]).await;
        assert_eq!((head.fields, head.body), (shown.fields, String::new()));
    }
    let favourite = site.ask("GET", "/assets/a.css", &[("accept-encoding", "gzip, br, zstd")]).await;
    assert_eq!(favourite.field("content-encoding"), "br");
    let fallback = site.ask("GET", "/assets/some/page", &[GZIP]).await;
    assert_eq!((fallback.brief(), fallback.field("content-encoding")), ((200, &text("page.html")[..]), "gzip"));
    for (name, encoding) in [("b.png", ""), ("empty.txt", ""), ("app.js", "gzip"), ("old.css", "")] {
        let shown = site.ask("GET", &format!("/assets/{name}"), &[GZIP]).await;
        assert_eq!((shown.status, shown.field("content-encoding")), (200, encoding), "{name}");
    }
}

#[tokio::test]
async fn conditions_and_ranges_know_what_is_compressed_on_the_fly() {
    let site = Site::new(|_| {});
    write(site.folder.path(), "a.css", text("a"), 0);
    let weak = site.ask("GET", "/assets/a.css", &[GZIP]).await.field("etag").to_owned();
    let strong = weak.strip_prefix("W/").unwrap();
    for tag in [&weak, strong] {
        let shown = site.ask("GET", "/assets/a.css", &[GZIP, ("if-none-match", tag)]).await;
        assert_eq!((shown.status, shown.field("etag"), shown.field("vary")), (304, &weak[..], "accept-encoding"));
    }
    // Parts, and what is compared strongly, are the file's own bytes.
    let part = site.ask("GET", "/assets/a.css", &[GZIP, ("range", "bytes=2-3")]).await;
    assert_eq!((part.brief(), part.field("content-encoding"), part.field("etag")), ((206, "a\n"), "", strong));
    let whole = site.ask("GET", "/assets/a.css", &[GZIP, ("range", "bytes=0-"), ("if-range", &weak)]).await;
    assert_eq!((whole.status, whole.field("content-encoding")), (200, ""));
    for (tag, status) in [(strong, 200), (&weak, 412)] {
        assert_eq!(site.ask("GET", "/assets/a.css", &[GZIP, ("if-match", tag)]).await.status, status);
    }
}

#[tokio::test]
async fn what_may_not_be_compressed_or_would_not_stay_in_memory_is_left() {
    let encoding = async |site: &Site, len: usize| {
        write(site.folder.path(), "a.css", "x".repeat(len), 0);
        site.ask("GET", "/assets/a.css", &[GZIP]).await.field("content-encoding").to_owned()
    };
    let site = Site::new(|_| {});
    assert_eq!(encoding(&site, 999).await, "");
    let site = Site::new(|_| {});
    assert_eq!(encoding(&site, (1 << 18) + 1).await, "");
    // Larger than what is kept as it is.
    let site = Site::new(|_| {});
    assert_eq!(encoding(&site, 1 << 18).await, "gzip");
    let site = Site::new(|settings| settings.cache_control = Some("no-transform".into()));
    assert_eq!(encoding(&site, 5000).await, "");
    for (compression, response_fields) in [
        (config::Compression { enabled: false, ..compression() }, vec![]),
        (compression(), vec![("Cache-Control".to_owned(), "no-transform".to_owned())]),
        (compression(), vec![("content-type".to_owned(), "image/png".to_owned())]),
    ] {
        let mut site = Site::new(|_| {});
        site.root = site.store.root(&settings(site.folder.path()), &compression, &response_fields).unwrap();
        assert_eq!(encoding(&site, 5000).await, "", "{response_fields:?}");
    }
}

#[tokio::test]
async fn a_file_is_compressed_once_until_it_changes() {
    let mut site = Site::new(|_| {});
    let large = (0..20_000).map(|n| format!("{n}\n")).collect::<String>();
    write(site.folder.path(), "a.css", &large, 0);
    let fields: [(&[u8], &[u8]); 1] = [(b"accept-encoding", b"gzip")];
    let request = |now| Request { method: b"GET", path: b"/assets/a.css", query: None, fields: &fields, now };
    let bytes = |answer| match answer {
        Answer::Response(Response { body: Body::Bytes(bytes), .. }) => bytes,
        other => panic!("{other:?}"),
    };
    assert!(site.root.get_now(&request(site.now)).is_none(), "compressed on the front thread");
    // All at once: one compresses, the others get its bytes.
    let together = request(site.now);
    let (first, second, third) = tokio::join!(site.root.get(&together), site.root.get(&together), site.root.get(&together));
    let first = bytes(first);
    assert!(first.len() < large.len() / 2);
    for other in [second, third] {
        assert_eq!(bytes(other).as_ptr(), first.as_ptr());
    }
    site.now += Duration::from_secs(2);
    let unchanged = bytes(site.root.get_now(&request(site.now)).expect("a hit"));
    assert_eq!(unchanged.as_ptr(), first.as_ptr());
    write(site.folder.path(), "a.css", &large, 1);
    site.now += Duration::from_secs(2);
    assert!(site.root.get_now(&request(site.now)).is_none());
    assert_ne!(bytes(site.root.get(&request(site.now)).await).as_ptr(), first.as_ptr());
}

#[tokio::test]
async fn conditions_are_answered() {
    let site = Site::new(|_| {});
    let etag = site.get("/assets/app.js").await.field("etag").to_owned();
    let weak = format!("W/{etag}");
    for (fields, status) in [
        (vec![("If-None-Match", &etag[..])], 304),
        (vec![("if-none-match", &weak[..])], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-modified-since", MODIFIED)], 304),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-match", &etag[..])], 200),
        (vec![("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], 412),
        (vec![("range", "bytes=0-1"), ("if-range", &etag[..])], 206),
        (vec![("range", "bytes=0-1"), ("if-range", "\"other\"")], 200),
        (vec![("range", "bytes=0-1"), ("if-none-match", &etag[..])], 304),
    ] {
        let shown = site.ask("GET", "/assets/app.js", &fields).await;
        assert_eq!(shown.status, status, "{fields:?}");
        if status == 304 {
            assert_eq!(shown.body, "");
            assert_eq!(shown.field("etag"), etag);
            assert_eq!(shown.field("vary"), "accept-encoding");
        }
    }
}

/// The same ranges from memory and from a file.
#[tokio::test]
async fn ranges_are_cut() {
    for file_bytes_max in [64 * 1024, 0] {
        let cache = config::StaticCache { bytes_max: 1 << 20, file_bytes_max, revalidate: Duration::from_secs(1) };
        let site = Site::with_cache(&cache, |_| {});
        let ask = |range: &'static str| {
            let site = &site;
            async move { site.ask("GET", "/assets/app.js", &[("range", range)]).await }
        };
        let shown = ask("bytes=1-4").await;
        assert_eq!((shown.brief(), shown.field("content-range")), ((206, "onso"), "bytes 1-4/25"));
        let shown = ask("bytes=-3").await;
        assert_eq!((shown.brief(), shown.field("content-range")), ((206, "9')"), "bytes 22-24/25"));
        let shown = ask("bytes=25-").await;
        assert_eq!((shown.status, shown.field("content-range")), (416, "bytes */25"));
        assert_eq!(ask("bytes=0-,0-").await.brief(), (200, SCRIPT));
        assert_eq!(ask("lines=0-1").await.brief(), (200, SCRIPT));

        let shown = ask("bytes=0-1,-2").await;
        let kind = shown.field("content-type");
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
        let part = |range: &str, text: &str| {
            format!(
                "--{boundary}\r\ncontent-type: text/javascript; charset=utf-8\r\n\
                     content-range: bytes {range}/25\r\n\r\n{text}\r\n"
            )
        };
        assert_eq!(shown.status, 206);
        assert_eq!(shown.body, format!("{}{}--{boundary}--\r\n", part("0-1", "co"), part("23-24", "')")));
        assert_eq!(shown.fields.iter().filter(|(name, _)| name == "content-type").count(), 1);
        assert_eq!(site.ask("GET", "/assets/empty.txt", &[("range", "bytes=0-")]).await.status, 416);
    }
}

#[tokio::test]
async fn a_single_page_application_gets_its_page() {
    let site = Site::new(|settings| {
        settings.fallback = Some("index.html".into());
        settings.cache_control = Some("max-age=31536000, immutable".into());
    });
    for (target, accept, status) in [
        ("/assets/users/7", "*/*", 200),
        ("/assets/users/", "*/*", 200),
        ("/assets/john.doe", "text/html,*/*;q=0.8", 200),
        ("/assets/gone.js", "*/*", 404),
        ("/assets/gone.js", "text/html;q=0, */*", 404),
        ("/assets/.env", "text/html", 404),
    ] {
        for _ in 0..2 {
            let shown = site.ask("GET", target, &[("accept", accept)]).await;
            assert_eq!(shown.status, status, "{target} {accept}");
            if status == 200 {
                assert_eq!((&shown.body[..], shown.field("cache-control")), (PAGE, "no-cache"));
                assert_eq!(shown.field("content-type"), "text/html; charset=utf-8");
            }
        }
    }
    assert_eq!(site.get("/assets/").await.field("cache-control"), "max-age=31536000, immutable");
}

#[tokio::test]
async fn changes_are_seen_after_the_interval_and_not_before() {
    let mut site = Site::new(|_| {});
    let root = site.folder.path().to_owned();
    let before = site.get("/assets/app.js").await;
    write(&root, "app.js", "changed", 100);
    assert_eq!(site.get("/assets/app.js").await, before);
    site.now += Duration::from_secs(1);
    let after = site.get("/assets/app.js").await;
    assert_eq!(after.brief(), (200, "changed"));
    assert_ne!(after.field("etag"), before.field("etag"));
    std::fs::remove_file(root.join("app.js")).unwrap();
    site.now += Duration::from_secs(1);
    assert_eq!(site.get("/assets/app.js").await.status, 404);
    // A file that was missing is found at once.
    write(&root, "app.js", "again", 200);
    assert_eq!(site.get("/assets/app.js").await.brief(), (200, "again"));
}

#[tokio::test]
async fn a_hit_touches_no_file_and_an_unchanged_file_is_not_read_again() {
    let mut site = Site::new(|_| {});
    let request = |now| Request { method: b"GET", path: b"/assets/app.js", query: None, fields: &[], now };
    let bytes = |answer| match answer {
        Answer::Response(Response { body: Body::Bytes(bytes), .. }) => bytes,
        other => panic!("{other:?}"),
    };
    let first = bytes(site.root.get(&request(site.now)).await);
    let second = bytes(site.root.get_now(&request(site.now)).expect("a hit"));
    assert_eq!(first.as_ptr(), second.as_ptr());
    site.now += Duration::from_secs(2);
    let third = bytes(site.root.get(&request(site.now)).await);
    assert_eq!(first.as_ptr(), third.as_ptr());
}

#[tokio::test]
async fn a_deployment_that_switches_the_root_is_noticed() {
    let outer = tempfile::tempdir().unwrap();
    for version in ["v1", "v2"] {
        write(outer.path(), &format!("{version}/a.txt"), version, 0);
    }
    let current = outer.path().join("current");
    symlink("v1", &current).unwrap();
    let mut site = Site::new(|settings| settings.root = current.clone());
    assert_eq!(site.get("/assets/a.txt").await.brief(), (200, "v1"));
    std::fs::remove_file(&current).unwrap();
    symlink("v2", &current).unwrap();
    site.now += Duration::from_secs(1);
    assert_eq!(site.get("/assets/a.txt").await.brief(), (200, "v2"));
}

#[tokio::test]
async fn roots_share_memory_without_mixing_files_and_leave_none_behind() {
    let site = Site::new(|_| {});
    let other = tempfile::tempdir().unwrap();
    write(other.path(), "app.js", "other", 0);
    let second = site.store.root(&settings(other.path()), &compression(), &[]).unwrap();
    let shown = site.get("/assets/app.js").await;
    let request = Request { method: b"GET", path: b"/assets/app.js", query: None, fields: &[], now: site.now };
    let Answer::Response(response) = second.get(&request).await else { panic!() };
    assert!(matches!(&response.body, Body::Bytes(bytes) if *bytes == "other"));
    assert_eq!(site.get("/assets/app.js").await, shown);
    drop(second);
    let Site { store, root, .. } = site;
    drop(root);
    assert_eq!(format!("{:?}", store.cache.borrow()), format!("{:?}", Cache::new(1 << 20)));
}

#[test]
fn a_root_that_cannot_be_served_says_so() {
    let store = Store::new(&config::StaticCache { bytes_max: 0, file_bytes_max: 0, revalidate: Duration::from_secs(1) });
    let root = |settings: &config::Static| store.root(settings, &compression(), &[]);
    let error = root(&settings(Path::new("/nonexistent/public"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/public"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let mut bad = settings(folder.path());
    bad.cache_control = Some("a\r\nb: c".into());
    assert!(root(&bad).unwrap_err().to_string().contains("cache_control"));
}
