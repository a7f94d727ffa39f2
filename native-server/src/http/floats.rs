//! Parses a JSON array of numbers to `f32`, exactly and fast. Entry: `array`, called for the vectors of
//! request bodies.
//!
//! The value of a number is the nearest `f64`, and of that the nearest `f32`: what a general JSON reader and
//! a cast give. `fast-float2` finds the `f64`; the grammar is checked here. A number too large becomes infinite, and
//! is for the schema to refuse: it knows row and column.

/// What was expected instead of the byte at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Index of the first byte that does not fit.
    pub(super) position: usize,
    /// What would have fitted.
    pub(super) expected: &'static str,
}

/// Appends the numbers of the array at `text[start..]` to `out`; returns the index behind its `]`.
///
/// # Errors
/// [`Malformed`] for anything that is not a JSON array of numbers; `out` may have grown.
pub(super) fn array(
    text: &[u8],
    start: usize,
    out: &mut Vec<f32>,
) -> std::result::Result<usize, Malformed> {
    let mut at = skip_blank(text, start);
    if text.get(at) != Some(&b'[') {
        return Err(Malformed { position: at, expected: "an array of numbers" });
    }
    at = skip_blank(text, at + 1);
    if text.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    loop {
        let (value, end) = number(text, at)?;
        out.push(value);
        at = skip_blank(text, end);
        match text.get(at) {
            Some(b',') => at = skip_blank(text, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(Malformed { position: at, expected: "',' or ']'" }),
        }
    }
}

/// The index of the first byte from `at` on that is no JSON white space.
pub(super) fn skip_blank(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// The number at `start` and the index behind it. The grammar of JSON is narrower than the library's.
fn number(text: &[u8], start: usize) -> std::result::Result<(f32, usize), Malformed> {
    let first = start + usize::from(text.get(start) == Some(&b'-'));
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let no_number = Malformed { position: first, expected: "a number" };
    if !is_digit(first) || (text[first] == b'0' && is_digit(first + 1)) {
        return Err(no_number);
    }
    let mut point = first + 1;
    while is_digit(point) {
        point += 1;
    }
    if text.get(point) == Some(&b'.') && !is_digit(point + 1) {
        return Err(Malformed { position: point + 1, expected: "a digit" });
    }
    let parsed = fast_float2::parse_partial::<f64, _>(&text[start..]);
    let (value, len_bytes) = parsed.map_err(|_| no_number)?;
    let end = start + len_bytes;
    // An exponent without digits: the library ends before it.
    if let Some(b'e' | b'E') = text.get(end) {
        let is_signed = matches!(text.get(end + 1), Some(b'+' | b'-'));
        return Err(Malformed { position: end + 1 + usize::from(is_signed), expected: "a digit" });
    }
    Ok((value as f32, end))
}

#[cfg(test)]
mod tests {
    use nearfield_segment::Rng;

    use super::*;

    fn read(text: &str) -> std::result::Result<Vec<f32>, Malformed> {
        let mut out = Vec::new();
        let end = array(text.as_bytes(), 0, &mut out)?;
        assert_eq!(end, text.len());
        Ok(out)
    }

    /// The bits a cast of the nearest `f64` has.
    fn expected(number: &str) -> u32 {
        (number.parse::<f64>().expect("a number") as f32).to_bits()
    }

    fn check(number: &str) {
        let got = read(&format!("[{number}]")).expect(number);
        assert_eq!(got[0].to_bits(), expected(number), "{number}");
    }

    #[test]
    fn numbers_get_the_bits_of_the_nearest_f64_cast() {
        let cases = [
            "0",
            "-0",
            "0.0",
            "-0.0e5",
            "1",
            "255",
            "0.1",
            "1e0",
            "1E+2",
            "1e-2",
            "3.4028235e38",
            "3.4028236e38",
            "1e39",
            "-1e400",
            "1e-400",
            "1.1754944e-38",
            "1e-45",
            "7e-46",
            "5e-324",
            "16777217",
            "16777219",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678901234567890",
            "0.000000000000000000000012",
            "0.00000012345678901234567",
            "1e00000000000000000000022",
            "1e-99999999999999999999",
            "1.00000005960464477539062500000000000000000000001",
            "1.000000059604644775390625",
            "33554433.0000000000000000001",
            "8388608.5000000000000000001",
        ];
        cases.into_iter().for_each(check);
    }

    #[test]
    fn random_numbers_of_all_lengths_get_the_same_bits_as_the_library_gives() {
        let seed = 20_260_101;
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        for _ in 0..200_000 {
            let bits = rng.next_u64();
            let value = f32::from_bits(bits as u32);
            if value.is_finite() {
                check(&format!("{value:e}"));
                check(&format!("{:.*}", (bits >> 32) as usize % 25, value));
            }
            // Middles of two neighbours, and numbers a hair away from them.
            let middle = f64::from(f32::from_bits((bits as u32 & 0x0FFF_FFFF) + 0x3000_0000));
            let middle = f64::from_bits(middle.to_bits() | 1 << 28);
            check(&format!("{middle}"));
            check(&format!("{middle}{}", bits % 1000));
            check(&format!("{}e{}", bits >> (bits % 64), (bits % 140) as i64 - 90));
        }
    }

    #[test]
    fn what_is_no_json_array_of_numbers_is_refused_at_its_byte() {
        let cases = [
            ("", 0),
            ("[", 1),
            ("[1", 2),
            ("[1,", 3),
            ("[1,]", 3),
            ("[,1]", 1),
            ("[01]", 1),
            ("[1.]", 3),
            ("[.5]", 1),
            ("[+1]", 1),
            ("[1e]", 3),
            ("[1e+]", 4),
            ("[-]", 2),
            ("[NaN]", 1),
            ("[Infinity]", 1),
            ("[null]", 1),
            ("[\"1\"]", 1),
            ("[[1]]", 1),
            ("[1 2]", 3),
            ("{}", 0),
            ("[0x10]", 2),
        ];
        for (text, position) in cases {
            assert_eq!(read(text).expect_err(text).position, position, "{text}");
        }
    }

    #[test]
    fn blanks_stand_where_json_allows_them() {
        assert_eq!(read(" [ 1 ,\n2\t,\r3 ]").expect("blanks"), [1.0, 2.0, 3.0]);
        assert_eq!(read("[]").expect("empty"), [0.0f32; 0]);
    }
}
