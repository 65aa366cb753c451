//! Server-sent events, as far as a watch uses them
//! ([HTML §9.2.6](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)).

/// Largest event, in bytes: one service of 256 instances with all that they may carry stays below.
pub(super) const MAX_EVENT: usize = 24 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Reads events from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    event: Event,
}

impl Parser {
    /// Takes in a piece; returns the events that are complete.
    ///
    /// # Errors
    /// It is not an event stream of Portolan's: an endless event, or not UTF-8.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, &'static str> {
        let mut events = Vec::new();
        let mut rest = piece;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1));
            rest = after;
            if self.line.len() + part.len() + self.event.data.len() > MAX_EVENT {
                return Err("the server sent an event of over 24 MiB; is it Portolan?");
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line)
                    .map_err(|_| "the server sent bytes that are not text; is it Portolan?")?;
                events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => {
                self.event.data.push('\n');
                self.event.data.push_str(value);
            }
            // A comment, or what a later version adds.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_from_pieces_of_any_size() {
        let text =
            b"retry: 1000\n\n:\n\nevent: change\nid: a.1\ndata: {\"x\":1}\n\nevent: odd\r\ndata: a\r\ndata: b\r\n\r\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> = text.chunks(size).flat_map(|piece| parser.feed(piece).expect("text")).collect();
            let change = Event { name: "change".into(), id: Some("a.1".into()), data: "{\"x\":1}".into() };
            let odd = Event { name: "odd".into(), id: None, data: "a\nb".into() };
            assert_eq!(events, [change, odd], "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let line = [b"data: ".as_slice(), &vec![b'a'; 1 << 20], b"\n"].concat();
        for endless in [line.as_slice(), &line[..1 << 20]] {
            let mut parser = Parser::default();
            let fed = (0..100).find(|_| parser.feed(endless).is_err());
            assert!(fed.is_some_and(|n| n <= MAX_EVENT >> 20), "after {fed:?} MiB");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        assert!(Parser::default().feed(b"data: \xff\n").is_err());
    }
}
