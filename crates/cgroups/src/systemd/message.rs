//! Messages: the calls that are made and what comes back.
//!
//! Source: the D-Bus Specification, "Message Protocol". What comes in is not trusted: every length is checked against
//! what is there, and what is not understood is an error or passed over.

use super::value::Writer;

/// A call to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
const VERSION: u8 = 1;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SENDER: u8 = 7;
const FIELD_SIGNATURE: u8 = 8;

/// The byte order of this machine, as a message says it.
const OWN_ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

/// The part of a header that has always the same size, the length of the rest included.
pub(super) const FIXED: usize = 16;

/// The longest message there may be.
const LONGEST: usize = 128 << 20;

impl Call<'_> {
    /// The whole message, with a `body` of the call's signature.
    pub(super) fn message(&self, serial: u32, body: &[u8]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256 + body.len());
        [OWN_ORDER, METHOD_CALL, 0, VERSION].into_iter().for_each(|byte| writer.byte(byte));
        writer.uint32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        writer.uint32(serial);
        writer.array(8, |writer| {
            for (field, kind, text) in [
                (FIELD_PATH, "o", self.path),
                (FIELD_INTERFACE, "s", self.interface),
                (FIELD_MEMBER, "s", self.member),
                (FIELD_DESTINATION, "s", self.destination),
            ] {
                writer.align(8);
                writer.byte(field);
                writer.signature(kind);
                writer.text(text);
            }
            if !self.signature.is_empty() {
                writer.align(8);
                writer.byte(FIELD_SIGNATURE);
                writer.signature("g");
                writer.signature(self.signature);
            }
        });
        writer.align(8);
        let mut bytes = writer.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// A message that has come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The answer to the call of that serial.
    Reply { to: u32, sender: String, body: Body },
    /// The refusal of it.
    Error { to: u32, name: String, text: String },
    /// Something has happened.
    Signal { interface: String, member: String, sender: String, body: Body },
    /// Of no concern.
    Other,
}

/// What a message is about, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Body {
    signature: String,
    bytes: Vec<u8>,
    is_own_order: bool,
}

/// How long the whole message is whose first [`FIXED`] bytes these are.
pub(super) fn length(header: &[u8; FIXED]) -> Result<usize, &'static str> {
    let is_own_order = match header[0] {
        b'l' | b'B' => header[0] == OWN_ORDER,
        _ => return Err("a message of no known byte order"),
    };
    if header[3] != VERSION {
        return Err("a message of another version of the protocol");
    }
    let reader = Reader { bytes: header, at: 0, is_own_order };
    let size = |at| Reader { at, ..reader }.uint32().and_then(|size| usize::try_from(size).ok());
    let (Some(body), Some(fields)) = (size(4), size(12)) else { return Err("a message without a length") };
    let length =
        FIXED.checked_add(fields).map(|end| end.next_multiple_of(8)).and_then(|end| end.checked_add(body));
    length.filter(|length| *length <= LONGEST).ok_or("a message that is longer than one may be")
}

/// Takes a whole message apart.
pub(super) fn parse(message: &[u8]) -> Result<Incoming, &'static str> {
    parse_whole(message).ok_or("a message that is malformed")
}

fn parse_whole(message: &[u8]) -> Option<Incoming> {
    let is_own_order = *message.first()? == OWN_ORDER;
    let kind = *message.get(1)?;
    let mut reader = Reader { bytes: message, at: 12, is_own_order };
    let fields_end = usize::try_from(reader.uint32()?).ok()?.checked_add(reader.at)?;
    let (mut reply_serial, mut texts) = (None, [const { String::new() }; 9]);
    while reader.at < fields_end {
        reader.align(8);
        let field = reader.byte()?;
        let text = match reader.signature()?.as_str() {
            "s" | "o" => reader.text()?,
            "g" => reader.signature()?,
            "u" => {
                let number = reader.uint32()?;
                if field == FIELD_REPLY_SERIAL {
                    reply_serial = Some(number);
                }
                continue;
            }
            _ => return None,
        };
        if let Some(place) = texts.get_mut(usize::from(field)) {
            *place = text;
        }
    }
    if reader.at != fields_end {
        return None;
    }
    reader.align(8);
    let bytes = message.get(reader.at..)?.to_vec();
    let mut take = |field: u8| std::mem::take(&mut texts[usize::from(field)]);
    let body = Body { signature: take(FIELD_SIGNATURE), bytes, is_own_order };
    Some(match kind {
        METHOD_RETURN => Incoming::Reply { to: reply_serial?, sender: take(FIELD_SENDER), body },
        ERROR => {
            let text = if body.signature.starts_with('s') { body.reader().text()? } else { String::new() };
            Incoming::Error { to: reply_serial?, name: take(FIELD_ERROR_NAME), text }
        }
        SIGNAL => {
            let (interface, member) = (take(FIELD_INTERFACE), take(FIELD_MEMBER));
            Incoming::Signal { interface, member, sender: take(FIELD_SENDER), body }
        }
        _ => Incoming::Other,
    })
}

impl Body {
    /// A reader of it if it is of this signature.
    pub(super) fn of(&self, signature: &str) -> Option<Reader<'_>> {
        (self.signature == signature).then(|| self.reader())
    }

    fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.bytes, at: 0, is_own_order: self.is_own_order }
    }
}

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_own_order: bool,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn uint32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        let number = u32::from_ne_bytes(bytes);
        Some(if self.is_own_order { number } else { number.swap_bytes() })
    }

    /// A string or an object path.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.uint32()?).ok()?;
        self.ended(length)
    }

    /// The text in a variant that holds one.
    pub(super) fn text_of_variant(&mut self) -> Option<String> {
        if self.signature()? == "s" { self.text() } else { None }
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    fn ended(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::systemd::value::Value;

    /// A message as a peer would send it, with texts for these fields.
    pub(in super::super) fn sent(
        kind: u8,
        reply_to: Option<u32>,
        fields: &[(u8, &str)],
        signature: &str,
        body: &[Value],
    ) -> Vec<u8> {
        let mut content = Writer::default();
        body.iter().for_each(|value| content.value(value));
        let content = content.into_bytes();
        let mut writer = Writer::default();
        [OWN_ORDER, kind, 0, VERSION].into_iter().for_each(|byte| writer.byte(byte));
        writer.uint32(u32::try_from(content.len()).unwrap());
        writer.uint32(77);
        writer.array(8, |writer| {
            for (field, text) in fields {
                writer.align(8);
                writer.byte(*field);
                writer.signature("s");
                writer.text(text);
            }
            if let Some(serial) = reply_to {
                writer.align(8);
                writer.byte(FIELD_REPLY_SERIAL);
                writer.signature("u");
                writer.uint32(serial);
            }
            writer.align(8);
            writer.byte(FIELD_SIGNATURE);
            writer.signature("g");
            writer.signature(signature);
        });
        writer.align(8);
        [writer.into_bytes(), content].concat()
    }

    pub(in super::super) fn reply(to: u32, job: &str) -> Vec<u8> {
        sent(METHOD_RETURN, Some(to), &[(FIELD_SENDER, ":1.1")], "o", &[Value::Path(job.into())])
    }

    pub(in super::super) fn value(to: u32, value: Value) -> Vec<u8> {
        let value = Value::Variant(Box::new(value));
        sent(METHOD_RETURN, Some(to), &[(FIELD_SENDER, ":1.1")], "v", &[value])
    }

    pub(in super::super) fn error(to: u32, name: &str, text: &str) -> Vec<u8> {
        let fields = [(FIELD_SENDER, ":1.1"), (FIELD_ERROR_NAME, name)];
        sent(ERROR, Some(to), &fields, "s", &[Value::Text(text.into())])
    }

    pub(in super::super) fn job_removed(sender: &str, job: &str, unit: &str, result: &str) -> Vec<u8> {
        let fields = [
            (FIELD_SENDER, sender),
            (FIELD_INTERFACE, "org.freedesktop.systemd1.Manager"),
            (FIELD_MEMBER, "JobRemoved"),
        ];
        let body =
            [Value::Uint32(1), Value::Path(job.into()), Value::Text(unit.into()), Value::Text(result.into())];
        sent(SIGNAL, None, &fields, "uoss", &body)
    }

    #[test]
    fn a_call_is_as_the_specification_has_it() {
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            signature: "",
        };
        let message = call.message(1, &[]);
        // As libsystemd writes it, but for the order of the fields and its being without an interface there.
        assert_eq!(&message[..4], [OWN_ORDER, 1, 0, 1]);
        assert_eq!(message.len() % 8, 0);
        let header: &[u8; FIXED] = message[..FIXED].try_into().unwrap();
        assert_eq!(length(header), Ok(message.len()));
        assert_eq!(parse(&message), Ok(Incoming::Other));
    }

    #[test]
    fn answers_errors_and_signals_are_told_apart() {
        let Ok(Incoming::Reply { to: 5, body, .. }) = parse(&reply(5, "/job/1")) else { panic!() };
        assert_eq!(body.of("o").and_then(|mut reader| reader.text()).as_deref(), Some("/job/1"));
        assert!(body.of("s").is_none());
        let refused = Incoming::Error { to: 5, name: "a.b".into(), text: "no".into() };
        assert_eq!(parse(&error(5, "a.b", "no")), Ok(refused));
        let signal = parse(&job_removed(":1.1", "/job/1", "x.scope", "done")).unwrap();
        assert!(matches!(signal, Incoming::Signal { member, .. } if member == "JobRemoved"));
    }

    #[test]
    fn a_message_in_the_other_byte_order_is_understood() {
        // METHOD_RETURN to serial 3 without a body, by hand, in the order this machine does not have.
        let (order, two): (u8, fn(u32) -> [u8; 4]) = match OWN_ORDER {
            b'l' => (b'B', u32::to_be_bytes),
            _ => (b'l', u32::to_le_bytes),
        };
        let message = [&[order, 2, 0, 1][..], &two(0), &two(9), &two(8), &[5, 1, b'u', 0], &two(3)].concat();
        let Ok(Incoming::Reply { to: 3, .. }) = parse(&message) else { panic!("{:?}", parse(&message)) };
    }

    #[test]
    fn no_cut_or_change_of_a_message_makes_the_parser_fail_otherwise_than_by_an_error() {
        let message = job_removed(":1.1", "/job/1", "x.scope", "done");
        for end in 0..message.len() {
            let _ = parse(&message[..end]);
        }
        for at in 0..message.len() {
            for value in [0, 1, 4, 0x7f, 0x80, 0xff] {
                let mut changed = message.clone();
                changed[at] = value;
                let _ = parse(&changed);
                let _ = length(changed[..FIXED].try_into().unwrap());
            }
        }
    }

    #[test]
    fn a_message_that_says_it_is_endless_is_refused() {
        let mut header = [0; FIXED];
        header[..4].copy_from_slice(&[OWN_ORDER, 2, 0, 1]);
        header[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(length(&header).is_err());
        assert!(length(b"HTTP/1.1 400 Bad").is_err());
    }
}
