//! Arrays written here byte by byte, whole and damaged, against what NumPy would say.

use nearfield_engine::ErrorKind;
use nearfield_segment::Rng;

use super::*;

/// A file of version `version` with this dictionary and body.
fn file(version: u8, text: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend(text.as_bytes());
    bytes.extend(body);
    bytes
}

fn dictionary(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn read(bytes: &[u8]) -> Result<(usize, Vec<f32>)> {
    let mut npy = Npy::new("f.npy".into(), bytes, bytes.len() as u64)?;
    let mut elements = Vec::new();
    loop {
        let rows = npy.next_rows(2)?;
        if rows.count == 0 {
            return Ok((npy.dim(), elements));
        }
        elements.extend(rows.vectors);
    }
}

fn bytes_of<const N: usize>(elements: [[u8; N]; 6]) -> Vec<u8> {
    elements.concat()
}

#[test]
fn every_element_type_byte_order_and_version_gives_the_same_rows() {
    let values = [0i8, 1, 2, 3, 100, 6];
    let expected = values.map(f32::from);
    let swapped = values.map(|v| {
        let mut bytes = f64::from(v).to_le_bytes();
        bytes.reverse();
        bytes
    });
    let halves: [u16; 6] = [0, 0x3C00, 0x4000, 0x4200, 0x5640, 0x4600];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("<f2", bytes_of(halves.map(u16::to_le_bytes))),
        ("<f4", bytes_of(values.map(|v| f32::from(v).to_le_bytes()))),
        ("<f8", bytes_of(values.map(|v| f64::from(v).to_le_bytes()))),
        (">f8", bytes_of(swapped)),
        ("|i1", values.map(|v| v as u8).to_vec()),
        ("|u1", values.map(|v| v as u8).to_vec()),
        ("<i2", bytes_of(values.map(|v| i16::from(v).to_le_bytes()))),
        ("<u4", bytes_of(values.map(|v| (v as u32).to_le_bytes()))),
        ("<i8", bytes_of(values.map(|v| i64::from(v).to_le_bytes()))),
    ];
    for (descr, body) in cases {
        for version in [1, 2, 3] {
            let text = dictionary(descr, "False", "(3, 2)");
            let (dim, rows) = read(&file(version, &text, &body)).expect(descr);
            assert_eq!((dim, rows.as_slice()), (2, expected.as_slice()), "{descr} {version}");
        }
    }
    let negative = file(1, &dictionary("|i1", "False", "(1, 2)"), &[0xFF, 0x80]);
    assert_eq!(read(&negative).expect("signed").1, [-1.0, -128.0]);
}

#[test]
fn columns_first_gives_the_same_rows() {
    let by_column: Vec<u8> = [0u8, 2, 4, 1, 3, 5].to_vec();
    let text = "{\"shape\": (3, 2), \"fortran_order\": True, \"descr\": \"|u1\"}";
    let expected = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert_eq!(read(&file(1, text, &by_column)).expect("whole"), (2, expected.to_vec()));
}

#[test]
fn halves_are_exact_over_their_whole_range() {
    let table = [
        (0x0001, 2f32.powi(-24)),
        (0x03FF, 1023.0 * 2f32.powi(-24)),
        (0x0400, 2f32.powi(-14)),
        (0x7BFF, 65504.0),
        (0xC000, -2.0),
        (0x7C00, f32::INFINITY),
    ];
    let bytes = table.map(|(half, _): (u16, f32)| half.to_le_bytes()).concat();
    let halves = read(&file(1, &dictionary("<f2", "False", "(1, 6)"), &bytes)).expect("halves");
    assert_eq!(halves, (6, table.map(|(_, single)| single).to_vec()));
    let bytes = [0x01, 0x7C, 0x00, 0x80];
    let (_, halves) = read(&file(1, &dictionary("<f2", "False", "(1, 2)"), &bytes)).expect("read");
    assert!(halves[0].is_nan() && halves[1].is_sign_negative());
}

#[test]
fn damaged_headers_are_refused_with_file_and_place() {
    let good = dictionary("<f4", "False", "(1, 2)");
    let whole = file(1, &good, &[0; 8]);
    let with = |from: &str, to: &str| file(1, &good.replace(from, to), &[0; 8]);
    let long = file(2, &good, &[0; 8]);
    let announced = [&long[..8], &u32::MAX.to_le_bytes(), &long[12..]].concat();
    let cases = [
        (b"PK\x03\x04 is no array".to_vec(), "wrong magic"),
        (Vec::new(), "ends early"),
        (whole[..20].to_vec(), "header of"),
        (announced, "header of 4294967295 bytes"),
        (file(9, &good, &[0; 8]), "version 9.0"),
        (whole[..whole.len() - 1].to_vec(), "7 bytes of elements"),
        ([&whole[..], &[0]].concat(), "9 bytes of elements"),
        (with("(1, 2)", "(1, 3)"), "needs 12"),
        (with("(1, 2)", "(4294967296, 4294967296)"), "more than 2^64"),
        (with("(1, 2)", "(-1, 2)"), "whole number"),
        (with("(1, 2)", "(1, 2"), "whole number"),
        (with("(1, 2)", "(1 2)"), "expected ')'"),
        (with("(1, 2)", "1"), "expected '('"),
        (with("False", "Perhaps"), "True or False"),
        (with("'shape'", "'shapes'"), "no version has"),
        (with("'shape'", "'descr'"), "expected '\\''"),
        (with("'shape': (1, 2), }\n", "'shape"), "does not end"),
        (with(", }", ", } import os"), "more after"),
        (with("'fortran_order': False, ", ""), "expected the keys"),
    ];
    for (bytes, part) in cases {
        let error = read(&bytes).expect_err(part);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{part}");
        let message = error.message();
        assert!(message.starts_with("f.npy: ") && message.contains("offset"), "{message}");
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[test]
fn arrays_that_are_no_rows_of_numbers_are_refused_with_what_is_expected() {
    let cases = [
        (dictionary("|O", "False", "(1, 2)"), 16, "integer type, bool, str"),
        (dictionary("<U4", "False", "(1, 1)"), 16, "expected numbers, got text"),
        (dictionary("<c8", "False", "(1, 2)"), 16, "integer type, bool, str"),
        (dictionary("<M8[ns]", "False", "(1, 2)"), 16, "expected numbers, got dates"),
        (dictionary("<M8[h]", "False", "(1, 2)"), 16, "datetime64 of D, s, ms, us or ns"),
        (dictionary("<m8[s]", "False", "(1, 2)"), 16, "datetime64 of D, s, ms, us or ns"),
        ("{'descr': [('x', '<f4')], 'shape': (1,)}".to_owned(), 4, "structured array"),
        (dictionary("<f4", "False", "(4,)"), 16, "(rows, dim)"),
        (dictionary("<f4", "False", "()"), 4, "(rows, dim)"),
        (dictionary("<f4", "False", "(0, 0)"), 0, "1 to 65536"),
        (dictionary("|u1", "False", "(1, 65537)"), 65537, "1 to 65536"),
    ];
    for (text, body_len, part) in cases {
        let error = read(&file(1, &text, &vec![0; body_len])).expect_err(part);
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{part}");
        assert!(error.message().contains(part), "{}", error.message());
    }
}

/// Random changes to a good file either read as something or are refused; nothing panics.
#[test]
fn random_damage_never_panics() {
    let good = file(1, &dictionary("<f4", "False", "(3, 2)"), &[1; 24]);
    let seed = 0x5EED;
    let mut rng = Rng::new(seed);
    let mut refused = 0;
    for _ in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        bytes.truncate(good.len() - rng.below(4) as usize);
        refused += usize::from(read(&bytes).is_err());
    }
    assert!(refused > 1_000, "seed {seed:#x}: only {refused} of 5000 refused");
}
