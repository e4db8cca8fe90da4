//! What people see of values.

use contract::{Element, Moment, Reference, Tensor, Text, Value, from_json, to_json};

fn check(value: Value, json: &str) {
    assert_eq!(to_json(&value), json);
}

#[test]
fn numbers_keep_every_digit() {
    check(Value::Integer(1 << 60), "1152921504606846976");
    check(Value::Float(3.0), "3.0");
    check(Value::Float(0.1), "0.1");
    check(Value::Float(1e300), "1e300");
    check(Value::Float(f64::NEG_INFINITY), r#"{"$float":"-Infinity"}"#);
    let magnitude = vec![1, 0, 0, 0, 0, 0, 0, 0, 0];
    check(Value::BigInteger { negative: false, magnitude: magnitude.clone() }, "18446744073709551616");
    check(Value::BigInteger { negative: true, magnitude }, "-18446744073709551617");
    check(Value::BigInteger { negative: true, magnitude: vec![0xff; 8] }, "-18446744073709551616");
}

#[test]
fn arrays_of_numbers_are_lists() {
    check(Value::Numbers(Element::F32, [0.1_f32, 2.0].iter().flat_map(|n| n.to_le_bytes()).collect()), "[0.1,2.0]");
    check(Value::Numbers(Element::I16, vec![0xff, 0xff, 1, 0]), "[-1,1]");
    let matrix = |dtype: &str, shape: &[u64], data: &[u8]| {
        Value::Tensor(Tensor { dtype: dtype.to_owned(), shape: shape.to_vec(), data: data.to_vec() })
    };
    check(matrix("|u1", &[2, 3], &[1, 2, 3, 4, 5, 6]), "[[1,2,3],[4,5,6]]");
    check(matrix(">i2", &[2], &[0, 1, 255, 255]), "[1,-1]");
    check(matrix("|b1", &[2], &[1, 0]), "[true,false]");
    check(matrix("<i4", &[], &[7, 0, 0, 0]), "7");
    check(matrix("<f8", &[0, 4], &[]), r#"{"$array":{"dtype":"<f8","shape":[0,4],"data":""}}"#);
    check(matrix("|S1", &[1], b"a"), r#"{"$array":{"dtype":"|S1","shape":[1],"data":"YQ=="}}"#);
}

#[test]
fn what_json_cannot_say_has_a_form() {
    check(Value::Bytes(b"\x00\xff".to_vec()), r#"{"$bytes":"AP8="}"#);
    let moment = |seconds, microseconds, zone: &str| Value::Moment(Moment { seconds, microseconds, zone: zone.to_owned() });
    check(moment(1_714_979_289, 0, "Europe/Berlin"), r#"{"$moment":"2024-05-06T07:08:09Z[Europe/Berlin]"}"#);
    check(moment(-2, 500_000, "UTC"), r#"{"$moment":"1969-12-31T23:59:58.5Z"}"#);
    check(Value::Map(vec![(Value::Integer(1), Value::Null)]), r#"{"$map":[[1,null]]}"#);
    check(Value::Object(vec![("$date".into(), Value::Null)]), r#"{"$map":[["$date",null]]}"#);
    let name = "Model".to_owned();
    check(Value::Reference(Reference { handle: 1, kind: "object".to_owned(), name }), r#"{"$object":"Model"}"#);
    let lone = Text::from_wtf8(b"a\"\xed\xa0\x80".to_vec()).unwrap();
    check(Value::Text(lone), r#""a\"\ud800""#);
    let uuid = from_json(r#"{"$uuid":"00010203-0405-0607-0809-0a0b0c0d0e0f"}"#).unwrap();
    check(uuid, r#"{"$uuid":"00010203-0405-0607-0809-0a0b0c0d0e0f"}"#);
}

#[test]
fn objects_keep_their_order() {
    check(from_json(r#"{"z": 1, "a": {"$set": [2]}}"#).unwrap(), r#"{"z":1,"a":{"$set":[2]}}"#);
}

#[test]
fn what_is_no_json_is_said() {
    for (text, why) in [
        ("hello", "expected value at line 1 column 1"),
        (r#"[{"$date": "2024-02-30"}]"#, r#"{"$date": "2024-02-30"} is none of the forms"#),
        (r#"{"$nothing": 1}"#, "is none of the forms"),
        (r#"{"$uuid": "éééééééééééééééé"}"#, "is none of the forms"),
    ] {
        let error = from_json(text).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
