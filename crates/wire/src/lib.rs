//! The frames that the front and its workers exchange over a link, and nothing else.
//!
//! `wire` never opens a socket, reads a clock or allocates for what it decodes: a decoded frame borrows
//! the bytes it was given. It knows no HTTP rules beyond the shape of a field list. The format is
//! specified in `protocol/README.md`; `protocol/golden/` holds frames that every language must agree on.

mod decode;
mod encode;
mod topic;

pub use decode::{FieldList, Frame, RequestHead, ResponseHead, credit, decode_frame, field_list, take_over_texts};
pub use encode::{
    RequestParts, TAKE_OVER_BODY_MAX, mark_taken_over, put_credit, put_field_list, put_file_response, put_frame, put_header,
    put_request, put_reset, put_response, request_len, set_stream,
};
pub use topic::{
    FLAG_JOINED, FLAG_PRESENCE, MEMBER_NAME_MAX, PUBLISH_CREDIT, TOPIC_MAX, put_answer_entry, put_presence, put_topic, topic,
    topic_link,
};

/// The version that HELLO carries in `aux`.
pub const PROTOCOL_VERSION: u16 = 1;
/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 12;
/// Largest payload of one frame, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 20;
/// Body bytes that each side may send on a new stream before it is granted more.
pub const INITIAL_CREDIT: u32 = 256 * 1024;
/// Longest text of a RESET, in bytes.
pub const RESET_TEXT_MAX: usize = 65_536;

/// The sender's half of the stream ends with this frame.
pub const FLAG_END: u8 = 0x01;
/// On REQUEST: the client asks for a protocol upgrade.
pub const FLAG_UPGRADE: u8 = 0x02;

/// On REQUEST, beside [`FLAG_UPGRADE`]: the client asks for a WebSocket, and its handshake is sound.
pub const FLAG_WEBSOCKET: u8 = 0x04;
/// On REQUEST, beside [`FLAG_WEBSOCKET`]: the WebSocket is open, and its worker is gone.
pub const FLAG_TAKE_OVER: u8 = 0x08;
/// On RESPONSE, beside [`FLAG_END`]: the body is the content of the file whose path follows the head.
pub const FLAG_FILE: u8 = 0x02;
/// Longest path of a RESPONSE with [`FLAG_FILE`], in bytes; the kernel's own limit.
pub const FILE_PATH_MAX: usize = 4095;
/// On WS_MESSAGE: the message is text.
pub const FLAG_TEXT: u8 = 0x02;
/// On RESULT: items follow.
pub const FLAG_STREAM: u8 = 0x02;
/// On ITEM, without [`FLAG_END`]: one item that is longer than a frame; DATA follows.
pub const FLAG_PART: u8 = 0x02;
/// On CALL: keyword arguments follow the arguments.
pub const FLAG_KWARGS: u8 = 0x02;
/// On CALL: the target is a handle that the receiver gave, not a BIND's number.
pub const FLAG_HANDLE: u8 = 0x04;
/// On CALL: the value itself is wanted; nothing is called.
pub const FLAG_GET: u8 = 0x08;
/// On CALL: it may be made again elsewhere when it is lost.
pub const FLAG_IDEMPOTENT: u8 = 0x10;
/// On CALL: construct an object, and keep it.
pub const FLAG_NEW: u8 = 0x20;
/// Of MARK: calls may be made twice.
pub const MARK_IDEMPOTENT: u32 = 1;
/// What a WS_MESSAGE uses of its stream's credit beside the bytes of its payload.
pub const MESSAGE_COST: u32 = 64;
/// Longest reason of a WS_CLOSE, in bytes.
pub const CLOSE_REASON_MAX: usize = 123;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First frame of a link.
    Hello = 0x01,
    /// The application is loaded and can serve.
    Ready = 0x02,
    /// The application could not be loaded.
    Failed = 0x03,
    /// Shut the application down and exit.
    Drain = 0x04,
    /// Are you alive?
    Ping = 0x05,
    /// Yes.
    Pong = 0x06,
    /// Opens a stream.
    Request = 0x10,
    /// The response's head and first body bytes.
    Response = 0x11,
    /// Body bytes.
    Data = 0x12,
    /// Trailer fields; ends the sender's half.
    Trailers = 0x13,
    /// Ends the stream at once.
    Reset = 0x14,
    /// Grants body bytes.
    Credit = 0x15,
    /// A 1xx response.
    Informational = 0x16,
    /// The upgrade is accepted; raw bytes from here.
    Tunnel = 0x17,
    /// The WebSocket is accepted; messages from here.
    WsAccept = 0x20,
    /// A message, or a piece of one.
    WsMessage = 0x21,
    /// Ends a WebSocket.
    WsClose = 0x22,
    /// Where does this file or module run?
    Resolve = 0x30,
    /// There.
    Resolved = 0x31,
    /// The ready workers of a service have changed.
    Peers = 0x32,
    /// Gives a function or class a number.
    Bind = 0x33,
    /// Calls it.
    Call = 0x34,
    /// What it returned.
    Result = 0x35,
    /// What it raised.
    Error = 0x36,
    /// Items of a call's stream.
    Item = 0x37,
    /// The caller wants no answer any more.
    Cancel = 0x38,
    /// The call waits.
    Queued = 0x39,
    /// It has begun.
    Started = 0x3a,
    /// A handle is not needed any more.
    Release = 0x3b,
    /// Whether the sender can open the receiver's shared memory, and where its own is.
    Memory = 0x3c,
    /// Leases of shared memory that are over.
    Return = 0x3d,
    /// Segments of shared memory that are no more.
    Forget = 0x3e,
    /// What is said of a function that has been bound: `u32` number, `u32` bits ([`MARK_IDEMPOTENT`]).
    Mark = 0x3f,
    /// A socket, or the worker, wants a topic's messages.
    Subscribe = 0x40,
    /// And wants them no more.
    Unsubscribe = 0x41,
    /// A message for a topic.
    Publish = 0x42,
    /// A topic's message for a worker.
    Message = 0x43,
    /// A socket has joined or left a topic.
    Presence = 0x44,
    /// Which topics are there?
    Query = 0x45,
    /// These.
    Answer = 0x46,
}

impl Kind {
    /// The kind with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            0x01 => Kind::Hello,
            0x02 => Kind::Ready,
            0x03 => Kind::Failed,
            0x04 => Kind::Drain,
            0x05 => Kind::Ping,
            0x06 => Kind::Pong,
            0x10 => Kind::Request,
            0x11 => Kind::Response,
            0x12 => Kind::Data,
            0x13 => Kind::Trailers,
            0x14 => Kind::Reset,
            0x15 => Kind::Credit,
            0x16 => Kind::Informational,
            0x17 => Kind::Tunnel,
            0x20 => Kind::WsAccept,
            0x21 => Kind::WsMessage,
            0x22 => Kind::WsClose,
            0x30 => Kind::Resolve,
            0x31 => Kind::Resolved,
            0x32 => Kind::Peers,
            0x33 => Kind::Bind,
            0x34 => Kind::Call,
            0x35 => Kind::Result,
            0x36 => Kind::Error,
            0x37 => Kind::Item,
            0x38 => Kind::Cancel,
            0x39 => Kind::Queued,
            0x3a => Kind::Started,
            0x3b => Kind::Release,
            0x3c => Kind::Memory,
            0x3d => Kind::Return,
            0x3e => Kind::Forget,
            0x3f => Kind::Mark,
            0x40 => Kind::Subscribe,
            0x41 => Kind::Unsubscribe,
            0x42 => Kind::Publish,
            0x43 => Kind::Message,
            0x44 => Kind::Presence,
            0x45 => Kind::Query,
            0x46 => Kind::Answer,
            _ => return None,
        })
    }
}

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ResetCode {
    /// The rest of the body is not wanted.
    NoError = 0,
    /// The client went away.
    Cancelled = 1,
    /// The application raised.
    Internal = 2,
    /// A deadline passed.
    Deadline = 3,
    /// Not started; safe to send elsewhere.
    Refused = 4,
    /// The application broke its contract.
    Protocol = 5,
    /// The request body passed a limit.
    TooLarge = 6,
}

impl ResetCode {
    /// The code with this number; unknown numbers read as [`ResetCode::Internal`], so that an older
    /// front survives a newer worker.
    pub fn from_code(code: u16) -> ResetCode {
        match code {
            0 => ResetCode::NoError,
            1 => ResetCode::Cancelled,
            3 => ResetCode::Deadline,
            4 => ResetCode::Refused,
            5 => ResetCode::Protocol,
            6 => ResetCode::TooLarge,
            _ => ResetCode::Internal,
        }
    }
}

/// What is wrong with the bytes, or with what was to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A length above [`PAYLOAD_MAX`].
    PayloadTooLong(u32),
    /// No frame has this type.
    UnknownKind(u8),
    /// The payload ends before what it announces.
    Truncated(Kind),
    /// A value outside what the protocol allows.
    Invalid(Kind, &'static str),
    /// A string longer than its length field can say, in the named part.
    StringTooLong(&'static str),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::PayloadTooLong(n) => write!(f, "frame of {n} bytes; at most {PAYLOAD_MAX} are allowed"),
            WireError::UnknownKind(k) => write!(f, "unknown frame type 0x{k:02x}"),
            WireError::Truncated(kind) => write!(f, "{kind:?} frame ends before what it announces"),
            WireError::Invalid(kind, what) => write!(f, "{kind:?} frame: {what}"),
            WireError::StringTooLong(what) => write!(f, "{what} is longer than 65,535 bytes"),
        }
    }
}

impl std::error::Error for WireError {}
