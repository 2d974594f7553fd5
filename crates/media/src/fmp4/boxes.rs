//! Walking and writing ISO 14496-12 boxes where no typed atom is needed.

use std::fmt;

/// Four-character code of a box.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub [u8; 4]);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Code {
    /// Whether these are four printable characters, as every box of a sane file has.
    pub(crate) fn is_plausible(self) -> bool {
        self.0.iter().all(|b| b.is_ascii_graphic() || *b == b' ' || *b == 0xA9)
    }
}

/// The first 8 or 16 bytes of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) code: Code,
    /// Bytes of the header itself.
    pub(crate) len: u64,
    /// Bytes of the whole box; `None` = up to the end of the file.
    pub(crate) size: Option<u64>,
}

/// Why bytes are no box header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// More bytes are needed.
    Short,
    /// The size is smaller than the header.
    Size { code: Code, size: u64 },
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or(HeaderError::Short)?;
        let (code, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Short)?;
        let code = Code(*code);
        let (len, size) = match u32::from_be_bytes(*size) {
            0 => (8, None),
            1 => {
                let (large, _) = rest.split_first_chunk::<8>().ok_or(HeaderError::Short)?;
                (16, Some(u64::from_be_bytes(*large)))
            }
            size => (8, Some(u64::from(size))),
        };
        match size {
            Some(size) if size < len => Err(HeaderError::Size { code, size }),
            Some(_) | None => Ok(Self { code, len, size }),
        }
    }
}

/// A box within a body: code, the whole box, its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child<'a> {
    pub(crate) code: Code,
    pub(crate) whole: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// The boxes of a body in order; stops at the first that does not fit.
#[derive(Debug, Clone)]
pub(crate) struct Children<'a> {
    rest: &'a [u8],
}

pub(crate) const fn children(body: &[u8]) -> Children<'_> {
    Children { rest: body }
}

impl<'a> Iterator for Children<'a> {
    type Item = Child<'a>;

    fn next(&mut self) -> Option<Child<'a>> {
        let header = Header::parse(self.rest).ok()?;
        let size = match header.size {
            Some(size) => usize::try_from(size).ok()?,
            None => self.rest.len(),
        };
        let (whole, rest) = self.rest.split_at_checked(size)?;
        let body = whole.get(usize::try_from(header.len).ok()?..)?;
        self.rest = rest;
        Some(Child { code: header.code, whole, body })
    }
}

/// Whether the children fill `body` to its end: one that is longer than its parent hides all that follow.
pub(crate) fn are_whole(body: &[u8]) -> bool {
    let mut children = children(body);
    children.by_ref().for_each(drop);
    children.rest.is_empty()
}

/// Body of the box found by following `path` downwards.
pub(crate) fn find<'a>(body: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(body, |body, code| children(body).find(|c| c.code.0 == **code).map(|c| c.body))
}

/// Appends a box whose body `fill` writes.
pub(crate) fn write(out: &mut Vec<u8>, code: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(code);
    fill(out);
    // A box that we write is far below 4 GiB; an impossible one would say so by a size that no reader accepts.
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_boxes_are_written_and_found() {
        let mut out = Vec::new();
        write(&mut out, b"moov", |out| {
            write(out, b"free", |_| {});
            write(out, b"trak", |out| write(out, b"mdhd", |out| out.extend_from_slice(b"xy")));
        });
        assert_eq!(find(&out, &[b"moov", b"trak", b"mdhd"]), Some(&b"xy"[..]));
        assert_eq!(find(&out, &[b"moov", b"mdia"]), None);
    }

    #[test]
    fn headers_of_every_size_form() {
        assert_eq!(Header::parse(b"\0\0\0\x08fre"), Err(HeaderError::Short));
        assert_eq!(Header::parse(b"\0\0\0\0mdat").map(|h| h.size), Ok(None));
        let large = Header::parse(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0").map(|h| (h.len, h.size));
        assert_eq!(large, Ok((16, Some(1 << 32))));
        let small = HeaderError::Size { code: Code(*b"free"), size: 7 };
        assert_eq!(Header::parse(b"\0\0\0\x07free"), Err(small));
    }
}
