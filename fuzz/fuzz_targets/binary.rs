//! Binary payloads: all bytes go there and back, and a text is either no Z85 or the bytes that it says.
#![no_main]

use std::collections::HashMap;

use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, Data, Message};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    let message = written(&Binary::new(bytes.to_vec()));
    assert_eq!(Binary::read(&message), Some(Ok(Binary::new(bytes.to_vec()))));

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As the text of the bytes, and as the whole payload.
    let data = [Data::encode(&json!({ "data": text })).ok(), Data::from_json(text).ok()];
    for data in data.into_iter().flatten() {
        let mut message = Message::new(Channel::from_wire("/files")).with_data(data.clone());
        message.set_ext_value("binary", json!({}));
        match Binary::read(&message).expect("it is marked") {
            Ok(binary) => {
                let again = written(&binary);
                assert_eq!(Binary::read(&again), Some(Ok(binary)), "{text:?}");
                assert_eq!(text_of(&again).len(), text_of(&message).len(), "{text:?}");
            }
            Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
        }
    }
});

fn written(binary: &Binary) -> Message {
    let mut message = Message::new(Channel::from_wire("/files"));
    binary.write(&mut message).expect("bytes can be written");
    message
}

/// The text alone: what stands beside it need not make sense.
fn text_of(message: &Message) -> String {
    let payload: HashMap<String, &RawValue> =
        serde_json::from_str(message.data().as_str()).expect("it was read before");
    serde_json::from_str(payload["data"].get()).expect("it was read before")
}
