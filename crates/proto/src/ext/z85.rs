//! Z85, ZeroMQ's way to write four bytes as five characters, stretched to any length as CometD does.

use bytes::Bytes;

/// ZeroMQ RFC 32: no quotes and no backslash among them, so that JSON strings need no escapes.
const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The digit of each character; 255 for those that are none.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut digit = 0;
    while digit < 85 {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// Writes bytes; one to three that are left over at the end become one character more than they are.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 4 * 5 + 4);
    for group in bytes.chunks(4) {
        let mut padded = [0; 4];
        padded[..group.len()].copy_from_slice(group);
        let mut number = u32::from_be_bytes(padded);
        let mut characters = [0; 5];
        for character in characters.iter_mut().rev() {
            *character = ALPHABET[(number % 85) as usize];
            number /= 85;
        }
        text.extend(characters[..=group.len()].iter().map(|character| char::from(*character)));
    }
    text
}

/// Why a text is no Z85; the byte offset where it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// A character of no value.
    Character(usize),
    /// Five characters that are more than four bytes.
    Overflow(usize),
    /// A single character at the end, which is less than a byte.
    Length,
}

pub(super) fn decode(text: &str) -> Result<Bytes, Invalid> {
    let text = text.as_bytes();
    if text.len() % 5 == 1 {
        return Err(Invalid::Length);
    }
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4 + 3);
    for (index, group) in text.chunks(5).enumerate() {
        let mut number: u64 = 0;
        for place in 0..5 {
            // Absent characters count as the highest, so that the bytes that are kept come out whole.
            let digit = match group.get(place) {
                Some(character) => DIGITS[usize::from(*character)],
                None => 84,
            };
            if digit == 255 {
                return Err(Invalid::Character(index * 5 + place));
            }
            number = number * 85 + u64::from(digit);
        }
        let number = u32::try_from(number).map_err(|_| Invalid::Overflow(index * 5))?;
        bytes.extend_from_slice(&number.to_be_bytes()[..group.len() - 1]);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_63_the_vector_of_the_rfc() {
        let bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        assert_eq!(encode(&bytes), "HelloWorld");
        assert_eq!(decode("HelloWorld").unwrap(), &bytes[..]);
    }

    #[test]
    fn case_63_any_length_goes_there_and_back() {
        for fill in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            for length in 0..10 {
                let bytes = vec![fill; length];
                let text = encode(&bytes);
                let left_over = length % 4;
                assert_eq!(text.len(), length / 4 * 5 + if left_over > 0 { left_over + 1 } else { 0 });
                assert_eq!(decode(&text).unwrap(), bytes);
            }
        }
        assert_eq!(encode(&[1, 2, 3]).len(), 4);
    }

    #[test]
    fn case_63_what_is_no_z85_is_an_error() {
        assert_eq!(decode("Hello\"orld"), Err(Invalid::Character(5)));
        assert_eq!(decode("Helloé"), Err(Invalid::Character(5)));
        assert_eq!(decode("ab c"), Err(Invalid::Character(2)));
        assert_eq!(decode("Hello#####"), Err(Invalid::Overflow(5)));
        assert_eq!(decode("##"), Err(Invalid::Overflow(0)));
        assert_eq!(decode("HelloW"), Err(Invalid::Length));
    }

    proptest::proptest! {
        #[test]
        fn bytes_go_there_and_back(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = decode(&text);
        }
    }
}
