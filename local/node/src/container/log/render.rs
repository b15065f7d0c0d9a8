//! From the records of a log file to what `kubectl logs` shows. Pure.

use super::Query;

/// One record of the file.
struct Record<'a> {
    time: &'a [u8],
    whole: bool,
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let (time, _stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Record { time, whole: tag == b"F", text })
}

pub(super) fn render(bytes: &[u8], query: &Query) -> Vec<u8> {
    let since = query.since.map(|s| format!("{s:.9}"));
    let records: Vec<Record<'_>> = bytes
        .split(|b| *b == b'\n')
        .filter_map(parse)
        .filter(|r| since.as_ref().is_none_or(|s| r.time >= s.as_bytes()))
        .collect();
    let mut start = 0;
    if let Some(tail) = query.tail {
        let mut left = tail;
        start = records.len();
        for (index, record) in records.iter().enumerate().rev() {
            if record.whole || index + 1 == records.len() {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            start = index;
        }
    }
    let mut out = Vec::new();
    let mut fresh = true;
    for record in records.iter().skip(start) {
        if query.timestamps && fresh {
            out.extend(record.time);
            out.push(b' ');
        }
        out.extend(record.text);
        fresh = record.whole;
        if record.whole {
            out.push(b'\n');
        }
    }
    out
}

pub(super) fn render_all(bytes: &[u8], query: &Query) -> Vec<u8> {
    render(bytes, &Query { tail: None, ..query.clone() })
}
