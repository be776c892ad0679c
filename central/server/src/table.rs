//! Tables as spreadsheets and tills write them. Enters: a CSV file's bytes. Leaves: its records; commas, semicolons or
//! tabs between the fields, with a byte order mark or without.

/// Begins to read. The separator is the one of `,`, `;` and tab that stands in the first line most often.
pub(crate) fn reader(bytes: &[u8]) -> csv::Reader<&[u8]> {
    // Spreadsheets put a byte order mark before UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    csv::ReaderBuilder::new().trim(csv::Trim::All).delimiter(separator(bytes)).from_reader(bytes)
}

/// What stands between the fields: `,`, `;` or a tab.
pub(crate) fn separator(bytes: &[u8]) -> u8 {
    let first = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let count = |separator: u8| first.iter().filter(|byte| **byte == separator).count();
    // Of equals the last is taken: a comma where there is none at all.
    [b'\t', b';', b','].into_iter().max_by_key(|separator| count(*separator)).expect("there are three")
}

/// What is wrong with a record, without its position, which is told beside it.
pub(crate) fn wrong(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} fields and not {expected_len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("is not UTF-8: {err}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spreadsheets_separator_is_found() {
        for (text, separator) in
            [("a,b;c,d\n1;2;3;4", b','), ("a;b\n1,2,3", b';'), ("a\tb\r\n", b'\t'), ("a", b',')]
        {
            assert_eq!(super::separator(text.as_bytes()), separator, "{text}");
        }
        let mut reader = reader(b"\xef\xbb\xbfa;b\n 1 ;\"2;3\"\n");
        assert_eq!(reader.headers().unwrap(), vec!["a", "b"]);
        assert_eq!(reader.records().next().unwrap().unwrap(), vec!["1", "2;3"]);
    }
}
