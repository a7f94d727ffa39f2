//! `KeyId`, `Secret` and `Token`: the id and the secret of a key. `nfk_<16 hex>` is the id, `<id>.<64 hex>` the token
//! that a client sends. Made by `Catalog::create_key`, parsed by `KeyRing`.
//!
//! The secret is 256 random bits and exists in two places: the client's configuration, and here while it
//! is made or checked. `Debug` of whatever holds it says nothing about it.

use std::fmt;

use crate::host;
use nearfield_engine::Result;

const PREFIX: &str = "nfk_";
const ID_HEX: usize = 16;
const SECRET_BYTES: usize = 32;
/// Length of a token in bytes.
const TOKEN_LEN: usize = PREFIX.len() + ID_HEX + 1 + 2 * SECRET_BYTES;

/// Names a key; not secret. Shown as `nfk_<16 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    pub(super) fn random() -> Result<KeyId> {
        host::random_bytes().map(|bytes| KeyId(u64::from_le_bytes(bytes)))
    }

    /// The id written in `text`, which is nothing else. Upper-case digits are none.
    pub fn parse(text: &str) -> Option<KeyId> {
        let hex = text.strip_prefix(PREFIX).filter(|hex| hex.len() == ID_HEX)?;
        let bytes = decode::<{ ID_HEX / 2 }>(hex.as_bytes())?;
        Some(KeyId(bytes.into_iter().fold(0, |id, byte| id << 8 | u64::from(byte))))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The random half of a token.
pub(super) struct Secret([u8; SECRET_BYTES]);

impl Secret {
    pub(super) fn random() -> Result<Secret> {
        host::random_bytes().map(Secret)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a client sends as `Authorization: Bearer …`. Printing it takes [`Token::reveal`].
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub(super) fn new(id: KeyId, secret: &Secret) -> Token {
        let hex: String = secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Token(format!("{id}.{hex}"))
    }

    /// The text, to be shown once, to the maker of the key.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The two halves of what a client sent; `None` if it is no token.
    pub(super) fn parse(text: &str) -> Option<(KeyId, Secret)> {
        // The length first: nothing of an oversized header is looked at.
        if text.len() != TOKEN_LEN {
            return None;
        }
        let (id, secret) = text.split_once('.')?;
        Some((KeyId::parse(id)?, Secret(decode(secret.as_bytes())?)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// `N` bytes from exactly `2 * N` lower-case hexadecimal digits.
fn decode<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_documented_form_and_reads_back() {
        let (id, secret) = (KeyId(0x0123_4567_89ab_cdef), Secret([0xa5; 32]));
        let token = Token::new(id, &secret);
        assert_eq!(token.reveal(), format!("nfk_0123456789abcdef.{}", "a5".repeat(32)));
        let (id_again, secret_again) = Token::parse(token.reveal()).expect("our own token");
        assert_eq!((id_again, secret_again.0), (id, secret.0));
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn two_tokens_differ_in_both_halves() {
        let made = || (KeyId::random().expect("chance"), Secret::random().expect("chance"));
        let ((id_a, secret_a), (id_b, secret_b)) = (made(), made());
        assert_ne!(id_a, id_b);
        assert_ne!(secret_a.0, secret_b.0);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = format!("nfk_0123456789abcdef.{}", "a5".repeat(32));
        assert!(Token::parse(&good).is_some());
        for bad in [
            String::new(),
            "nfk_0123456789abcdef".to_owned(),
            format!("{good}0"),
            format!(" {good}"),
            good.replace("nfk_", "vbk_"),
            good.replace('.', ":"),
            good.to_uppercase(),
            good.replace("a5", "A5"),
            good.replace("a5a5", "é5a"),
            format!("nfk_0123456789abcde.f{}", "a5".repeat(32)),
            good.replace("nfk_01", "nfk_+1"),
        ] {
            assert!(Token::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn debug_says_nothing_of_the_secret() {
        let token = Token::new(KeyId(1), &Secret([0xa5; 32]));
        assert!(!format!("{token:?}").contains("a5"), "{token:?}");
    }
}
