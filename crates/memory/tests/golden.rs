//! The frames of `protocol/golden/calls.json` that are about leases and segments.

use memory::{Limits, LinkMemory, Pool, Violation};
use serde_json::Value;

fn golden(kind: &str) -> (Value, Vec<u8>) {
    let golden: Value = serde_json::from_str(include_str!("../../../protocol/golden/calls.json")).unwrap();
    let entry = golden["frames"].as_array().unwrap().iter().find(|entry| entry["kind"] == kind).unwrap().clone();
    let hex = entry["hex"].as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    (entry, bytes[12..].to_vec())
}

#[test]
fn leases_are_numbered_and_returned_as_in_the_golden_frame() {
    let (entry, payload) = golden("RETURN");
    let pool = Pool::new(Limits::for_bytes(1 << 20));
    let lender = LinkMemory::new(pool.clone(), || {});
    let reader = LinkMemory::new(Pool::new(Limits::for_bytes(1 << 20)), || {});
    let block = pool.copy(&[7; 70_000]).unwrap();
    let lend = |_| lender.lend(&block, 0, 70_000, false).unwrap();
    let references: Vec<_> = (0..3).map(lend).collect();
    let leases: Vec<u32> = references.iter().map(|reference| reference.lease).collect();
    assert_eq!(serde_json::json!(leases), entry["leases"]);
    let views: Vec<_> = references.into_iter().map(|reference| reader.borrow(reference).unwrap()).collect();
    views.into_iter().for_each(drop);
    assert_eq!(reader.returns(), Some(payload.clone()));
    lender.on_return(&payload).unwrap();
    assert_eq!(lender.lent_count(), 0);
    assert!(lender.on_return(&payload).is_err(), "returned twice");
}

#[test]
fn the_golden_forget_is_understood() {
    let (entry, payload) = golden("FORGET");
    let reader = LinkMemory::new(Pool::new(Limits::for_bytes(1 << 20)), || {});
    assert_eq!(payload.len(), 8 * entry["segments"].as_array().unwrap().len());
    assert_eq!(reader.on_forget(&payload), Ok(()));
    assert!(matches!(reader.on_forget(&payload[1..]), Err(Violation(_))));
}
