//! Functions of Python source, by indentation.

use super::rust::Function;

/// All `def`s, nested ones too, with their length up to the last line that belongs to them.
pub fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let starts =
        lines.iter().enumerate().filter_map(|(index, line)| Some((index, def_name(line)?)));
    starts
        .map(|(index, name)| Function {
            name: name.to_owned(),
            line: index + 1,
            line_count: body_end(&lines, index) - index + 1,
        })
        .collect()
}

fn def_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("def ")?;
    rest.split('(').next()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Index of the last line of the function that starts at `start`.
fn body_end(lines: &[&str], start: usize) -> usize {
    let mut end = start;
    let mut quote = None;
    for (index, line) in lines.iter().enumerate().skip(start) {
        let quoted = quote.is_some();
        quote = quote_after(line, quote);
        let text = line.trim();
        // The end of a parameter list stands at the indentation of its `def`.
        let closes = text.starts_with([')', ']']);
        let inside = quoted || closes || indent(line) > indent(lines[start]);
        if index > start && !text.is_empty() && !inside {
            break;
        }
        if !text.is_empty() {
            end = index;
        }
    }
    end
}

/// Which triple quote is open after `line`.
fn quote_after(line: &str, mut open: Option<&'static str>) -> Option<&'static str> {
    let mut rest = line;
    loop {
        let next = match open {
            Some(quote) => rest.find(quote).map(|at| (at, quote)),
            None => ["\"\"\"", "'''"]
                .into_iter()
                .filter_map(|quote| rest.find(quote).map(|at| (at, quote)))
                .min(),
        };
        let Some((at, quote)) = next else { return open };
        open = if open.is_some() { None } else { Some(quote) };
        rest = &rest[at + 3..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_end_where_the_indentation_does() {
        let text = "def a(\n    x,\n) -> int:\n    y = '''\nz\n'''\n\n    return 1\n\n\nb = 2\n\
                    class C:\n    async def m(self):\n        pass\n\n    def n(self): pass\n";
        let found: Vec<_> =
            functions(text).into_iter().map(|f| (f.name, f.line, f.line_count)).collect();
        let expected = [("a", 1, 8), ("m", 13, 2), ("n", 16, 1)];
        assert_eq!(found, expected.map(|(name, line, count)| (name.to_owned(), line, count)));
    }
}
