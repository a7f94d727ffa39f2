//! `printable`: escapes text of a store for a terminal, which interprets escape sequences; ids and metadata
//! come from clients. Called by `search`.

/// `text` with every character that is no visible one written as an escape, as in `\u{1b}[31m`.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_commands_and_readers_the_rest_as_it_is() {
        assert_eq!(printable("\u{1b}[31mred\nFAKE"), "\\u{1b}[31mred\\nFAKE");
        assert_eq!(printable("\u{202e}abc\u{9b}2J"), "\\u{202e}abc\\u{9b}2J");
        for plain in ["{\"a\":[1,\"é\"]}", "C:\\x", "日本 😀"] {
            assert_eq!(printable(plain), plain);
        }
    }
}
