//! A JSON array of numbers to `f32`, exactly and at the speed a query needs.
//!
//! The value of a number is the nearest `f64`, and of that the nearest `f32`: what a general JSON reader and
//! a cast give. Numbers are read in one pass; the nearest `f64` itself is worked out only where it could
//! matter for the `f32` (Clinger, *How to Read Floating Point Numbers Accurately*, 1990, has the exact short
//! way; the interval test below is its neighbour). A number too large becomes infinite, and is for the
//! schema to refuse: it knows row and column.

/// What was expected instead of the byte at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Index of the first byte that does not fit.
    pub(super) position: usize,
    /// What would have fitted.
    pub(super) expected: &'static str,
}

/// Powers of ten that an `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits that always fit a `u64`.
const DIGITS_MAX: usize = 19;

/// Relative width on either side of three rounded operations (each within 2⁻⁵³), with room.
const MARGIN: f64 = 1.0 / (1u64 << 50) as f64;

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

/// The number at `start` and the index behind it.
fn number(text: &[u8], start: usize) -> std::result::Result<(f32, usize), Malformed> {
    let negative = text.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut mantissa = 0u64;
    let mut at = digits(text, first, &mut mantissa);
    let mut count = at - first;
    if count == 0 || (count > 1 && text[first] == b'0') {
        return Err(Malformed { position: first, expected: "a number" });
    }
    let mut exponent = 0i64;
    if text.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits(text, fraction, &mut mantissa);
        if at == fraction {
            return Err(Malformed { position: at, expected: "a digit" });
        }
        count += at - fraction;
        exponent = -((at - fraction) as i64);
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let (power, end) = power(text, at + 1)?;
        exponent = exponent.saturating_add(power);
        at = end;
    }
    if count > DIGITS_MAX {
        let zeros = text[first..].iter().take_while(|&&byte| matches!(byte, b'0' | b'.')).count();
        count = (count + 1).saturating_sub(zeros);
    }
    let quick = if count <= DIGITS_MAX { quick(mantissa, exponent) } else { None };
    let magnitude = quick.unwrap_or_else(|| slow(&text[first..at]));
    Ok((if negative { -magnitude } else { magnitude }, at))
}

/// The decimal exponent behind an `e`. A longer one than an `i64` holds is as good as any that large.
fn power(text: &[u8], start: usize) -> std::result::Result<(i64, usize), Malformed> {
    let signed = matches!(text.get(start), Some(b'+' | b'-'));
    let first = start + usize::from(signed);
    let mut at = first;
    let mut power = 0i64;
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        power = power.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
        at += 1;
    }
    if at == first {
        return Err(Malformed { position: at, expected: "a digit" });
    }
    Ok((if text[start] == b'-' { -power } else { power }, at))
}

/// Appends decimal digits to `mantissa` (which wraps if there are too many), eight at a time.
fn digits(text: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        if !eight_digits(word) {
            break;
        }
        *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(value_of_eight(word));
        at += 8;
    }
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    at
}

/// Whether all eight bytes are ASCII digits: high half 3, and no carry out of the low half from adding 6.
fn eight_digits(word: u64) -> bool {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    word & HIGH == ZEROS && word.wrapping_add(0x0606_0606_0606_0606) & HIGH == ZEROS
}

/// The number eight digits spell, the first in the lowest byte: pairs, fours, then all eight.
fn value_of_eight(word: u64) -> u64 {
    let pairs = (word & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul((10 << 8) + 1) >> 8;
    let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_mul((100 << 16) + 1) >> 16;
    (fours & 0x0000_FFFF_0000_FFFF).wrapping_mul((10_000 << 32) + 1) >> 32
}

/// `mantissa × 10^exponent`, unless it lies so close to the middle of two `f32` that only the nearest
/// `f64` can tell which one it is.
fn quick(mantissa: u64, exponent: i64) -> Option<f32> {
    let tens = exponent.unsigned_abs() as usize;
    if tens >= 2 * POWERS.len() - 1 {
        return None;
    }
    let (near, far) = (POWERS[tens.min(22)], POWERS[tens.saturating_sub(22)]);
    let whole = mantissa as f64;
    let value = if exponent < 0 { whole / near / far } else { whole * near * far };
    if mantissa < 1 << 53 && tens <= 22 {
        return Some(value as f32);
    }
    let (low, high) = ((value - value * MARGIN) as f32, (value + value * MARGIN) as f32);
    (low == high).then_some(low)
}

/// The long way, through the standard library, which accepts all that was checked here.
fn slow(text: &[u8]) -> f32 {
    let text = std::str::from_utf8(text).expect("digits, point, sign and e are ASCII");
    text.parse::<f64>().expect("the grammar of JSON numbers is part of the library's") as f32
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
