//! Rust source with code and comments apart, and the functions and test parts in it.
//!
//! Both texts keep the length and the lines of the original: what belongs to the other, and the
//! content of strings and character literals, is blank. This is no parser: it knows the words, quotes
//! and braces, which is enough to count and to look for words without being misled.

mod mask;

/// A `.rs` file taken apart.
#[derive(Debug)]
pub struct RustText {
    /// The code; comments and what is between quotes are spaces.
    pub code: String,
    /// The comments with their slashes; the rest is spaces.
    pub comments: String,
    /// Per line (from 0): whether it is part of an item under `#[cfg(test)]`.
    pub test_lines: Vec<bool>,
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both counted.
    pub line_count: usize,
}

impl RustText {
    /// Takes `text` apart.
    pub fn split(text: &str) -> Self {
        let (code, comments) = mask::split(text);
        let test_lines = test_lines(&code);
        RustText { code, comments, test_lines }
    }

    /// Lines of code with their number from 1, without those under `#[cfg(test)]`.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate();
        lines.filter(|(index, _)| !self.test_lines[*index]).map(|(index, line)| (index + 1, line))
    }

    /// All functions with a body, nested ones too.
    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (at, _) in words(&self.code).filter(|(_, word)| *word == "fn") {
            let name: String =
                self.code[at + 2..].trim_start().chars().take_while(|c| is_word(*c)).collect();
            let Some(end) = body_end(&self.code, at).filter(|_| !name.is_empty()) else { continue };
            let line = line_of(&self.code, at);
            functions.push(Function {
                name,
                line,
                line_count: line_of(&self.code, end) - line + 1,
            });
        }
        functions
    }
}

/// Line number, from 1, of the byte at `at`.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The identifiers and keywords of `text` with their positions.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(is_word)?;
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |len| start + len);
        rest = end;
        Some((start, &text[start..end]))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Position of the brace that closes the first block after `from`; none if a `;` comes first.
fn body_end(code: &str, from: usize) -> Option<usize> {
    let mut nesting = 0i32;
    let mut braces = 0i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => nesting += 1,
            b')' | b']' => nesting -= 1,
            b'{' => braces += 1,
            b'}' if braces <= 1 => return (braces == 1).then_some(at),
            b'}' => braces -= 1,
            b';' if nesting == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Marks the lines of every item under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    for (at, _) in code.match_indices("#[cfg(test)]").chain(code.match_indices("#[cfg(all(test")) {
        let first = line_of(code, at);
        let after = at + code[at..].find(']').unwrap_or(0) + 1;
        let last = body_end(code, after).map_or(first + 1, |end| line_of(code, end));
        for mark in marks.iter_mut().take(last).skip(first - 1) {
            *mark = true;
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<(String, usize)> {
        let functions = RustText::split(text).functions();
        functions.into_iter().map(|function| (function.name, function.line_count)).collect()
    }

    #[test]
    fn functions_are_measured_from_fn_to_the_closing_brace() {
        let text =
            "pub fn a() {\n    b();\n}\n\nfn b<'a>(x: &'a [u8; 3]) -> char\nwhere\n{\n'{' }\n";
        assert_eq!(lengths(text), [("a".into(), 3), ("b".into(), 4)]);
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        let text = "fn a() {\n let x = \"}\\\"}\"; // }\n /* } /* } */ } */\n r#\"}\"}\"#;\n}\n";
        assert_eq!(lengths(text), [("a".into(), 5)]);
    }

    #[test]
    fn declarations_and_pointer_types_are_no_functions() {
        let text = "trait T { fn a(x: [u8; 2]); fn b() {} }\ntype F = fn(u8) -> u8;\n";
        assert_eq!(lengths(text), [("b".into(), 1)]);
    }

    #[test]
    fn lines_under_cfg_test_are_marked_and_only_those() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        assert_eq!(RustText::split(text).test_lines, [false, true, true, true, true, false]);
        let text = "#[cfg(test)]\nmod tests;\nfn c() {}\n";
        assert_eq!(RustText::split(text).test_lines, [true, true, false]);
    }
}
