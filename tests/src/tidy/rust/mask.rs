//! Splits Rust text into code and comments, blanking what is quoted.
//!
//! Knows line and nested block comments, strings, byte, C and raw strings, characters, and the
//! lifetimes that look like the beginning of one.

/// Code and comments, each as long as `text` and with its line breaks.
pub(super) fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let blank: Vec<u8> =
        bytes.iter().map(|&byte| if byte == b'\n' { byte } else { b' ' }).collect();
    let (mut code, mut comments) = (blank.clone(), blank);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (len, target) = match piece(rest, at.checked_sub(1).map(|before| bytes[before])) {
            Piece::Comment(len) => (len, &mut comments),
            Piece::Quoted(len) => {
                at += len;
                continue;
            }
            Piece::Code(len) => (len, &mut code),
        };
        target[at..at + len].copy_from_slice(&rest[..len]);
        at += len;
    }
    let whole = "pieces end at ASCII bytes, so characters stay whole";
    (String::from_utf8(code).expect(whole), String::from_utf8(comments).expect(whole))
}

/// What stands at the front of the rest of a text, with its length in bytes.
enum Piece {
    Comment(usize),
    Quoted(usize),
    Code(usize),
}

fn piece(rest: &[u8], before: Option<u8>) -> Piece {
    if rest.starts_with(b"//") {
        return Piece::Comment(find(rest, b"\n").unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Piece::Comment(block_comment_len(rest));
    }
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !in_word && let Some(len) = raw_string_len(rest) {
        return Piece::Quoted(len);
    }
    match rest[0] {
        b'"' => Piece::Quoted(string_len(rest)),
        b'\'' => char_len(rest).map_or(Piece::Code(1), Piece::Quoted),
        _ => Piece::Code(1),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn block_comment_len(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of `r"…"`, `r#"…"#`, `br"…"` or `cr"…"` at the front.
fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let prefix = usize::from(matches!(rest[0], b'b' | b'c'));
    if rest.get(prefix) != Some(&b'r') {
        return None;
    }
    let hashes = rest[prefix + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix + 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    Some(find(&rest[open + 1..], &close).map_or(rest.len(), |len| open + 1 + len + close.len()))
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a character literal at the front; none for a lifetime.
fn char_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let escaped = find(rest.get(3..)?, b"'")?;
        return Some(3 + escaped + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(5)]);
    let valid = match &text {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).ok()?,
    };
    let len = valid.chars().next()?.len_utf8();
    (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_lines_stay() {
        let text = "let é = \"→\n\"; // ü\n/* a\nb */ x";
        let (code, comments) = split(text);
        assert_eq!((code.len(), comments.len()), (text.len(), text.len()));
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(code.contains("let é =") && code.ends_with('x') && !code.contains('→'));
        assert!(comments.contains("// ü") && comments.contains("b */") && !comments.contains('é'));
    }

    #[test]
    fn quoted_text_is_blank() {
        for quoted in [
            r#""unwrap \" unwrap""#,
            "r\"unwrap\\\"",
            "r##\"unwrap\"# unwrap\"##",
            "b\"unwrap\"",
            "br#\"unwrap\"#",
            "c\"unwrap\"",
        ] {
            let (code, _) = split(&format!("f({quoted}); fn g() {{}}"));
            assert!(!code.contains("unwrap") && code.ends_with("); fn g() {}"), "{quoted}: {code}");
        }
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        let (code, _) = split(r"fn f<'a>(x: &'a str) { ['{', '\'', '\u{7b}', 'é', '\\', b'}'] }");
        assert_eq!(code.matches('{').count(), 1, "{code}");
        assert_eq!(code.matches('}').count(), 1, "{code}");
        assert!(code.contains("&'a str"));
    }

    #[test]
    fn a_name_that_ends_in_r_is_no_raw_string() {
        let (code, _) = split("for\"a\"; bar\"}\"; x");
        assert!(code.starts_with("for") && code.ends_with("; x"), "{code}");
    }
}
