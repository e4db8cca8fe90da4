//! Who failed, how, and what client and log are told about it.
//!
//! A fault never decides what happens next: the front reads [`Retry`] and acts. Every code stands in
//! `docs/errors.md`; a test keeps the two in step.

use std::borrow::Cow;
use std::fmt;

use wire::ResetCode;

/// Who failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The request was wrong, or the client went away.
    Client,
    /// The application or its process.
    Worker,
    /// Bireme itself, or a limit it was given.
    Front,
}

impl Side {
    /// `client`, `worker` or `front`, as logs and the documentation write it.
    pub fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Worker => "worker",
            Side::Front => "front",
        }
    }
}

/// Whether the request may be sent to another worker after this fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Never: the answer would be the same, or the work may have been done.
    Never,
    /// When the method is idempotent (RFC 9110 §9.2.2) and no byte of the response has been sent.
    IfIdempotent,
    /// Any method: the application has not begun.
    IfUnsent,
}

impl Retry {
    /// How the documentation writes it.
    pub fn name(self) -> &'static str {
        match self {
            Retry::Never => "never",
            Retry::IfIdempotent => "if idempotent",
            Retry::IfUnsent => "yes",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $code:literal $side:ident $status:literal $retry:ident $message:literal;)+) => {
        /// A kind of fault. Its text is stable: people search for it and alert on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $message] $variant,)+
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)+ }
            }

            /// Who failed.
            pub const fn side(self) -> Side {
                match self { $(Code::$variant => Side::$side,)+ }
            }

            /// Status of the answer. 499 is never sent: it marks, in the access log, a client that left.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)+ }
            }

            /// Whether another worker may be tried.
            pub const fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)+ }
            }

            /// What the client reads: nothing about the inside of the server.
            pub const fn client_message(self) -> &'static str {
                match self { $(Code::$variant => $message,)+ }
            }
        }
    };
}

codes! {
    RequestMalformed "request_malformed" Client 400 Never "The request is not valid HTTP.";
    HostInvalid "host_invalid" Client 400 Never "The request needs exactly one valid Host field.";
    TargetInvalid "target_invalid" Client 400 Never "The request target is not a valid path.";
    BodyMalformed "body_malformed" Client 400 Never "The request body is not framed as announced.";
    BodyIncomplete "body_incomplete" Client 400 Never "The request body ended early.";
    Forbidden "forbidden" Client 403 Never "Access to this resource is not allowed.";
    NotFound "not_found" Client 404 Never "There is nothing at this address.";
    MethodNotAllowed "method_not_allowed" Client 405 Never "This address does not take this method; Allow lists those it takes.";
    HeaderTimeout "header_timeout" Client 408 Never "The request header did not arrive in time.";
    BodyTimeout "body_timeout" Client 408 Never "The request body did not arrive in time.";
    LengthRequired "length_required" Client 411 Never "The request needs a Content-Length.";
    PreconditionFailed "precondition_failed" Client 412 Never "The resource is not in the state that the request requires.";
    BodyTooLarge "body_too_large" Client 413 Never "The request body is larger than this server accepts.";
    TargetTooLong "target_too_long" Client 414 Never "The request target is longer than this server accepts.";
    RangeUnsatisfiable "range_unsatisfiable" Client 416 Never "None of the requested ranges lies within the resource.";
    ExpectationFailed "expectation_failed" Client 417 Never "This server cannot meet the request's Expect field.";
    Misdirected "misdirected" Client 421 Never "This server does not answer for this host.";
    UpgradeRequired "upgrade_required" Client 426 Never "This address needs a protocol upgrade; Upgrade names it.";
    TooManyRequests "too_many_requests" Client 429 Never "Too many requests; try again later.";
    HeaderTooLarge "header_too_large" Client 431 Never "The request header is larger than this server accepts.";
    ClientClosed "client_closed" Client 499 Never "The client closed the connection before the response was complete.";
    ClientStalled "client_stalled" Client 499 Never "The client stopped reading the response.";
    NotImplemented "not_implemented" Client 501 Never "This server does not implement what the request asks for.";
    VersionNotSupported "version_not_supported" Client 505 Never "This server speaks HTTP/1.0, HTTP/1.1 and HTTP/2.";
    AppFailed "app_failed" Worker 500 Never "The application failed to answer this request.";
    AppBrokeHttp "app_broke_http" Worker 500 Never "The application's answer is not valid HTTP.";
    WorkerDied "worker_died" Worker 502 IfIdempotent "The application stopped while it answered this request.";
    WorkerBrokeProtocol "worker_broke_protocol" Worker 502 IfIdempotent "The application stopped while it answered this request.";
    WorkerRefused "worker_refused" Worker 503 IfUnsent "The application cannot take this request now; try again later.";
    ResponseTimeout "response_timeout" Worker 504 Never "The application did not answer in time.";
    ResponseStalled "response_stalled" Worker 504 Never "The application stopped sending its answer.";
    ServiceFailing "service_failing" Front 503 Never "The service is unavailable; try again later.";
    QueueFull "queue_full" Front 503 Never "The service is overloaded; try again later.";
    QueueTimeout "queue_timeout" Front 503 Never "The service is overloaded; try again later.";
    ConnectionsFull "connections_full" Front 503 Never "The server has too many connections; try again later.";
    Draining "draining" Front 503 Never "The server is shutting down; try again.";
    Internal "internal" Front 500 Never "The server failed to answer this request.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a worker's RESET means for its request.
impl From<ResetCode> for Code {
    fn from(code: ResetCode) -> Code {
        match code {
            ResetCode::Protocol => Code::AppBrokeHttp,
            ResetCode::TooLarge => Code::BodyTooLarge,
            ResetCode::Deadline => Code::ResponseTimeout,
            ResetCode::Refused => Code::WorkerRefused,
            ResetCode::Internal | ResetCode::NoError | ResetCode::Cancelled => Code::AppFailed,
        }
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind it is; says who failed, with which status, and whether to retry.
    pub code: Code,
    /// What the log reads: names of workers, limits, causes. Empty when the code says it all.
    pub log: Cow<'static, str>,
}

impl Fault {
    /// A fault with what the log should know.
    pub fn new(code: Code, log: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code, log: log.into() }
    }

    /// Who failed.
    pub fn side(&self) -> Side {
        self.code.side()
    }

    /// Status of the answer.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// What the client may read.
    pub fn client_message(&self) -> &'static str {
        self.code.client_message()
    }

    /// The answer's content type and body, in the form that the client accepts.
    pub fn page(&self, accept: Option<&[u8]>, request_id: &str) -> (&'static str, Vec<u8>) {
        self.page_saying(self.client_message(), accept, request_id)
    }

    /// The same with what the log says: for whoever develops the application, and for nobody else.
    pub fn page_in_full(&self, accept: Option<&[u8]>, request_id: &str) -> (&'static str, Vec<u8>) {
        self.page_saying(&format!("{}\n{}", self.client_message(), self.log), accept, request_id)
    }

    fn page_saying(&self, detail: &str, accept: Option<&[u8]>, request_id: &str) -> (&'static str, Vec<u8>) {
        crate::problem::page_with_code(self.status(), Some(self.code.as_str()), accept, request_id, detail)
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Fault {
        Fault { code, log: Cow::Borrowed("") }
    }
}

/// The log's line: who, which code, what.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault {}", self.side().name(), self.code)?;
        if !self.log.is_empty() {
            write!(f, ": {}", self.log)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_code_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let text = std::fs::read_to_string(path).expect("docs/errors.md");
        let documented: Vec<[&str; 5]> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| {
                let mut cells = line.trim_matches('|').split('|').map(str::trim);
                std::array::from_fn(|_| cells.next().unwrap_or(""))
            })
            .collect();
        let codes: Vec<[String; 5]> = Code::ALL
            .iter()
            .map(|code| {
                [
                    format!("`{code}`"),
                    code.side().name().to_owned(),
                    code.status().to_string(),
                    code.retry().name().to_owned(),
                    code.client_message().to_owned(),
                ]
            })
            .collect();
        assert_eq!(documented.len(), codes.len(), "docs/errors.md lists more or fewer codes than there are");
        for (row, code) in documented.iter().zip(&codes) {
            assert_eq!(row.as_slice(), code.as_slice());
        }
    }

    #[test]
    fn codes_are_unique_and_have_a_page() {
        let mut texts: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        for &code in Code::ALL.iter().filter(|code| code.status() != 499) {
            assert_ne!(crate::problem::reason(code.status()), "", "{code} has no standard phrase");
            let (kind, body) = Fault::from(code).page(None, "id");
            assert_eq!(kind, "application/problem+json");
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["status"], code.status());
        }
    }

    #[test]
    fn the_log_reads_who_and_what() {
        let fault = Fault::new(Code::WorkerDied, "ml#2 exited with signal 9 during GET /pay");
        assert_eq!(fault.to_string(), "worker fault worker_died: ml#2 exited with signal 9 during GET /pay");
        assert!(!fault.client_message().contains("ml#2"));
    }
}
