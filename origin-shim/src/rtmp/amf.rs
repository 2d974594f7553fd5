//! AMF0, as far as RTMP commands need it.

use bytes::{BufMut as _, BytesMut};

/// Nesting of objects at most; encoders send one level.
const DEPTH_MAX: u8 = 8;
/// Properties of an object at most.
const PROPERTIES_MAX: usize = 64;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Boolean(bool),
    Text(String),
    Object(Vec<(String, Self)>),
    /// Null, undefined, and everything else that carries nothing for us.
    Null,
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The text of a string.
    pub(super) const fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.as_str()) } else { None }
    }

    /// The property `name` of an object.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        let Self::Object(properties) = self else { return None };
        properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Appends the encoded value.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                out.put_u8(0x00);
                out.put_f64(*number);
            }
            Self::Boolean(on) => out.put_slice(&[0x01, u8::from(*on)]),
            Self::Text(text) => {
                out.put_u8(0x02);
                put_text(out, text);
            }
            Self::Object(properties) => {
                out.put_u8(0x03);
                for (name, value) in properties {
                    put_text(out, name);
                    value.encode(out);
                }
                out.put_slice(&[0x00, 0x00, 0x09]);
            }
            Self::Null => out.put_u8(0x05),
        }
    }

    /// All values of `bytes`; `None` where they are no AMF0.
    pub(super) fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut reader = Reader(bytes);
        let mut values = Vec::new();
        while !reader.0.is_empty() && values.len() < PROPERTIES_MAX {
            values.push(reader.value(0)?);
        }
        Some(values)
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    // Ours are short constants.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn value(&mut self, depth: u8) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        Some(match self.take::<1>()? {
            [0x00] => Value::Number(f64::from_be_bytes(self.take()?)),
            [0x01] => Value::Boolean(self.take::<1>()? != [0]),
            [0x02] => Value::Text(self.text()?),
            [0x03] => Value::Object(self.properties(depth)?),
            // An ECMA array is an object with a count in front.
            [0x08] => {
                self.take::<4>()?;
                Value::Object(self.properties(depth)?)
            }
            [0x05 | 0x06] => Value::Null,
            _ => return None,
        })
    }

    fn properties(&mut self, depth: u8) -> Option<Vec<(String, Value)>> {
        let mut properties = Vec::new();
        loop {
            let name = self.text()?;
            if name.is_empty() {
                return (self.take::<1>()? == [0x09]).then_some(properties);
            }
            if properties.len() == PROPERTIES_MAX {
                return None;
            }
            properties.push((name, self.value(depth + 1)?));
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let object =
            Value::Object(vec![("app".to_owned(), Value::text("live")), ("on".to_owned(), Value::Boolean(true))]);
        let values = [Value::text("connect"), Value::Number(1.0), object, Value::Null];
        let mut bytes = BytesMut::new();
        values.iter().for_each(|value| value.encode(&mut bytes));
        assert_eq!(Value::decode_all(&bytes).unwrap(), values);
        for cut in 1..bytes.len() {
            // Never a panic; a cut between two values is a shorter list.
            let _ = Value::decode_all(&bytes[..cut]);
        }
        assert_eq!(values[2].property("app").and_then(Value::as_text), Some("live"));
    }

    #[test]
    fn deep_nesting_ends() {
        let bytes = b"\x03\x00\x01a".repeat(1000);
        assert_eq!(Value::decode_all(&bytes), None);
    }
}
