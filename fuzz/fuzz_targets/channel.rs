//! Names: a channel that parses is normal and matches itself, and patterns match as a naive model says.
#![no_main]

use bayeux_proto::{Channel, ChannelKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|names: &str| {
    let mut names = names.splitn(2, '\n');
    let (one, other) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    for name in [one, other] {
        check(name);
    }
    let (Ok(pattern), Ok(name)) = (Channel::parse_standard(one), Channel::parse_standard(other)) else { return };
    assert_eq!(pattern.matches(&name), naive(pattern.as_str(), name.as_str()), "{pattern} and {name}");
    let named = name.matching_names().any(|listed| pattern == &*listed);
    assert_eq!(pattern.matches(&name), named, "{pattern} among the names of {name}");
});

fn check(name: &str) {
    let known = Channel::from_wire(name);
    assert_eq!(Channel::from_wire(known.as_str()), known, "what is normal stays as it is");
    match Channel::parse_standard(name) {
        Ok(channel) => {
            assert_eq!(channel, known, "checked or not, it is the same channel");
            assert_eq!(
                Channel::parse_standard(channel.as_str()).as_ref(),
                Ok(&channel),
                "what is normal stays as it is"
            );
            assert!(
                channel.as_str().starts_with('/') && !channel.as_str().ends_with(['/', ' ']),
                "{channel}"
            );
            assert!(channel.matches(&channel), "{channel} is itself");
            assert_eq!(channel.matching_names().next().as_deref(), Some(channel.as_str()));
            let kinds = [channel.is_meta(), channel.is_service(), channel.is_broadcast()];
            assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{channel} is of one kind");
            assert_eq!(channel.kind() == ChannelKind::Meta, channel.as_str().starts_with("/meta/"));
            if !channel.is_wild() {
                assert!(Channel::parse_standard("/**").is_ok_and(|all| all.matches(&channel)), "{channel}");
            }
        }
        Err(error) => assert!(error.to_string().len() < 2000, "an error text is bounded"),
    }
}

/// The rule, segment by segment.
fn naive(pattern: &str, name: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    let is_wild = |segments: &[&str]| matches!(segments.last(), Some(&"*" | &"**"));
    let parents = &pattern[..pattern.len() - 1];
    match pattern.last() {
        _ if pattern == name => true,
        _ if is_wild(&name) => false,
        Some(&"*") => name.len() == pattern.len() && name.starts_with(parents),
        Some(&"**") => name.len() >= pattern.len() && name.starts_with(parents),
        _ => false,
    }
}
