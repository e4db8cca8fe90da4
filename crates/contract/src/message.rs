//! The payloads of a call link's frames that hold values.

use crate::encode;
use crate::value::{Text, Value};

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// In a file; its absolute path.
    File(String),
    /// In a module, by the name under which the language imports it.
    Module(String),
}

/// BIND: gives the attribute `name` (dotted) of a file or module a number.
pub fn bind(number: u32, target: &Target, name: &str) -> Vec<u8> {
    let (key, place) = match target {
        Target::File(path) => ("file", path),
        Target::Module(module) => ("module", module),
    };
    let map = Value::Object(vec![(key.into(), place.as_str().into()), ("name".into(), name.into())]);
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend(encode(&map));
    payload
}

/// CALL of what has this number. With keyword arguments the frame has the flag KWARGS.
pub fn call(target: u32, timeout_ms: u32, args: Vec<Value>, kwargs: Option<Vec<(Text, Value)>>) -> Vec<u8> {
    let mut payload = target.to_le_bytes().to_vec();
    payload.extend(timeout_ms.to_le_bytes());
    // The name of a member, which a call of a bound function does not have.
    payload.extend(0_u16.to_le_bytes());
    payload.extend(encode(&Value::Array(args)));
    if let Some(kwargs) = kwargs {
        payload.extend(encode(&Value::Object(kwargs)));
    }
    payload
}
