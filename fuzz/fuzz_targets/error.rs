//! Errors: whatever the server says is kept whole, and its parts put together are what it said.
#![no_main]

use bayeux_proto::BayeuxError;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let error = BayeuxError::parse(raw);
    assert_eq!(error.as_str(), raw);
    match error.code() {
        None => assert_eq!((error.text(), error.args().count()), (raw, 0)),
        Some(code) => {
            let rest = raw.strip_prefix(&format!("{code:03}:")).expect("the code stands first");
            let before = rest.strip_suffix(error.text()).expect("the text stands last");
            let args: Vec<&str> =
                before.strip_suffix(':').unwrap_or(before).split(',').filter(|arg| !arg.is_empty()).collect();
            assert_eq!(error.args().collect::<Vec<_>>(), args);
            assert!(before.is_empty() || before.ends_with(':'), "nothing between the arguments and the text");
            let again = BayeuxError::new(code, &args.join(","), error.text());
            assert_eq!(again.code(), Some(code));
            assert_eq!(again.text(), error.text());
            assert_eq!(again.args().collect::<Vec<_>>(), args);
        }
    }
});
